"""How a run or a plan ended: the counts, in a word, and as an exit code (DESIGN, section 6)."""

from sloth_runner.core.errors import (
    Cancelled,
    TimedOut,
    Unreachable,
    UsageError,
    WorkflowError,
)
from sloth_runner.core.events import Summary
from sloth_runner.engine.context import Counts
from sloth_runner.engine.scheduler import Ended

_COUNTED = (
    "created",
    "changed",
    "unchanged",
    "removed",
    "ran",
    "written",
    "failed",
    "carried",
    "skipped",
)


def summarise(
    counts: Counts,
    ended: Ended,
    seconds: float,
    *,
    unknown: int = 0,
    orphaned: int = 0,
    touched: bool = False,
) -> Summary:
    """Returns the last event of a run or plan."""
    result, code = _result(ended, touched=touched)
    blocked = sum(1 for outcome in ended.outcomes.values() if outcome == "blocked")
    known = {name: counts.told.get(name, 0) for name in _COUNTED}
    told = ", ".join(f"{n} {name}" for name, n in known.items() if n)
    return Summary(
        msg=": ".join(filter(None, (result, told))),
        level="error" if code else "info",
        **known,  # type: ignore[arg-type]  # counts by the names of the fields
        unknown=unknown,
        blocked=blocked,
        orphaned=orphaned,
        exit=code,
        seconds=round(seconds, 3),
        result=result,
        checked=counts.checked,
        touched=touched,
    )


def _result(ended: Ended, *, touched: bool) -> tuple[str, int]:
    """Returns how a run ended, in a word and as an exit code."""
    errors = ended.errors
    if not errors:
        return ("cancelled", 8) if "cancelled" in ended.outcomes.values() else ("ok", 0)
    codes = {error.exit_code for error in errors}
    for error in errors:
        if isinstance(error, TimedOut):
            return "timeout", 9
        if isinstance(error, Cancelled):
            return "cancelled", 8
    if all(isinstance(error, UsageError | WorkflowError) for error in errors):
        return "failed", 1 if touched else 2
    if all(isinstance(error, Unreachable) for error in errors):
        return "failed", 4
    for code in (6, 7, 5):
        if code in codes:
            return "failed", code
    return "failed", 1
