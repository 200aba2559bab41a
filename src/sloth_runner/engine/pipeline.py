"""The heart: the only caller of observe, apply and destroy, for every command alike.

    observe -> diff -> [unchanged: note it, done] -> record intent with pre-image (durable)
      -> apply -> observe again -> record result and event in one transaction -> publish

A preview ends at the diff (``engine.prediction``).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import Cancelled, SlothError
from sloth_runner.core.events import ChangeItem, ResourceStart, ResourceUnchanged
from sloth_runner.core.host import ReadOnlyHost
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.record import Carry, Operation, ResourceRow
from sloth_runner.core.resource import Origin, Resource, Touches
from sloth_runner.core.values import State
from sloth_runner.engine.claims import Claims
from sloth_runner.engine.commands import Commands
from sloth_runner.engine.context import Caller, Counts, Outcome, status_of
from sloth_runner.engine.identities import Identities
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.masking import Mask, secrets_of
from sloth_runner.engine.observations import Observations, Seen
from sloth_runner.engine.overlay import Overlay
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.prediction import Prediction
from sloth_runner.engine.preimages import Preimages
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.seal import change_data, redacted_state
from sloth_runner.engine.stopping import Ends, Stop
from sloth_runner.engine.work import (
    Work,
    carried,
    checked,
    end_event,
    left_as,
    locate,
    owed,
    shown_address,
    told,
    without_host,
)
from sloth_runner.engine.written import Written

Beside = Callable[[str, Touches], contextlib.AbstractAsyncContextManager[None]]
"""Holds while something is changed of a host, and hears what that may touch."""


class Begun(Struct, frozen=True, kw_only=True):
    """A change whose intent is durable."""

    item: Work
    written: Written
    operation: Operation
    changes: tuple[ChangeItem, ...]


class Pipeline:
    """Makes resources match, or says what that would take (``preview``).

    ``tasks`` are the names of all tasks, once the body of the workflow has run.
    """

    def __init__(
        self,
        *,
        machines: Machines,
        observations: Observations,
        claims: Claims,
        recorder: Recorder,
        preimages: Preimages,
        commands: Commands,
        counts: Counts,
        stop: Stop,
        preview: Plan | None = None,
        binding: Plan | None = None,
    ) -> None:
        self.machines = machines
        self.observations = observations
        self.recorder = recorder
        self.commands = commands
        self.counts = counts
        self.stop = stop
        self.preview = preview
        self.binding = binding
        self.overlay = Overlay(observations.names, claims.thing)
        self.tasks: frozenset[str] | None = None
        self.beside: Beside = lambda host, touches: contextlib.nullcontext()
        self._identities = Identities(claims, machines)
        self._preimages = preimages
        self._prediction = (
            None
            if preview is None
            else Prediction(
                plan=preview,
                overlay=self.overlay,
                machines=machines,
                observations=observations,
                identities=self._identities,
                recorder=recorder,
                preimages=preimages,
                counts=counts,
            )
        )

    async def ensure(
        self, host: str, resources: Sequence[Resource], caller: Caller
    ) -> list[Outcome]:
        """Makes ``resources`` (of one type) match; an outcome holds its error, none is raised."""
        wanted = [self._as_begun(Address(host, r.type, r.name), r) for r in resources]
        if self._prediction is not None:
            return await self._prediction.ensure(wanted, caller, self.tasks)
        began = time.monotonic()
        outcomes: dict[Address, Outcome] = {}
        todo: list[tuple[Address, Resource]] = []
        found = await self.observations.get(host, wanted)
        found = await self._identities.agreed(wanted, found)
        for (address, resource), seen in zip(wanted, found, strict=True):
            if isinstance(seen, Exception):
                outcomes[address] = await self._refused(address, caller, seen)
            elif resource.diff(seen):
                todo.append((address, resource))
            else:
                outcomes[address] = await self._unchanged(address, resource, seen, caller)
        if todo:
            for outcome in await self._converge(host, todo, caller, began):
                outcomes[outcome.address] = outcome
        return [outcomes[address] for address, _ in wanted]

    def _as_begun(self, address: Address, resource: Resource) -> tuple[Address, Resource]:
        """Returns ``resource`` with what is left of making it, where a run broke that off."""
        row = self.recorder.row(address)
        begun = row is not None and row.last_applied is None and row.provenance == "created"
        return address, resource.unfinished() if begun else resource

    async def _converge(
        self, host: str, todo: Sequence[tuple[Address, Resource]], caller: Caller, began: float
    ) -> list[Outcome]:
        """Changes what still differs when it is looked at again, with nothing else acting on it.

        Until the change itself begins, a stop or a deadline may end this at any point.
        """
        outcomes: list[Outcome] = []
        work: list[Work] = []
        async with contextlib.AsyncExitStack() as held:
            for name in sorted({resource.exclusive for _, resource in todo}):
                await held.enter_async_context(self.machines.lock(host, name))
            for (address, resource), seen in zip(
                todo, await self.observations.fresh(host, todo, since=began), strict=True
            ):
                if isinstance(seen, Exception):
                    outcomes.append(await self._refused(address, caller, seen))
                elif change := resource.diff(seen):
                    work.append(
                        Work(
                            address=address,
                            resource=resource,
                            caller=caller,
                            seen=seen,
                            change=change,
                            began=began,
                            disturbed=self.observations.disturbed(host, resource),
                        )
                    )
                else:
                    outcomes.append(await self._unchanged(address, resource, seen, caller))
            if not work:
                return outcomes
            ends: Ends = "never" if any(i.resource.uninterrupted for i in work) else "by deadline"
            return outcomes + await self.stop.protect(self._change(host, work), ends)

    async def _change(self, host: str, work: Sequence[Work]) -> list[Outcome]:
        """Carries out a batch of changes of one type, each with intent and result."""
        outcomes: list[Outcome] = []
        ready: list[tuple[Work, Written, tuple[ChangeItem, ...]]] = []
        looking = ReadOnlyHost(self.machines.host(host))
        for item, refusal in await checked(work, looking, self.binding):
            try:
                refusal = refusal or await self._identities.undoing(item, looking)
                if refusal is not None:
                    raise refusal
                origin = await self._preimages.take(looking, item.resource, item.seen)
            except SlothError as error:
                outcomes.append(await self._refused(item.address, item.caller, error))
            else:
                ready.append((item, _written(item, origin), await item.shown(looking)))
        async with self.beside(*_touched(host, work)):
            # From here on nothing is awaited but the journal, until all that is begun is known.
            begun = [await self._begin(*one) for one in ready]
            return outcomes + (await self._apply(host, begun) if begun else [])

    async def _begin(self, item: Work, written: Written, changes: tuple[ChangeItem, ...]) -> Begun:
        start = ResourceStart(
            msg=f"{item.change.kind} {item.address}",
            host=item.address.host,
            task=item.caller.task,
            res=without_host(item.address),
            loc=item.caller.place,
            action=item.change.kind,
        )
        operation = await self.recorder.intend(written, item.change.kind, changes, start)
        return Begun(item=item, written=written, operation=operation, changes=changes)

    async def _apply(self, host: str, begun: Sequence[Begun]) -> list[Outcome]:
        """Applies one batch, looks again, and records what is seen, whatever happened."""
        errors: Sequence[Exception | None]
        interrupted: BaseException | None = None
        self._invalidate(host, begun)
        acting = self.commands.acting(
            self.machines.host(host), begun[0].operation, begun[0].item.caller
        )
        cls = type(begun[0].item.resource)
        try:
            await asyncio.sleep(0)  # a deadline that has passed by now is felt before it begins
            work = [(b.item.resource, b.item.change) for b in begun]
            errors = await answer_of(cls, cls.apply_many(acting, work))
        except SlothError as error:
            errors = [error] * len(begun)
        except BaseException as stop:  # stopped half way: what was reached is recorded first
            interrupted = stop
            errors = [Cancelled("stopped while it was being applied")] * len(begun)
        finally:
            self._invalidate(host, begun)
        wanted = [(b.item.address, b.item.resource) for b in begun]
        after = await self.observations.fresh(host, wanted)
        outcomes = [
            await self._settle(b, seen, error)
            for b, seen, error in zip(begun, after, errors, strict=True)
        ]
        if interrupted is not None:
            raise interrupted
        return outcomes

    async def _settle(self, begun: Begun, seen: Seen, error: Exception | None) -> Outcome:
        """Records what came of one change, by what is seen now."""
        item, changes = begun.item, begun.changes
        after = None if isinstance(seen, Exception) else seen
        failure = error if isinstance(error, SlothError) else None
        if failure is None:
            failure = seen if isinstance(seen, SlothError) else item.left_over(after)
        if failure is not None:
            Mask(secrets_of(item.resource, item.sensitive)).error(failure)
            locate(failure, item.address, item.caller)
            if not failure.effects and not isinstance(seen, Exception):
                failure.effects = left_as(item, after)
        status = "failed" if failure else status_of(item.change)
        await self.recorder.settle(
            structs.replace(
                begun.written,
                after=after,
                sensitive=item.sensitive | item.resource.sensitive_beside(after),
            ),
            begun.operation,
            state="failed" if failure else item.caller.leaves,
            carry=self._carry(begun, seen, failed=failure is not None),
            end=item.end(
                status,
                changes=changes,
                cause=self.recorder.cause(item.address, item.seen),
                reason=failure.said if failure else None,
            ),
            error=failure,
        )
        self.counts.add(status)
        return item.outcome(after, changes, error=failure)

    def _carry(self, begun: Begun, seen: Seen, *, failed: bool) -> Carry | None:
        """Returns what is owed from now on. Of a change that failed half way nobody was told."""
        item = begun.item
        if item.caller.leaves == "orphaned":
            return None
        if failed and seen == item.seen:
            old = self.recorder.row(item.address)
            return old.carry if old else None
        return Carry(
            task=item.caller.task,
            run=self.recorder.run.id,
            attempt=0 if failed else item.caller.attempt,
            status=status_of(item.change),
            diff=change_data(begun.changes),
        )

    async def _unchanged(
        self, address: Address, resource: Resource, seen: State | None, caller: Caller
    ) -> Outcome:
        """Notes a resource that is as it should be, and answers a change that is still owed."""
        known = row = self.recorder.row(address)
        sensitive = resource.sensitive_beside(seen)
        shown = redacted_state(seen, sensitive)
        if row is not None and self._current(row, resource, seen, sensitive):
            await self.recorder.unchanged(row, caller)
        else:
            row = await self.recorder.adopt(
                Written(
                    address=address,
                    resource=resource,
                    caller=caller,
                    before=seen,
                    after=seen,
                    sensitive=sensitive,
                    origin=Origin(actual=seen),
                )
            )
        debt = owed(known, caller, run=self.recorder.run, tasks=self.tasks)
        if debt is not None and row.carry is not None:
            outcome, event = carried(address, debt, caller, shown, planned=False)
            self.counts.add("carried")
            await self.recorder.emit(event)
            return outcome
        self.counts.add("unchanged")
        self.recorder.bus.publish(
            ResourceUnchanged(
                host=address.host, task=caller.task, res=without_host(address), loc=caller.place
            )
        )
        return Outcome(
            address=address, status="unchanged", changed=False, before=shown, after=shown
        )

    async def _refused(self, address: Address, caller: Caller, error: Exception) -> Outcome:
        """Reports a resource that could not be looked at, or must not be changed."""
        if not isinstance(error, SlothError):
            raise error
        shown = told(address, error)
        locate(error, shown, caller)
        error.effects = error.effects or (f"{shown_address(shown)} is as it was",)
        self.counts.add("failed")
        await self.recorder.emit(end_event(shown, caller, "failed", reason=error.said))
        row = self.recorder.row(address)
        if row is not None:
            await self.recorder.put(structs.replace(row, state="failed", error=str(error)))
        return Outcome(address=address, status="failed", changed=False, error=error)

    def _invalidate(self, host: str, begun: Sequence[Begun]) -> None:
        for work in begun:
            self.observations.invalidate(host, work.item.resource.touches)

    def _current(
        self, row: ResourceRow, resource: Resource, seen: State | None, sensitive: frozenset[str]
    ) -> bool:
        """Whether ``row`` already says everything that would be written of ``resource``."""
        return (
            row.state == "applied"
            and not row.drift
            and self.observations.recorded(row.address) == resource
            and row.actual == self.recorder.seal.state(seen, sensitive)
        )


def _touched(host: str, work: Sequence[Work]) -> tuple[str, Touches]:
    """Returns on which machine a batch, of one type, may touch what."""
    touches = [item.resource.touches for item in work]
    paths = [path for touch in touches for path in touch.paths or ()]
    where = LOCAL if work[0].resource.on_controller else host
    return where, Touches() if any(t.paths is None for t in touches) else Touches(tuple(paths))


def _written(item: Work, origin: Origin) -> Written:
    return Written(
        address=item.address,
        resource=item.resource,
        caller=item.caller,
        before=item.seen,
        after=item.seen,
        sensitive=item.sensitive,
        origin=origin,
    )
