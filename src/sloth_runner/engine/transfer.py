"""Export and import: one stack as one JSON document, and back, whole.

The document is ``{format, stack, resources, outputs, runs}``; with blobs also ``blobs``,
their bytes in base64 by name. Sensitive values are in it as they are in the record:
sealed, to be opened only with the key of the database that they come from.
"""

import base64
import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from sloth_runner.core import values
from sloth_runner.core.address import Address
from sloth_runner.core.errors import RecordError, UsageError
from sloth_runner.core.record import (
    Carry,
    Operation,
    Output,
    ResourceRow,
    Run,
    Stack,
    StoredEvent,
)
from sloth_runner.core.values import Value
from sloth_runner.engine.holding import who
from sloth_runner.engine.seal import BASE
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.journal import Journal
from sloth_runner.state.keys import Sealer
from sloth_runner.state.store import Store
from sloth_runner.state.transfer_tables import StoredRun, WholeStack

FORMAT = 1
"""The number of the document's format; a higher one is refused."""

_DERIVED = frozenset({"host", "type", "name", "status"})
"""What an exported resource says twice, for whoever reads it."""

_ID = re.compile(r"[0-9A-Z]{26}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

T = TypeVar("T", bound=Struct)


class Imported(Struct, frozen=True, kw_only=True):
    """What an import took in, and what it could not.

    ``no_undo`` are addresses whose former content is not here, ``sealed`` those that hold
    values which only the key of another database opens.
    """

    stack: str
    resources: int
    runs: int
    outputs: int
    no_undo: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()

    def as_value(self) -> dict[str, Value]:
        """Returns the JSON document of ``stack import --json``."""
        lists = {"no_undo": list(self.no_undo), "sealed": list(self.sealed)}
        return {**structs.asdict(self), **lists}


def export(journal: Journal, stack: Stack, *, with_blobs: bool = False) -> dict[str, Value]:
    """Returns everything that is recorded of ``stack`` as one document."""
    whole = journal.look(lambda store: _whole(store, stack))
    document: dict[str, Value] = {
        "format": FORMAT,
        "stack": {
            **structs.asdict(whole.stack),
            "key": _key_id(journal.folder),
            "state": [list(entry) for entry in whole.keys],
        },
        "resources": [_row_value(row) for row in whole.resources],
        "outputs": [structs.asdict(output) for output in whole.outputs],
        "runs": [_run_value(stored) for stored in whole.runs],
    }
    if with_blobs:
        document["blobs"] = _blob_values(journal.folder, _blobs_of(whole.resources, whole.runs))
    result: dict[str, Value] = values.canonical(document)
    return result


def import_(journal: Journal, document: Value, *, name: str | None = None) -> Imported:
    """Takes a stack back from ``document``, under another ``name`` if one is given.

    Raises RecordError for a newer format, and UsageError for what is no export or when a
    stack of that name, or the very stack, is recorded already.
    """
    whole = _read(document, name)
    blobs = Blobs(journal.folder)

    def write(store: Store) -> None:
        _keep_blobs(blobs, document.get("blobs") or {})
        store.restore_stack(whole)
        run = store.begin_run(
            whole.stack.id, kind="import", who=who(), command="stack import", source_hash=""
        )
        counts = {"imported": len(whole.resources)}
        store.finish_run(run.id, result="ok", counts=counts)

    journal.call(write)
    other_key = _other_key(document, journal.folder)
    return Imported(
        stack=whole.stack.name,
        resources=len(whole.resources),
        runs=len(whole.runs),
        outputs=len(whole.outputs),
        no_undo=tuple(
            str(row.address)
            for row in whole.resources
            if not all(map(blobs.exists, _blobs_in((row.origin or {}).get("saved"))))
        ),
        sealed=tuple(str(row.address) for row in whole.resources if other_key and _is_sealed(row)),
    )


def _whole(store: Store, stack: Stack) -> WholeStack:
    return WholeStack(
        stack=stack,
        resources=store.resources(stack.id),
        outputs=store.outputs(stack.id),
        runs=[
            StoredRun(run=run, operations=store.operations(run.id), events=store.events(run.id))
            for run in reversed(store.runs(stack.id))
        ],
        keys=store.kv_list(stack.id),
    )


def _row_value(row: ResourceRow) -> dict[str, Value]:
    """Returns a row under the names that ``stack resources --json`` uses, and all the rest."""
    data: dict[str, Any] = structs.asdict(row)
    data["properties"] = data.pop("desired")
    data["carry"] = row.carry and structs.asdict(row.carry)
    data |= {
        "address": str(row.address),
        "host": row.address.host,
        "type": row.address.type,
        "name": row.address.name,
        "status": row.state,
    }
    return {key: _plain(value) for key, value in data.items()}


def _run_value(stored: StoredRun) -> dict[str, Value]:
    run = {key: _plain(value) for key, value in structs.asdict(stored.run).items()}
    return {
        **run,
        "operations": [_operation_value(operation) for operation in stored.operations],
        "events": [
            {"seq": e.seq, "at": e.at, "type": e.type, "address": e.address, "data": dict(e.data)}
            for e in stored.events
        ],
    }


def _operation_value(operation: Operation) -> dict[str, Value]:
    data = structs.asdict(operation)
    return {**{k: _plain(v) for k, v in data.items()}, "address": str(operation.address)}


def _plain(value: Any) -> Value:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _read(document: Value, name: str | None) -> WholeStack:
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise UsageError(
            "this is not an exported stack",
            hint='an export is written by "sloth-runner stack export NAME > FILE"',
        )
    if document["format"] > FORMAT:
        raise RecordError(
            f"the document has format {document['format']}, and this sloth-runner knows "
            f"formats up to {FORMAT}",
            hint="it was written by a newer sloth-runner: import it with that one",
        )
    try:
        return _parts(document, name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"the exported stack is not complete: {type(error).__name__} {error}",
            hint="export it again; a document that was edited by hand must keep its shape",
        ) from error


def _parts(document: Mapping[str, Any], name: str | None) -> WholeStack:
    described = dict(document["stack"])
    keys = [(key, value, moment) for key, value, moment in described.pop("state")]
    described.pop("key")
    stack = _typed(Stack, {**described, "name": name or described["name"]})
    if not (stack.name.strip() and stack.name.isprintable() and _ID.fullmatch(stack.id)):
        raise ValueError("the name or the id of the stack is impossible")
    if stack.status == "running":  # nobody runs it here
        stack = structs.replace(stack, status="failed")
    outputs = [_typed(Output, data) for data in document["outputs"]]
    for output in outputs:
        if output.sensitive and not isinstance((output.value or {}).get("$sealed"), str):
            raise ValueError(f"the sensitive output {output.key} is not sealed")
    resources = [_row(data) for data in document["resources"]]
    runs = [_run(stack.id, data) for data in document["runs"]]
    if not all(map(Blobs.is_key, _blobs_of(resources, runs))):
        raise ValueError("a blob has an impossible name")
    if len({row.key for row in resources}) < len(resources):
        raise ValueError("a resource is there twice")
    if len({stored.run.number for stored in runs}) < len(runs):
        raise ValueError("a run is there twice")
    return WholeStack(
        stack=stack,
        resources=resources,
        outputs=outputs,
        runs=runs,
        keys=keys,
    )


def _row(data: Mapping[str, Any]) -> ResourceRow:
    carry = data["carry"]
    fields = {key: value for key, value in data.items() if key not in _DERIVED}
    desired = fields.pop("properties")
    return _typed(
        ResourceRow,
        {
            **fields,
            "desired": desired,
            "address": Address.parse(data["address"]),
            "carry": carry and _typed(Carry, carry),
        },
    )


def _typed(cls: type[T], fields: Mapping[str, Any]) -> T:
    """Returns what a part of a document describes; raises ValueError for what cannot be that."""
    known = cls.__struct_fields__
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"{name} is not known")
        moment = name.endswith("_at") or name in ("at", "drift_since", "last_applied")
        if moment and value and not _MOMENT.fullmatch(str(value)):
            raise ValueError(f"{name} is not a time")
    return msgspec.convert(dict(fields), cls)


def _run(stack_id: str, data: Mapping[str, Any]) -> StoredRun:
    fields = dict(data)
    operations, events = fields.pop("operations"), fields.pop("events")
    run = _typed(Run, {**fields, "stack": stack_id})
    return StoredRun(
        run=run,
        operations=[
            _typed(
                Operation,
                {**operation, "run": run.id, "address": Address.parse(operation["address"])},
            )
            for operation in operations
        ],
        events=[_typed(StoredEvent, {**event, "run": run.id}) for event in events],
    )


def _blobs_of(resources: Iterable[ResourceRow], runs: Iterable[StoredRun]) -> list[str]:
    """Returns the names of the blobs that rows and operations need, sorted.

    What a workflow keeps itself may look like one and is none: outputs, keys, registrations.
    """
    operations = [operation for stored in runs for operation in stored.operations]
    kept: list[Any] = [operation.row for operation in operations if operation.row]
    kept += [{"origin": operation.previous} for operation in operations]
    kept += [
        {"params": row.params, "origin": row.origin} for row in resources if not row.registered
    ]
    found: set[str] = set()
    for one in kept:
        found |= {*_blobs_in(one.get("params")), *_blobs_in((one.get("origin") or {}).get("saved"))}
    return sorted(found)


def _blobs_in(parts: Value) -> Iterator[str]:
    """Yields the names of the blobs among the parts of a row: its parameters, or what it saved."""
    for name, part in parts.items() if isinstance(parts, Mapping) else ():
        if name == BASE:
            yield from _blobs_in(part)
        elif isinstance(part, Mapping) and isinstance(part.get("$blob"), str):
            yield part["$blob"]


def _blob_values(folder: str, keys: list[str]) -> dict[str, str]:
    blobs, found = Blobs(folder), {}
    for key in keys:
        with contextlib.suppress(FileNotFoundError):  # lost, or its stack was deleted meanwhile
            found[key] = base64.b64encode(Path(blobs.path(key)).read_bytes()).decode("ascii")
    return found


def _keep_blobs(blobs: Blobs, given: Mapping[str, str]) -> None:
    """Keeps the blobs of a document; each must have the name that its bytes give it."""
    for key, encoded in given.items():
        try:
            blobs.put_as(key, base64.b64decode(encoded, validate=True))
        except (TypeError, ValueError) as error:
            raise UsageError(f"a blob of the document is damaged: {error}") from None


def _key_id(folder: str) -> str | None:
    return Sealer.load(folder).key_id if (Path(folder) / "key").exists() else None


def _other_key(document: Mapping[str, Any], folder: str) -> bool:
    key = document["stack"].get("key")
    return key is not None and key != _key_id(folder)


def _is_sealed(row: ResourceRow) -> bool:
    return any("sealed" in str(part) for part in (row.params, row.origin))
