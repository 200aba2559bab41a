"""A run from another path than the one that the stack recorded of its workflow."""

from pathlib import Path

from sloth_runner.core.events import Warned
from sloth_runner.core.record import Stack


def is_moved(stack: Stack, file: str) -> bool:
    """Whether ``file`` is in the place of a workflow that is certainly gone."""
    if stack.workflow in (None, file):
        return False
    try:
        Path(stack.workflow).lstat()
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def elsewhere(stack: Stack, file: str) -> Warned | None:
    """Returns the warning of a run of ``file``, where another one made the stack."""
    if stack.workflow in (None, file):
        return None
    moved = is_moved(stack, file)
    way_out = (
        "once a run has succeeded, this is the workflow of the stack"
        if moved
        else "if this is the workflow of the stack now, remove the other one"
    )
    return Warned(
        msg=f"stack {stack.name} was made by {stack.workflow}"
        f"{', which is gone' if moved else ''}; this is {file}",
        level="warn",
        hint=f"so nothing is counted as no longer declared; {way_out}",
    )
