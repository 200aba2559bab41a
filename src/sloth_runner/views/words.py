"""Values, numbers and durations in the words that people read; imports next to nothing."""

from sloth_runner.core import values
from sloth_runner.core.values import Value
from sloth_runner.views.text import clean

HASH = "sha256:"
_LONG = 160
"""Characters of a table beyond which only its size is told; JSON has all of it."""

_SENSITIVE = "(sensitive)"  # As in core.events, which is too much to load for a short command.


def value(item: Value) -> str:
    """Returns a value as a plan shows it: text in quotes, tables as JSON, hashes shortened."""
    if item is None:
        return "(absent)"
    if item == _SENSITIVE:
        return _SENSITIVE
    if isinstance(item, str) and item.startswith(HASH) and len(item) > 24:
        return f"{item[: len(HASH) + 12]}..."
    shown = clean(values.encode(item))
    if isinstance(item, list | dict) and len(shown) > _LONG:
        return f"({count(len(item), 'value')})"
    return shown


def brief(item: Value) -> str:
    """Returns a value for a line of progress: short text goes without quotes."""
    if isinstance(item, str) and item and " " not in item and not item.startswith(HASH):
        return clean(item)
    return value(item)


def count(number: int, word: str) -> str:
    """Returns "1 line" or "3 lines"."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def duration(seconds: float) -> str:
    """Returns a duration in the unit that suits it: 0.21s, 4.1s, 47s, 3m05s, 2h10m."""
    if seconds < 1:
        return f"{seconds:.2f}s"
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def host_prefix(host: str | None) -> str:
    """Returns "web1/" for another host than this machine, which goes without saying."""
    return "" if host in (None, "local") else f"{clean(host or '')}/"
