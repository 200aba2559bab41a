"""Turns errors into events: everything that is known of a failure, for any reader."""

from collections.abc import Sequence

from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import Diagnostic


def diagnose(
    error: SlothError, *, task: str | None = None, blocked: Sequence[str] = ()
) -> Diagnostic:
    """Returns the diagnostic event of ``error``."""
    facts = {k: v for k, v in error.facts.items() if v not in (None, "", [])}
    return Diagnostic(
        msg=str(error),
        level="error",
        host=facts.get("host"),
        task=task,
        loc=str(error.location) if error.location else None,
        code=error.code,
        title=error.title,
        detail=error.detail,
        hint=error.hint,
        facts=facts,
        effects=error.effects,
        blocked=tuple(blocked),
        traceback=error.traceback,
    )
