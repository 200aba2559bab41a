"""Times of the record in words: relative to now in tables."""

import datetime

_DAY = 86_400


def parsed(moment: str) -> datetime.datetime:
    """Returns a time of the record (ISO 8601, UTC)."""
    return datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))


def ago(moment: str | None, now: datetime.datetime) -> str:
    """Returns how long ago that was: "just now", "6m ago", "3h ago", "2d ago", or the date."""
    if moment is None:
        return "never"
    then = parsed(moment)
    seconds = (now - then).total_seconds()
    if seconds < 60:
        return "just now" if seconds < 10 else f"{seconds:.0f}s ago"
    if seconds < 3600:
        return f"{seconds // 60:.0f}m ago"
    if seconds < _DAY:
        return f"{seconds // 3600:.0f}h ago"
    if seconds < 14 * _DAY:
        return f"{seconds // _DAY:.0f}d ago"
    return then.strftime("%Y-%m-%d")


def between(start: str, end: str | None) -> float | None:
    """Returns the seconds between two times, None where there is no second one yet."""
    return None if end is None else (parsed(end) - parsed(start)).total_seconds()


def local(moment: str) -> str:
    """Returns a time in the zone of this machine, to the second."""
    return parsed(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
