"""``stack.*``: what a workflow asks and tells its stack."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import ParamError, RecordError
from sloth_runner.core.events import SENSITIVE, StackOutput
from sloth_runner.core.record import Output, ResourceRow, now
from sloth_runner.core.schema import shown_value, unknown_name
from sloth_runner.core.values import Value, decode, encode
from sloth_runner.engine.claims import Claims
from sloth_runner.engine.context import Caller
from sloth_runner.engine.masking import texts
from sloth_runner.engine.pipeline import Pipeline
from sloth_runner.engine.program import Answer
from sloth_runner.engine.registrations import Registrations
from sloth_runner.engine.writes import ABSENT, OUTPUT, Writes, same

MARKS = ("applied", "failed")

_TYPE = re.compile(r"[\w.-]+", re.ASCII)


class StackCalls:
    """The calls of a program about its stack: outputs and registrations."""

    def __init__(
        self, pipeline: Pipeline, claims: Claims, registrations: Registrations, writes: Writes
    ) -> None:
        self._pipeline = pipeline
        self._recorder = pipeline.recorder
        self._writes = writes
        self._claims = claims
        self._registrations = registrations
        self._outputs: dict[str, Output] = {}

    async def load(self) -> None:
        """Reads the outputs that the stack has."""
        stack_id = self._recorder.stack.id
        stored = await self._recorder.journal.read(lambda store: store.outputs(stack_id))
        self._outputs = {output.key: output for output in stored}

    def functions(self) -> dict[str, Any]:
        """Returns the calls by name."""
        return {
            "stack.get_name": self._get_name,
            "stack.get_id": self._get_id,
            "stack.get_status": self._get_status,
            "stack.set_output": self._set_output,
            "stack.get_output": self._get_output,
            "stack.register_resource": self._register,
            "stack.update_resource": self._update,
            "stack.get_resource": self._get,
            "stack.resource_exists": self._exists,
            "stack.delete_resource": self._delete,
        }

    async def _get_name(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        return Answer(value=self._recorder.stack.name)

    async def _get_id(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        made = self._recorder.stack.id
        if not made:  # in a preview of its first run
            return Answer(value={}, unknown=("*",), why="the id of a stack that is not made yet")
        return Answer(value=made)

    async def _get_status(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        return Answer(value=self._recorder.stack.status)

    async def _set_output(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        key = _text(caller, arguments, 0, "the key of an output")
        value = arguments[1] if len(arguments) > 1 else None
        options = arguments[2] if len(arguments) > 2 and arguments[2] is not None else {}
        mask = self._recorder.bus.mask
        sensitive = _fields(caller, options, ("sensitive",)).get("sensitive")
        if sensitive is None:
            sensitive = mask.hides(value)
        if not isinstance(sensitive, bool):
            raise ParamError(
                f"{caller.function}: sensitive is true or false, not {shown_value(sensitive)}",
                location=caller.location,
            )
        if value is None:
            raise ParamError(
                f"{caller.function}: output {key!r} has no value", location=caller.location
            )
        old = self._outputs.get(key)
        before = ABSENT if old is None else [self._known(old), old.sensitive]
        if same(before, [value, sensitive]):
            return Answer(value=True)
        event = StackOutput(
            msg=f"output {key} set",
            task=caller.task,
            loc=caller.place,
            key=key,
            value=SENSITIVE if sensitive else value,
            sensitive=sensitive,
            planned=self._pipeline.preview is not None,
        )
        stored = Output(
            key=key,
            value=self._seal(value) if sensitive else value,
            sensitive=sensitive,
            updated_at=now(),
            run=self._recorder.run.number,
        )
        self._outputs[key] = stored
        if sensitive:
            mask.learn(texts(value))
        self._writes.note(OUTPUT, key, caller, before, [value, sensitive])
        if self._pipeline.preview is not None:
            self._pipeline.preview.shown.append(event)
        else:
            stack_id = self._recorder.stack.id
            await self._recorder.write(lambda store: store.put_output(stack_id, stored), event)
        return Answer(value=True)

    async def _get_output(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        output = self._outputs.get(_text(caller, arguments, 0, "the key of an output"))
        return Answer(value=None if output is None else self._open(output))

    async def _register(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        known = ("type", "name", "module", "properties", "host", "delegate_to")
        spec = _fields(caller, arguments[0] if arguments else None, known)
        properties = spec.get("properties") or {}
        if not isinstance(properties, dict):
            raise ParamError(f"{caller.function}: properties is a table", location=caller.location)
        where = spec.get("delegate_to") or spec.get("host") or host
        address = _address(caller, where, spec.get("type"), spec.get("name"))
        module = spec.get("module") or "custom"
        self._claims.seen.add((address, True))
        status, row = await self._registrations.register(address, module, properties, caller)
        return Answer(value=[status, _table(row, status)], spread=True)

    async def _update(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        address = self._named(caller, host, arguments)
        given = arguments[2] if len(arguments) > 2 else None
        changes = _fields(caller, given, ("state", "error", "properties"))
        state = changes.get("state", "applied")
        if state not in MARKS:
            raise ParamError(
                f'{caller.function}: state is "applied" or "failed", not {shown_value(state)}',
                location=caller.location,
            )
        error = changes.get("error")
        self._claims.seen.add((address, True))
        marked = await self._registrations.mark(
            address,
            state,
            error=None if error is None else str(error),
            properties=changes.get("properties"),
            caller=caller,
        )
        if not marked:
            if self._recorder.row(address) is not None:
                return Answer(value=True)
            raise ParamError(
                f"{caller.function}: {address} is not registered",
                location=caller.location,
                hint="stack.register_resource comes first",
            )
        return Answer(value=True)

    async def _get(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        row = self._found(caller, host, arguments)
        return Answer(value=None if row is None else _table(row, None))

    async def _exists(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        return Answer(value=self._found(caller, host, arguments) is not None)

    async def _delete(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        address = self._named(caller, host, arguments)
        self._claims.seen.discard((address, True))
        return Answer(value=await self._registrations.delete(address, caller))

    def _found(self, caller: Caller, host: str, arguments: Sequence[Value]) -> ResourceRow | None:
        """Returns the row asked for, and claims it: asking shows that the workflow knows it."""
        address = self._named(caller, host, arguments)
        self._claims.seen |= {(address, True), (address, False)}
        registered = self._registrations.row(address)
        return registered or self._recorder.row(address)

    def _named(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Address:
        kind = arguments[0] if arguments else None
        name = arguments[1] if len(arguments) > 1 else None
        return _address(caller, host, kind, name)

    def _seal(self, value: Value) -> Value:
        return {"$sealed": self._recorder.seal.sealer.encrypt(encode(value))}

    def _known(self, output: Output) -> Value:
        """Returns the value of an output; of one that the key of another record sealed, nothing."""
        try:
            return self._open(output)
        except RecordError:
            return None

    def _open(self, output: Output) -> Value:
        if output.sensitive and isinstance(output.value, dict):
            value = decode(self._recorder.seal.sealer.decrypt(output.value["$sealed"]))
            self._recorder.bus.mask.learn(texts(value))
            return value
        return output.value


def _address(caller: Caller, host: Value, kind: Value, name: Value) -> Address:
    for what, value in (("type", kind), ("name", name)):
        if not isinstance(value, str) or not value:
            raise ParamError(
                f"{caller.function}: the {what} is a text that is not empty, "
                f"not {shown_value(value)}",
                location=caller.location,
            )
    if not _TYPE.fullmatch(kind):
        raise ParamError(
            f"{caller.function}: {kind!r} is not a type: it has letters, digits, '_', '-' and '.'",
            location=caller.location,
        )
    return Address(host if isinstance(host, str) else LOCAL, kind, name)


def _text(caller: Caller, arguments: Sequence[Value], index: int, what: str) -> str:
    value = arguments[index] if len(arguments) > index else None
    if not isinstance(value, str) or not value:
        raise ParamError(
            f"{caller.function}: {what} is a text that is not empty, not {shown_value(value)}",
            location=caller.location,
        )
    return value


def _fields(caller: Caller, given: Value, known: Sequence[str]) -> Mapping[str, Value]:
    """Returns a table of a call, which may have no other fields than the ``known`` ones."""
    if not isinstance(given, dict):
        raise ParamError(
            f"{caller.function} takes a table with {', '.join(known)}, not {shown_value(given)}",
            location=caller.location,
        )
    for key in given:
        if key not in known:
            raise ParamError(
                f"{caller.function}: {unknown_name(key, known)}", location=caller.location
            )
    return given


def _table(row: ResourceRow, status: str | None) -> dict[str, Value]:
    """Returns a row as the workflow sees it."""
    return {
        "address": str(row.address),
        "host": row.address.host,
        "type": row.address.type,
        "name": row.address.name,
        "module": row.module,
        "registered": row.registered,
        "state": row.state,
        "status": status or row.state,
        "checksum": row.checksum,
        "properties": row.desired or {},
        "error": row.error,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_applied": row.last_applied,
        "run": row.run,
    }
