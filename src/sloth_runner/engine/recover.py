"""Settles what a dead run left in doubt, by looking at the machine and nothing else."""

from sloth_runner.core.address import Address
from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import Recovered
from sloth_runner.core.record import Carry, Operation, ResourceRow
from sloth_runner.core.resource import Resource
from sloth_runner.engine.observations import Observations
from sloth_runner.engine.recorder import Recorder


async def settle_doubts(recorder: Recorder, observations: Observations) -> None:
    """Records of each open operation whether it was done, half done or not done.

    A change that was done is carried: nothing that should follow it has happened yet. An
    action cannot be looked at: it is reported, and done again when the workflow gets to it.
    """
    stack_id = recorder.stack.id
    doubts = await recorder.journal.read(lambda store: store.open_operations(stack_id))
    for operation in doubts:
        if operation.row is None:
            await _report_action(recorder, operation)
        else:
            await _look(recorder, observations, operation)


async def _report_action(recorder: Recorder, operation: Operation) -> None:
    guarded = operation.kind.startswith("guarded")
    outcome = "not done" if guarded else "in doubt"
    event = _event(
        operation,
        outcome,
        "its guard will tell whether it was done"
        if guarded
        else "it may or may not have been done",
    )
    await recorder.write(lambda store: store.end_operation(operation.id, outcome), event)


async def _look(recorder: Recorder, observations: Observations, operation: Operation) -> None:
    data = dict(operation.row or {})
    address = operation.address
    try:
        resource = recorder.seal.resource(address.type, data["params"])
        [seen] = await observations.fresh(address.host, [(address, resource)])
        if isinstance(seen, Exception):
            raise seen
    except SlothError as error:
        await _settle(recorder, operation, None, "half done", str(error))
        return
    sensitive = resource.sensitive_beside(seen)
    actual = recorder.seal.state(seen, sensitive)
    previous = (operation.previous or {}).get("actual")
    if not resource.diff(seen):
        row = _row(recorder, operation, data, actual, resource)
        await _settle(recorder, operation, row, "done", "")
    elif actual == previous:
        await _settle(recorder, operation, None, "not done", "")
    else:
        await _settle(recorder, operation, None, "half done", "")


def _row(
    recorder: Recorder,
    operation: Operation,
    data: dict[str, object],
    actual: object,
    resource: Resource,
) -> ResourceRow:
    """Returns the row that the dead run would have written."""
    fields = {k: v for k, v in data.items() if k not in ("address", "drift", "actual", "state")}
    status = {"create": "created", "change": "changed", "remove": "removed"}[operation.kind]
    return ResourceRow(
        **fields,  # type: ignore[arg-type]  # the fields of a row, as the intent kept them
        address=operation.address,
        actual=actual,  # type: ignore[arg-type]
        state="applied",
        carry=Carry(
            task=operation.task,
            run=operation.run,
            attempt=operation.attempt,
            status=status,
            diff=tuple(operation.diff),
        ),
    )


async def _settle(
    recorder: Recorder,
    operation: Operation,
    row: ResourceRow | None,
    outcome: str,
    reason: str,
) -> None:
    event = _event(operation, outcome, reason)
    result = "done" if outcome == "done" else outcome
    await recorder.write(lambda store: store.end_operation(operation.id, result), event)
    if row is not None:
        await recorder.put(row)


def _event(operation: Operation, outcome: str, reason: str) -> Recovered:
    address: Address = operation.address
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
