"""The pipeline of a preview: observe, diff, predict. Nothing here can reach ``apply``."""

import time
from collections.abc import Sequence

from msgspec import structs

from sloth_runner.core import values
from sloth_runner.core.address import Address
from sloth_runner.core.errors import SlothError
from sloth_runner.core.host import Host, ReadOnlyHost
from sloth_runner.core.record import Carry, ResourceRow, now
from sloth_runner.core.resource import Resource
from sloth_runner.core.values import State
from sloth_runner.engine.context import Caller, Counts, Outcome, status_of
from sloth_runner.engine.hindrances import Hindrances
from sloth_runner.engine.identities import Identities
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.observations import Observations, Seen
from sloth_runner.engine.overlay import Overlay
from sloth_runner.engine.plan import Plan, Planned
from sloth_runner.engine.preimages import Preimages
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.seal import change_data, redacted_state
from sloth_runner.engine.work import (
    Work,
    carried,
    end_event,
    locate,
    owed,
    told,
)
from sloth_runner.engine.written import same_wish


class Prediction:
    """Says what ``ensure`` would do, and lets later calls of the preview see it."""

    def __init__(
        self,
        *,
        plan: Plan,
        overlay: Overlay,
        machines: Machines,
        observations: Observations,
        identities: Identities,
        recorder: Recorder,
        preimages: Preimages,
        counts: Counts,
    ) -> None:
        self._plan = plan
        self._overlay = overlay
        self._machines = machines
        self._observations = observations
        self._identities = identities
        self._recorder = recorder
        self._hindrances = Hindrances(overlay, preimages)
        self._counts = counts
        self._made: dict[Address, Carry] = {}

    async def ensure(
        self,
        wanted: Sequence[tuple[Address, Resource]],
        caller: Caller,
        tasks: frozenset[str] | None,
    ) -> list[Outcome]:
        """Predicts each of ``wanted`` (of one type); an outcome holds its error."""
        outcomes: dict[Address, Outcome] = {}
        certain: list[Work] = []
        following: list[tuple[Work, Address | None]] = []
        began = time.monotonic()
        found = await self._seen(wanted)
        known = await self._identities.agreed(wanted, [seen for seen, _ in found])
        for (address, resource), seen, (_, follows) in zip(wanted, known, found, strict=True):
            if isinstance(seen, Exception):
                outcomes[address] = self._refused(address, seen, caller)
                continue
            item = Work(
                address=address,
                resource=resource,
                caller=caller,
                seen=seen,
                change=resource.diff(seen),
                began=began,
            )
            if follows is not None:
                following.append((item.as_if_touched(), follows))
            elif not item.change:
                outcomes[address] = self._unchanged(item, tasks)
            elif self._overlay.state(address) is not None:  # what is there says nothing of it now
                following.append((item, None))
            else:
                certain.append(item)
        if certain or following:
            for outcome in await self._changes(wanted[0][0].host, certain, following):
                outcomes[outcome.address] = outcome
        return [outcomes[address] for address, _ in wanted]

    async def _seen(
        self, wanted: Sequence[tuple[Address, Resource]]
    ) -> list[tuple[Seen, Address | None]]:
        """Returns what a call would see, and the predicted change that it may depend on."""
        asked = [(a, r) for a, r in wanted if self._overlay.state(a) is None]
        host = wanted[0][0].host
        found = iter(await self._observations.get(host, asked) if asked else ())
        answers: list[tuple[Seen, Address | None]] = []
        for address, resource in wanted:
            predicted = self._overlay.state(address)
            follows = self._follows(address, resource)
            seen = next(found) if predicted is None else predicted.state
            answers.append((None if isinstance(seen, Exception) and follows else seen, follows))
        return answers

    def _follows(self, address: Address, resource: Resource) -> Address | None:
        """Returns the last predicted change that may touch what is observed, or None."""
        if resource.sees_anything:
            return self._overlay.follows_anything(address)
        found = (self._overlay.follows(address, path) for path in resource.looked_at)
        return next((change for change in found if change is not None), None)

    async def _changes(
        self, host: str, certain: Sequence[Work], following: Sequence[tuple[Work, Address | None]]
    ) -> list[Outcome]:
        looking = ReadOnlyHost(self._machines.host(host))
        outcomes = []
        for item, refused in await self._hindrances.now(certain, looking):
            refused = refused or await self._identities.undoing(item, looking)
            outcomes.append(await self._change(item, looking, None, refused))
        forbidden = await self._hindrances.later([item for item, _ in following], looking)
        for item, follows in following:
            refused = forbidden.get(item.address)
            outcomes.append(await self._change(item, looking, follows, refused))
        return outcomes

    async def _change(
        self, item: Work, looking: Host, follows: Address | None, refused: Exception | None
    ) -> Outcome:
        """Plans a change, unless it is ``refused``, cannot be made or could not be kept."""
        undo = refused or await self._hindrances.in_turn(item, looking)
        if isinstance(undo, Exception):
            return self._refused(item.address, undo, item.caller)
        return await self._planned(item, looking, follows, undo)

    def _unchanged(self, item: Work, tasks: frozenset[str] | None) -> Outcome:
        shown = redacted_state(item.seen, item.sensitive)
        row = self._recorder.row(item.address)
        debt = owed(row, item.caller, run=self._recorder.run, tasks=tasks)
        if row is not None and not same_wish(row, item.resource):
            debt = None
        made = self._made.get(item.address)
        if made and made.task == item.caller.task and made.attempt != item.caller.attempt:
            debt = made  # an earlier attempt made it, and what should have followed has not
        if debt is not None:
            outcome, event = carried(item.address, debt, item.caller, shown, planned=True)
            self._plan.shown.append(event)
            self._counts.add("carried")
            return outcome
        self._counts.add("unchanged")
        return Outcome(
            address=item.address, status="unchanged", changed=False, before=shown, after=shown
        )

    async def _planned(
        self, item: Work, looking: Host, follows: Address | None, undo: str | None
    ) -> Outcome:
        desired = item.resource.desired()
        after: State | None = None if desired is None else {**(item.seen or {}), **desired}
        changes = await item.shown(looking)
        self._plan.shown.append(
            item.end(
                status_of(item.change),
                changes=changes,
                cause=self._recorder.cause(item.address, item.seen),
                planned=True,
                follows=str(follows) if follows else None,
                undo=undo,
            )
        )
        self._counts.add(status_of(item.change))
        self._made[item.address] = Carry(
            task=item.caller.task,
            run=self._recorder.run.id,
            attempt=item.caller.attempt,
            status=status_of(item.change),
            diff=change_data(changes),
        )
        self._plan.add(
            Planned(
                address=item.address,
                kind=item.change.kind,
                desired=values.checksum(desired),
                seen=values.checksum(item.seen),
                follows=follows is not None,
            )
        )
        self._overlay.predict(item.address, item.resource, after, made=item.change.kind == "create")
        self._recorder.suppose(self._foreseen(item, desired, after))
        outcome = item.outcome(after, changes, follows=follows)
        return structs.replace(outcome, partial=item.seen is None and after is not None)

    def _foreseen(self, item: Work, desired: State | None, after: State | None) -> ResourceRow:
        """Returns the row that the run would write, as far as the workflow may ask for it.

        Parameters are left out: to keep them may take a blob or the key, and a preview writes none.
        """
        known, moment = self._recorder.row(item.address), now()
        return ResourceRow(
            address=item.address,
            module=item.caller.module,
            registered=False,
            params={},
            desired=redacted_state(desired, item.sensitive),
            actual=redacted_state(after, item.sensitive),
            checksum=values.checksum(desired),
            state="applied",
            provenance=known.provenance if known else "created",
            order=known.order if known else 0,
            carry=known.carry if known else None,
            task=item.caller.task,
            location=item.caller.place,
            claimed_run=known.claimed_run if known else self._recorder.run.number,
            run=self._recorder.run.number,
            created_at=known.created_at if known else moment,
            last_applied=moment,
        )

    def _refused(self, address: Address, error: Exception, caller: Caller) -> Outcome:
        if not isinstance(error, SlothError):
            raise error
        shown = told(address, error)
        locate(error, shown, caller)
        self._counts.add("failed")
        self._plan.shown.append(end_event(shown, caller, "failed", planned=True, reason=error.said))
        return Outcome(address=address, status="failed", changed=False, error=error)
