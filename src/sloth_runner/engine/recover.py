"""Settles what a dead run left in doubt, by looking at the machine and nothing else."""

import asyncio
import contextlib
import posixpath
import re

from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import Recovered
from sloth_runner.core.host import Host
from sloth_runner.core.record import Carry, Operation, ResourceRow, ResourceState, now
from sloth_runner.core.values import State, Value
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.observations import Observations
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.recorder import Recorder

RESULT = {"done": "done", "not done": "not done", "half done": "failed", "in doubt": "failed"}
"""How an operation is recorded to have ended, by what was found out about it."""


LEFT_OVER = re.compile(r"\.sloth-[0-9a-f]{8}")
"""How the name of a new file goes on that was not put in place (``hosts.primitives``)."""


async def settle_doubts(
    recorder: Recorder,
    observations: Observations,
    machines: Machines,
    preview: Plan | None = None,
) -> None:
    """Records of each open operation whether it was done, half done or not done.

    A change that was done, or may have been, is carried: nothing that should follow it has
    happened yet. An action cannot be looked at: it is reported, and done again when the
    workflow gets to it. With ``preview``, all of this is told to that plan only.
    """
    stack_id = recorder.stack.id
    journal, blobs = recorder.journal, recorder.seal.blobs
    doubts, unnamed = await journal.read(
        lambda store: (store.open_operations(stack_id), store.may_have_unnamed_blobs())
    )
    for operation in doubts:
        if operation.row is None:
            row, event = None, _action(operation)
        else:
            row, event = await _looked_at(recorder, observations, operation, operation.row)
        if preview is None:
            await recorder.settle_doubt(operation, RESULT[event.outcome], row, event)
        else:
            recorder.suppose(row)
            preview.told.append(event)
    if preview is None:
        await asyncio.to_thread(blobs.clean)
        if unnamed:
            await journal.do(blobs.collect)
        for operation in doubts:
            with contextlib.suppress(SlothError):  # a leftover that stays is in nobody's way
                await _sweep(machines.host(operation.address.host), recorder, operation)


async def _sweep(host: Host, recorder: Recorder, operation: Operation) -> None:
    """Removes the new file that a dead run had begun to write beside the one in doubt."""
    if operation.row is None:
        return
    resource = recorder.seal.resource(operation.address.type, operation.row["params"])
    folder, name = posixpath.split(resource.path or "")
    for beside in await host.ask("list", path=folder) or () if name else ():
        if beside.startswith(f".{name}") and LEFT_OVER.fullmatch(beside, len(name) + 1):
            await host.ask("remove", path=posixpath.join(folder, beside))


def _action(operation: Operation) -> Recovered:
    if operation.kind.startswith("guarded"):
        return _event(operation, "not done", "its guard will tell whether it was done")
    return _event(operation, "in doubt", "it may or may not have been done")


async def _looked_at(
    recorder: Recorder, observations: Observations, operation: Operation, kept: Value
) -> tuple[ResourceRow | None, Recovered]:
    """Returns the row that an operation leaves (None: as it was before) and what to tell."""
    address, previous = operation.address, (operation.previous or {}).get("actual")
    try:
        resource = recorder.seal.resource(address.type, kept["params"])
        if operation.kind == "create":
            resource = resource.unfinished()
        [seen] = await observations.fresh(address.host, [(address, resource)])
        if isinstance(seen, Exception):
            raise seen
    except SlothError as error:
        row = _row(operation, kept, previous, "failed")
        return row, _event(operation, "in doubt", str(error))
    actual = recorder.seal.state(seen, resource.sensitive_beside(seen))
    if not resource.diff(seen):
        return _row(operation, kept, actual, "applied"), _event(operation, "done", "")
    if actual == previous:
        return None, _event(operation, "not done", "")
    return _row(operation, kept, actual, "failed"), _event(operation, "half done", "")


def _row(
    operation: Operation, kept: Value, actual: State | None, state: ResourceState
) -> ResourceRow:
    """Returns the row that the dead run would have written; of a half done change, failed."""
    left_out = ("address", "drift", "actual", "state", "last_applied", "error")
    fields = {name: value for name, value in kept.items() if name not in left_out}
    done = state == "applied"
    return ResourceRow(
        **fields,
        address=operation.address,
        actual=actual,
        state=state,
        last_applied=now() if done else kept["last_applied"],
        error=None if done else "interrupted while it was being applied",
        carry=Carry(
            task=operation.task,
            run=operation.run,
            attempt=operation.attempt if done else 0,
            status={"create": "created", "change": "changed", "remove": "removed"}[operation.kind],
            diff=tuple(operation.diff),
        ),
    )


def _event(operation: Operation, outcome: str, reason: str) -> Recovered:
    address = operation.address
    detail = f": {reason}" if reason else ""
    return Recovered(
        msg=f"{address} was interrupted in an earlier run: {outcome}{detail}",
        level="warn" if outcome in ("in doubt", "half done") else "info",
        host=address.host,
        task=operation.task,
        res=str(address).partition("/")[2],
        loc=operation.location,
        outcome=outcome,
        command=operation.command,
    )
