"""``stack.register_resource``: things that the workflow itself looks after (DESIGN, section 5)."""

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from sloth_runner.core import forms, schema, values
from sloth_runner.core.address import Address
from sloth_runner.core.diff import Change
from sloth_runner.core.errors import ParamError, SlothError
from sloth_runner.core.events import ChangeItem, Event, ResourceEnd
from sloth_runner.core.record import Carry, ResourceRow, ResourceState, now
from sloth_runner.core.registry import Registry
from sloth_runner.core.resource import Resource
from sloth_runner.core.values import State, Value
from sloth_runner.engine.context import Caller
from sloth_runner.engine.pipeline import Pipeline
from sloth_runner.engine.seal import change_data
from sloth_runner.engine.work import carried, owed
from sloth_runner.engine.writes import ABSENT, REGISTRATION, Writes

CONTENT = "content"

SPELLINGS = {"installed": "present", "running": "started"}
"""Words of a registration for the words that the types use."""


class Registrations:
    """The registrations of one run: rows of their own, beside those of modules."""

    def __init__(self, pipeline: Pipeline, registry: Registry, writes: Writes) -> None:
        self._pipeline = pipeline
        self._writes = writes
        self._recorder = pipeline.recorder
        self._registry = registry
        self._answered: dict[Address, tuple[str, str, ResourceRow]] = {}
        self._pending: dict[str, set[Address]] = {}
        self.predicted: dict[Address, ResourceRow | None] = {}

    async def register(
        self, address: Address, module: str, properties: Mapping[str, Value], caller: Caller
    ) -> tuple[str, ResourceRow]:
        """Returns the status of a registration and its row, recorded as pending until marked."""
        checksum = values.checksum(dict(properties))
        answered = self._answered.get(address)
        if answered is not None and answered[0] == checksum:
            return answered[1], self.row(address) or answered[2]
        old = self.row(address)
        status = await self._status(address, old, checksum, properties)
        debt = (
            owed(old, caller, run=self._recorder.run, tasks=self._pipeline.tasks)
            if status == "unchanged"
            else None
        )
        row = await self._record(address, module, properties, checksum, status, caller, old)
        if debt is not None:
            status = debt.status
            await self._tell_carried(address, debt, caller)
        self._answered[address] = (checksum, status, row)
        self._pipeline.counts.add("carried" if debt else status)
        return status, row

    def row(self, address: Address) -> ResourceRow | None:
        """Returns the registration at ``address``, as this run or preview sees it."""
        if address in self.predicted:
            return self.predicted[address]
        return self._recorder.row(address, registered=True)

    async def mark(
        self,
        address: Address,
        state: ResourceState,
        *,
        error: str | None = None,
        properties: Mapping[str, Value] | None = None,
        caller: Caller | None = None,
    ) -> bool:
        """Marks a registration applied or failed; answers whether there is one.

        With ``caller`` it is told as a write of the workflow, unless that has just registered it.
        """
        row = self.row(address)
        if row is None:
            return False
        registered = any(address in waiting for waiting in self._pending.values())
        for waiting in self._pending.values():
            waiting.discard(address)
        changes: dict[str, Any] = {
            "state": state,
            "error": error,
            "drift": (),
            "drift_since": None,
            "claimed_run": self._recorder.run.number,
        }
        if state == "applied":
            changes["last_applied"] = now()
        if properties is not None:
            merged = {**(row.desired or {}), **properties}
            changes |= {"desired": merged, "actual": merged, "checksum": values.checksum(merged)}
        marked = structs.replace(row, **changes)
        told: tuple[Event, ...] = ()
        if caller is not None and not registered and _marks(marked) != _marks(row):
            told = self._told(address, caller, _marks(row), _marks(marked))
        await self._put(marked, *told)
        return True

    async def delete(self, address: Address, caller: Caller) -> bool:
        """Removes a registration; answers whether there was one."""
        row = self.row(address)
        if row is None:
            return False
        self._answered.pop(address, None)
        for waiting in self._pending.values():
            waiting.discard(address)
        told = self._told(address, caller, _marks(row), ABSENT)
        if self._pipeline.preview is not None:
            self.predicted[address] = None
        else:
            await self._recorder.forget(row, *told)
        return True

    def _told(
        self, address: Address, caller: Caller, before: Value, after: Value
    ) -> tuple[Event, ...]:
        """Returns the event of a write that is about to be made; a preview tells it at its end."""
        event = self._writes.event(REGISTRATION, str(address), caller, before, after)
        self._writes.note(REGISTRATION, str(address), caller, before, after)
        return () if self._pipeline.preview is not None else (event,)

    async def task_ended(self, task: str, *, failed: bool, reason: str | None) -> None:
        """Settles what the task registered and never marked: as the task itself ended."""
        for address in sorted(self._pending.pop(task, ())):
            await self.mark(address, "failed" if failed else "applied", error=reason)
        if failed:
            self._answered = {
                address: answer
                for address, answer in self._answered.items()
                if answer[2].task != task
            }

    async def _status(
        self,
        address: Address,
        old: ResourceRow | None,
        checksum: str,
        properties: Mapping[str, Value],
    ) -> str:
        if old is None or old.last_applied is None:
            return "created"
        if old.checksum != checksum or old.state != "applied":
            return "changed"
        return "changed" if await self._lost(address, properties) else "unchanged"

    async def _lost(self, address: Address, properties: Mapping[str, Value]) -> bool:
        """Whether the machine no longer has the thing, for types that can be observed."""
        resource = observable(self._registry, address, properties)
        if resource is None:
            return False
        predicted = self._pipeline.overlay.state(address)
        if predicted is not None:
            return bool(differences(resource, predicted.state, properties))
        [seen] = await self._pipeline.observations.get(address.host, [(address, resource)])
        return isinstance(seen, Exception) or bool(differences(resource, seen, properties))

    async def _record(
        self,
        address: Address,
        module: str,
        properties: Mapping[str, Value],
        checksum: str,
        status: str,
        caller: Caller,
        old: ResourceRow | None,
    ) -> ResourceRow:
        changes = _changes(old, properties)
        carry = old.carry if old else None
        if status != "unchanged":
            carry = Carry(
                task=caller.task,
                run=self._recorder.run.id,
                attempt=caller.attempt,
                status=status,
                diff=change_data(changes),
            )
            self._pending.setdefault(caller.task, set()).add(address)
        row = ResourceRow(
            address=address,
            module=module,
            registered=True,
            params=dict(properties),
            desired=dict(properties),
            actual=dict(properties),
            checksum=checksum,
            state="applied" if status == "unchanged" else "pending",
            provenance=old.provenance if old else "created",
            order=old.order if old else 0,
            carry=carry,
            task=caller.task,
            location=caller.place,
            claimed_run=self._recorder.run.number,
            run=old.run if old and status == "unchanged" else self._recorder.run.number,
            created_at=old.created_at if old else now(),
            last_applied=old.last_applied if old else None,
        )
        if status == "unchanged" and old is not None and self._pipeline.preview is None:
            await self._recorder.unchanged(old, caller)
            return old
        event = ResourceEnd(
            msg=f"{address} registered: {status}",
            host=address.host,
            task=caller.task,
            res=str(address).partition("/")[2],
            loc=caller.place,
            outcome=status,
            action="register",
            changes=changes,
            planned=self._pipeline.preview is not None,
        )
        return await self._put(row, *(() if status == "unchanged" else (event,)))

    async def _tell_carried(self, address: Address, debt: Carry, caller: Caller) -> None:
        preview = self._pipeline.preview
        _, event = carried(address, debt, caller, None, planned=preview is not None)
        if preview is None:
            await self._recorder.emit(event)
        else:
            preview.shown.append(event)

    async def _put(self, row: ResourceRow, *published: Event) -> ResourceRow:
        if self._pipeline.preview is None:
            return await self._recorder.put(row, *published)
        self.predicted[row.address] = row
        self._pipeline.preview.shown.extend(published)
        return row


def observable(
    registry: Registry, address: Address, properties: Mapping[str, Value]
) -> Resource | None:
    """Returns the resource of a built-in type that a registration speaks of, or None.

    Properties that the type does not know, or does not take, are left out of the question.
    """
    cls = registry.types.get(address.type)
    if cls is None:
        return None
    params = schema.params_of(cls)
    keys = [param.name for param in params.values() if param.doc.key]
    given: dict[str, Value] = {}
    if len(keys) == 1 and keys[0] not in properties:
        given[keys[0]] = address.name
    for name, value in properties.items():
        if name in params and name not in given:
            value = SPELLINGS.get(value, value) if isinstance(value, str) else value
            try:
                given[name] = params[name].convert(value)
            except schema.WrongValue:
                continue
    if CONTENT in params and params[CONTENT].required:
        given.setdefault(CONTENT, "")  # of a file it is not asked unless it is registered
    try:
        resource: Resource = forms.build(cls, given, function=address.type)
        resource.desired()
    except (ParamError, SlothError, TypeError):
        return None
    return resource


def differences(
    resource: Resource, seen: State | None, properties: Mapping[str, Value]
) -> tuple[Change, ...]:
    """Returns what differs of what a registration says: its content only where it says one."""
    change = resource.diff(seen)
    if change.kind == "create":
        return change.changes or (Change("presence", None, True),)
    return tuple(c for c in change.changes if c.property != CONTENT or CONTENT in properties)


def _marks(row: ResourceRow) -> Value:
    """Returns what a workflow says of a registration, and what is told when it says otherwise."""
    return [row.state, row.error, row.checksum]


def _changes(old: ResourceRow | None, properties: Mapping[str, Value]) -> tuple[ChangeItem, ...]:
    before = (old.desired or {}) if old else {}
    return tuple(
        ChangeItem(path=name, old=before.get(name), new=properties.get(name))
        for name in sorted({*before, *properties})
        if before.get(name) != properties.get(name)
    )
