"""Writes what a run does: intents, results, unchanged batches, each with its events.

Everything here runs on the journal's writer thread, in one transaction per call; events
are published only after the commit that stored them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import structs

from sloth_runner.core import events, values
from sloth_runner.core.address import Address
from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import ChangeItem, Event
from sloth_runner.core.record import (
    Carry,
    CommandRecord,
    Operation,
    ResourceRow,
    ResourceState,
    Run,
    Stack,
    now,
)
from sloth_runner.core.resource import Resource
from sloth_runner.core.values import State, Value
from sloth_runner.engine.bus import Bus
from sloth_runner.engine.context import Caller
from sloth_runner.engine.seal import BASE, Seal, change_data
from sloth_runner.engine.written import Written, kept_row, same_wish
from sloth_runner.state.ids import new_id
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store

T = TypeVar("T")

KEY = "key"
"""The setting of the database that names the key of its sealed values."""

BATCH = 5_000
"""Unchanged resources that are recorded together at the most."""


class Recorder:
    """The record of one run of one stack.

    ``rows`` mirrors the stack's resources; who claimed one last only where a change is carried.
    """

    def __init__(self, journal: Journal, stack: Stack, run: Run, seal: Seal, bus: Bus) -> None:
        self.journal = journal
        self.stack = stack
        self.run = run
        self.seal = seal
        self.bus = bus
        self.rows: dict[tuple[Address, bool], ResourceRow] = {}
        self.bases: Mapping[Address, Resource] = {}
        """What was declared first of the resources that another declaration refined."""
        self.claimants: dict[tuple[Address, bool], set[str]] = {}
        """Which tasks of this run declared what an earlier one still owes something."""
        self._key_noted = False
        self._unchanged: dict[int, str] = {}
        self._moved: dict[int, str | None] = {}
        self._ordinals: dict[Address, int] = {}

    async def load(self) -> None:
        """Reads the stack's rows."""
        stack_id = self.stack.id
        rows = await self.journal.read(lambda store: store.resources(stack_id))
        self.rows = {row.key: row for row in rows}

    def row(self, address: Address, *, registered: bool = False) -> ResourceRow | None:
        """Returns what is recorded at ``address``."""
        return self.rows.get((address, registered))

    async def write(self, fn: Callable[[Store], T], *published: Event) -> T:
        """Runs ``fn`` and stores ``published`` in one transaction, then publishes them."""
        result, _ = await self.write_and_tell(lambda store: (fn(store), published))
        return result

    async def write_and_tell(
        self, fn: Callable[[Store], tuple[T, Sequence[Event]]]
    ) -> tuple[T, Sequence[Event]]:
        """Does as ``write`` where only the record can say which events there are."""
        result, published = await self.journal.do(lambda store: self._with_events(store, fn))
        for event in published:
            self.bus.publish(event)
        return result, published

    async def emit(self, *published: Event) -> None:
        """Stores the durable ones of ``published`` and publishes all."""
        if any(event.durable for event in published):
            await self.write(lambda store: None, *published)
        else:
            for event in published:
                self.bus.publish(event)

    def _with_events(
        self, store: Store, fn: Callable[[Store], tuple[T, Sequence[Event]]]
    ) -> tuple[T, Sequence[Event]]:
        result, found = fn(store)
        published = [self.bus.mask.event(event) for event in found]
        if self.seal.sealer.in_use and not self._key_noted:
            store.set_setting(KEY, self.seal.sealer.key_id)
            self._key_noted = True
        for event in published:
            if event.durable:
                address = f"{event.host}/{event.res}" if event.res else None
                store.add_event(self.run.id, event.type, address, events.payload(event))
        return result, published

    async def intend(
        self, written: Written, kind: str, changes: tuple[ChangeItem, ...], start: Event
    ) -> Operation:
        """Records durably that ``written`` is about to be changed, with its pre-image."""

        def save(store: Store) -> Operation:
            previous = self.seal.origin(written.origin, written.sensitive)
            row = self._row(written, previous, state="pending", carry=None)
            operation = Operation(
                id=new_id(),
                run=self.run.id,
                address=written.address,
                kind=kind,
                task=written.caller.task,
                attempt=written.caller.attempt,
                ordinal=self.ordinal(written.address),
                registered=False,
                row=kept_row(row),
                previous=previous,
                diff=change_data(changes),
                location=written.caller.place,
                started_at=now(),
            )
            store.begin_operation(operation)
            return operation

        return await self.write(save, start)

    async def intend_action(
        self,
        address: Address,
        caller: Caller,
        command: Sequence[str],
        *,
        guarded: bool,
        start: Event,
    ) -> Operation:
        """Records durably that an action is about to be done, without the secrets in it."""
        mask = self.bus.mask
        operation = Operation(
            id=new_id(),
            run=self.run.id,
            address=address._replace(name=mask.value(address.name)),
            kind="guarded action" if guarded else "action",
            task=caller.task,
            attempt=caller.attempt,
            ordinal=self.ordinal(address),
            registered=False,
            row=None,
            previous=None,
            diff=(),
            command=mask.value(tuple(command)),
            location=caller.place,
            started_at=now(),
        )
        await self.write(lambda store: store.begin_operation(operation), start)
        return operation

    async def end_action(self, operation: Operation, result: str, end: Event) -> None:
        """Records how an action ended."""
        await self.write(lambda store: store.end_operation(operation.id, result), end)

    async def settle(
        self,
        written: Written,
        operation: Operation,
        *,
        state: ResourceState,
        carry: Carry | None,
        end: Event,
        error: SlothError | None = None,
    ) -> ResourceRow:
        """Records the result of an operation: row, end and event in one transaction."""

        def save(store: Store) -> ResourceRow:
            row = self._row(written, operation.previous, state=state, carry=carry, error=error)
            row = store.put_resource(self.stack.id, row)
            store.end_operation(operation.id, "failed" if error else "done")
            return row

        row = await self.write(save, end)
        self._keep(row)
        return row

    async def settle_doubt(
        self, operation: Operation, result: str, row: ResourceRow | None, event: Event
    ) -> None:
        """Records what became of an operation of a dead run, in one transaction."""

        def save(store: Store) -> ResourceRow | None:
            store.end_operation(operation.id, result)
            return None if row is None else store.put_resource(self.stack.id, row)

        self.suppose(await self.write(save, event))

    def suppose(self, row: ResourceRow | None) -> None:
        """Takes ``row`` for what is recorded, without recording it: enough for a preview."""
        if row is not None:
            self._keep(row)

    async def adopt(self, written: Written, *published: Event) -> ResourceRow:
        """Records a resource that is as it should be and was not recorded so before."""

        def save(store: Store) -> ResourceRow:
            old = self.row(written.address)
            carry = old.carry if old and same_wish(old, written.resource) else None
            return store.put_resource(
                self.stack.id, self._row(written, None, state=written.caller.leaves, carry=carry)
            )

        row = await self.write(save, *published)
        if row.carry is not None:
            self.claimants.setdefault(row.key, set()).add(written.caller.task)
        self._keep(row)
        return row

    async def put(self, row: ResourceRow, *published: Event) -> ResourceRow:
        """Records ``row`` as it is."""
        [stored] = await self.put_many(lambda: [row], *published)
        return stored

    async def put_many(
        self, rows: Callable[[], Iterable[ResourceRow]], *published: Event
    ) -> list[ResourceRow]:
        """Records the rows that ``rows`` returns, all or none; it is called in the transaction."""

        def save(store: Store) -> list[ResourceRow]:
            return [
                store.put_resource(
                    self.stack.id, structs.replace(row, error=self.bus.mask.value(row.error))
                )
                for row in rows()
            ]

        stored = await self.write(save, *published)
        for row in stored:
            self._keep(row)
        return stored

    async def forget(self, row: ResourceRow, *published: Event) -> None:
        """Removes ``row`` from the record."""
        await self.write(
            lambda store: store.delete_resource(self.stack.id, row.address, row.registered),
            *published,
        )
        self.rows.pop(row.key, None)

    async def unchanged(self, row: ResourceRow, caller: Caller) -> None:
        """Notes that ``row`` was found as it should be; written with many others."""
        self._unchanged[row.order] = caller.task
        if row.location != caller.place:
            self._moved[row.order] = caller.place
        if row.carry is not None:  # the end of the run will ask who claimed it
            self.claimants.setdefault(row.key, set()).add(caller.task)
            self.rows[row.key] = structs.replace(row, claimed_run=self.run.number, task=caller.task)
        if len(self._unchanged) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Writes the unchanged ones that are waiting."""
        if not self._unchanged:
            return
        batch, self._unchanged = self._unchanged, {}
        moved, self._moved = self._moved, {}
        stack_id, number = self.stack.id, self.run.number

        def touch(store: Store) -> None:
            store.touch(stack_id, batch, run_number=number)
            store.relocate(stack_id, moved)

        await self.journal.do(touch)

    async def clear_carries(self, keys: Sequence[tuple[Address, bool]]) -> None:
        """Marks changes as followed through: they are not answered again."""
        if keys:
            stack_id = self.stack.id
            await self.journal.do(lambda store: store.clear_carry(stack_id, keys))
            for key in keys:
                self.rows[key] = structs.replace(self.rows[key], carry=None)

    async def command_started(self, command: CommandRecord) -> None:
        """Records a process group before it is let go."""
        command = structs.replace(command, argv=self.bus.mask.value(command.argv))
        await self.journal.do(lambda store: store.command_started(command))

    async def command_finished(self, command_id: str) -> None:
        """Records that a process group has ended."""
        await self.journal.do(lambda store: store.command_finished(command_id))

    def cause(self, address: Address, seen: State | None) -> str:
        """Tells a change of the workflow ("intentional") from one of the machine ("corrective")."""
        row = self.row(address)
        if row is None or row.last_applied is None:
            return "intentional"
        return "intentional" if self.seal.agrees(row.actual, seen) else "corrective"

    def ordinal(self, address: Address) -> int:
        """Returns how often ``address`` was operated on before in this run, and counts it."""
        number = self._ordinals.get(address, 0)
        self._ordinals[address] = number + 1
        return number

    def _keep(self, row: ResourceRow) -> None:
        self.rows[row.key] = row
        self._unchanged.pop(row.order, None)

    def _row(
        self,
        written: Written,
        previous: Mapping[str, Value] | None,
        *,
        state: ResourceState,
        carry: Carry | None,
        error: SlothError | None = None,
    ) -> ResourceRow:
        old = self.row(written.address)
        resource, moment = written.resource, now()
        desired = self.seal.state(resource.desired(), written.sensitive)
        provenance, origin = written.provenance(old, previous)
        done = state in ("applied", "orphaned")
        return ResourceRow(
            address=written.address,
            module=written.caller.module,
            registered=False,
            params=self.params(written.address, resource, written.sensitive),
            desired=desired,
            actual=self.seal.state(written.after, written.sensitive),
            checksum=values.checksum(desired),
            state=state,
            provenance=provenance,
            order=old.order if old else 0,
            origin=origin,
            carry=carry,
            error=self.bus.mask.value(str(error)) if error else None,
            task=written.caller.task,
            location=written.caller.place,
            protect=old.protect if old else False,
            claimed_run=self.run.number,
            run=self.run.number,
            created_at=old.created_at if old else moment,
            last_applied=moment if done else (old.last_applied if old else None),
        )

    def params(
        self, address: Address, resource: Resource, sensitive: frozenset[str] = frozenset()
    ) -> dict[str, Value]:
        """Returns the parameters of a row, with those of what its resource refines, if anything.

        Called in the transaction that writes the row, since large contents are kept as blobs.
        """
        sensitive |= resource.sensitive
        params = self.seal.params(resource, sensitive)
        base = self.bases.get(address)
        if base is not None and base != resource:
            params[BASE] = self.seal.params(base, sensitive)
        return params
