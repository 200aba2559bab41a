"""JSON lines: each event as one object on one line, in an envelope that is always the same."""

from collections.abc import Callable
from typing import Any

import msgspec

from sloth_runner.core.events import (
    SCHEMA,
    CommandOutput,
    Event,
    Log,
    ResourceUnchanged,
    StreamStart,
    payload,
)
from sloth_runner.views.text import harmless

LONGEST = 64 * 1024
"""Bytes of a line at the most; the long texts of a longer one are cut, and it says so."""

ALWAYS = ("msg", "level", "kind", "outcome", "attempt", "planned")
"""Fields that are written even where they hold what they mostly hold."""

_KEPT = 1000
"""Characters that are kept of each text of a line that is too long."""


class JsonLines:
    """Writes events as JSON lines: ``v seq ts run type`` and then what the event holds.

    ``seq`` counts from 1 without gaps; ``ts`` is in UTC; ``run`` is the number of the run,
    null in a plan. The last line is the summary.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        clock: Callable[[], str],
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        self._write = write
        self._clock = clock
        self._quiet = quiet
        self._verbose = verbose
        self._seq = 0
        self._run: int | None = None
        self._applying = False

    def __call__(self, event: Event) -> None:
        """Writes one event."""
        if isinstance(event, StreamStart):
            self._run = event.n
            self._applying = event.kind != "plan"
        if self._left_out(event):
            return
        self._seq += 1
        envelope: dict[str, Any] = {
            "v": SCHEMA,
            "seq": self._seq,
            "ts": self._clock(),
            "run": self._run,
        }
        data = complete(event)
        encoded = msgspec.json.encode({**envelope, **data})
        if len(encoded) > LONGEST:
            encoded = msgspec.json.encode({**envelope, **_shortened(data), "truncated": True})
        shown = encoded if encoded.isascii() else harmless(encoded.decode()).encode()
        self._write(shown + b"\n")

    def tick(self) -> None:
        """Does nothing: nobody watches."""

    def close(self) -> None:
        """Does nothing: every line is complete when it is written."""

    def _left_out(self, event: Event) -> bool:
        if isinstance(event, Log) and not self._applying:
            return not self._verbose
        return self._quiet and isinstance(event, Log | CommandOutput | ResourceUnchanged)


def complete(event: Event) -> dict[str, Any]:
    """Returns the JSON object of an event, with what its type leaves out as usual."""
    data = payload(event)
    for name in ALWAYS:
        if hasattr(event, name):
            data.setdefault(name, getattr(event, name))
    if isinstance(event, ResourceUnchanged):
        data["outcome"] = "unchanged"
        data["msg"] = f"{event.host}/{event.res} unchanged"
    return data


def _shortened(item: Any) -> Any:
    if isinstance(item, str):
        return item if len(item) <= _KEPT else item[:_KEPT]
    if isinstance(item, dict):
        return {name: _shortened(inner) for name, inner in item.items()}
    if isinstance(item, list):
        return [_shortened(inner) for inner in item[:50]]
    return item
