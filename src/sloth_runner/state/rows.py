"""Between tuples of columns and the dataclasses of the record; no SQL, no connection."""

import contextlib
import functools
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sloth_runner.core import values
from sloth_runner.core.address import Address, escaped, unescaped
from sloth_runner.core.record import (
    Carry,
    CommandRecord,
    Digest,
    Holder,
    Operation,
    Output,
    ResourceRow,
    Run,
    Stack,
    StoredEvent,
)
from sloth_runner.core.values import Value

Columns = tuple[Any, ...]
"""The columns of one row, in the order of their statement."""


def column(value: str | None) -> str | None:
    """Returns text as a column holds it: escaped, since a column takes UTF-8 only."""
    return None if value is None else escaped(value)


def from_column(value: str | None) -> str | None:
    """Returns the text of a column, which may be NULL."""
    return None if value is None else unescaped(value)


def document(value: Value) -> str | None:
    """Returns a value as a column holds it: canonical JSON, NULL for None."""
    if isinstance(value, Mapping):
        value = dict(value)
    return None if value is None else values.encode(value)


def key_columns(stack: str, address: Address, registered: bool) -> Columns:
    """Returns the columns that identify a resource."""
    return (
        stack,
        escaped(address.host),
        address.type,
        escaped(address.name),
        int(registered),
    )


def stack_of(row: Columns) -> Stack:
    """Returns the stack of a row."""
    return Stack(
        id=row[0],
        name=unescaped(row[1]),
        version=unescaped(row[2]),
        status=row[3],
        created_at=row[4],
        updated_at=row[5],
        serial=row[6],
        lineage=row[7],
        workflow=from_column(row[8]),
        description=unescaped(row[9]),
    )


def stack_columns(stack: Stack) -> Columns:
    """Returns the columns of a stack."""
    return (
        stack.id,
        escaped(stack.name),
        escaped(stack.version),
        stack.status,
        stack.created_at,
        stack.updated_at,
        stack.serial,
        stack.lineage,
        column(stack.workflow),
        escaped(stack.description),
    )


def run_of(row: Columns) -> Run:
    """Returns the run of a row."""
    return Run(
        id=row[0],
        stack=row[1],
        number=row[2],
        kind=row[3],
        who=unescaped(row[4]),
        command=unescaped(row[5]),
        source_hash=row[6],
        started_at=row[7],
        finished_at=row[8],
        result=from_column(row[9]),
        counts=values.decode(row[10]),
    )


def resource_values(row: ResourceRow) -> Columns:
    """Returns what a resource holds before its position: module to provenance."""
    return (
        escaped(row.module),
        values.encode(dict(row.params)),
        document(row.desired),
        document(row.actual),
        row.checksum,
        row.state,
        row.provenance,
    )


def resource_extras(row: ResourceRow) -> Columns:
    """Returns what a resource holds after its position: origin to run."""
    carry = row.carry and {
        "task": row.carry.task,
        "run": row.carry.run,
        "attempt": row.carry.attempt,
        "status": row.carry.status,
        "diff": row.carry.diff,
    }
    return (
        document(row.origin),
        document(carry),
        document(row.drift or None),
        row.drift_since,
        column(row.error),
        column(row.location),
        int(row.protect),
        row.run,
    )


def resources_of(rows: Sequence[Columns]) -> list[ResourceRow]:
    """Returns the resources of rows; their JSON is decoded in one piece, which is much faster."""
    if not rows:
        return []
    bodies = _decoded(f"[{','.join(_documents(rows))}]")
    return [_resource(row, *body) for row, body in zip(rows, bodies, strict=True)]


def _decoded(document: str) -> Value:
    if "$bytes" in document:
        return values.decode(document)
    import msgspec  # Half the time of json, and nothing that a short command should load.

    return msgspec.json.decode(document)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keeps the garbage collector from walking a large result again and again while it grows."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _documents(rows: Iterable[Columns]) -> Iterable[str]:
    for *_, params, desired, actual, origin, carry, drift in rows:
        rest = "null,null,null"
        if origin or carry or drift:
            rest = f"{origin or 'null'},{carry or 'null'},{drift or 'null'}"
        yield f"[{params},{desired or 'null'},{actual or 'null'},{rest}]"


@functools.lru_cache(1024)
def _name(value: str) -> str:
    """Returns the text of a column that many rows share, as one object for all of them."""
    return unescaped(value)


def _resource(
    row: Columns,
    params: Value,
    desired: Value,
    actual: Value,
    origin: Value,
    carry: Value,
    drift: Value,
) -> ResourceRow:
    return ResourceRow(
        address=Address(_name(row[0]), _name(row[1]), unescaped(row[2])),
        module=_name(row[3]),
        registered=row[4] == 1,
        checksum=row[5],
        state=row[6],
        provenance=row[7],
        order=row[8],
        drift_since=row[9],
        error=from_column(row[10]),
        task=row[11] and _name(row[11]),
        location=from_column(row[12]),
        protect=row[13] == 1,
        claimed_run=row[14],
        run=row[15],
        created_at=row[16],
        updated_at=row[17],
        last_applied=row[18],
        params=params,
        desired=desired,
        actual=actual,
        origin=origin,
        carry=carry and Carry(**{**carry, "diff": tuple(carry["diff"])}),
        drift=tuple(drift) if drift else (),
    )


def operation_columns(operation: Operation, started_at: str) -> Columns:
    """Returns the columns of an operation, after its identity and stack."""
    body = [operation.row, operation.previous, operation.diff, operation.command]
    return (
        escaped(operation.address.host),
        operation.address.type,
        escaped(operation.address.name),
        int(operation.registered),
        operation.kind,
        escaped(operation.task),
        operation.attempt,
        operation.ordinal,
        values.encode(body),
        column(operation.location),
        started_at,
        operation.ended_at,
        operation.result,
    )


def operation_of(columns: Columns) -> Operation:
    """Returns the operation of a row."""
    row, previous, diff, command = values.decode(columns[10])
    return Operation(
        id=columns[0],
        run=columns[1],
        address=Address(unescaped(columns[2]), columns[3], unescaped(columns[4])),
        kind=columns[5],
        task=unescaped(columns[6]),
        attempt=columns[7],
        ordinal=columns[8],
        registered=columns[9] == 1,
        row=row,
        previous=previous,
        diff=tuple(diff),
        command=tuple(command),
        location=from_column(columns[11]),
        started_at=columns[12],
        ended_at=columns[13],
        result=columns[14],
    )


def command_of(row: Columns) -> CommandRecord:
    """Returns the command of a row."""
    return CommandRecord(
        id=row[0],
        operation=row[1],
        host=unescaped(row[2]),
        argv=tuple(values.decode(row[3])),
        process_group=row[4],
        start_time=row[5],
        boot=row[6],
        finished=row[7] == 1,
    )


def event_of(row: Columns, data: Mapping[str, Value]) -> StoredEvent:
    """Returns the event of a row, given its decoded data."""
    return StoredEvent(
        run=row[0], seq=row[1], at=row[2], type=row[3], address=from_column(row[4]), data=data
    )


def output_of(row: Columns) -> Output:
    """Returns the output of a row."""
    return Output(
        key=unescaped(row[0]),
        value=values.decode(row[1]),
        sensitive=row[2] == 1,
        updated_at=row[3],
        run=row[4],
    )


def holder_of(row: Columns) -> Holder:
    """Returns the holder of a row."""
    return Holder(
        who=unescaped(row[0]),
        pid=row[1],
        since=row[2],
        command=unescaped(row[3]),
        run=row[4],
    )


def digest_document(digest: Digest) -> str:
    """Returns a digest as its column holds it."""
    return values.encode(list(digest))


def digests_of(rows: Sequence[Columns]) -> dict[str, Digest]:
    """Returns the digests of rows by path; their JSON is decoded in one piece."""
    decoded = _decoded(f"[{','.join(facts for _, facts in rows)}]") if rows else []
    return {
        unescaped(path): Digest._make(facts) for (path, _), facts in zip(rows, decoded, strict=True)
    }
