"""What a preview supposes to be recorded: the stack and the run as they would be."""

from msgspec import structs

import sloth_runner
from sloth_runner.core.record import Run, Stack, now


def new_stack(name: str, *, workflow: str) -> Stack:
    """Returns the stack that a run of ``workflow`` would make."""
    moment = now()
    return Stack(
        id="",
        name=name,
        version=sloth_runner.__version__,
        status="new",
        created_at=moment,
        updated_at=moment,
        serial=1,  # what it has when it is made, as long as nobody else has worked on it
        lineage="",
        workflow=workflow,
    )


def new_run(stack: Stack) -> Run:
    """Returns the run of ``stack`` that is previewed; it has no number yet."""
    return Run(
        id="preview",
        stack=stack.id,
        number=0,
        kind="run",
        who="",
        command="",
        source_hash="",
        started_at=now(),
    )


def running_stack(stack: Stack) -> Stack:
    """Returns ``stack`` as its workflow sees it while it runs."""
    return structs.replace(stack, status="running")
