"""The pipeline of a preview: observe, diff, predict. Nothing here can reach ``apply``."""

import posixpath
import time
from collections.abc import Sequence

from msgspec import structs

from sloth_runner.core import values
from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import HostError, Refused, SlothError, TaskError
from sloth_runner.core.host import Host, ReadOnlyHost, Request
from sloth_runner.core.record import Carry, ResourceRow, now
from sloth_runner.core.resource import Resource
from sloth_runner.core.values import State
from sloth_runner.engine.context import Caller, Counts, Outcome, status_of
from sloth_runner.engine.identities import Identities
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.observations import Observations, Seen
from sloth_runner.engine.overlay import Overlay
from sloth_runner.engine.plan import Plan, Planned
from sloth_runner.engine.preimages import Preimages
from sloth_runner.engine.recorder import Recorder, same_wish
from sloth_runner.engine.seal import change_data, redacted_state
from sloth_runner.engine.work import (
    Work,
    carried,
    checked,
    end_event,
    locate,
    owed,
    shown_address,
    told,
)

Spot = tuple[str, str, str | None]
"""Where all that is new meets the same conditions: the host, the directory, for which owner."""


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
        self._preimages = preimages
        self._counts = counts
        self._parents: dict[tuple[str, str], bool] = {}
        self._open: set[Spot] = set()
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
        known = await self._identities.agreed(wanted, [seen for seen, _ in found], caller)
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
        checks = await checked(certain, looking, None)
        hindered = await self._hindered(looking, [item for item, refused in checks if not refused])
        for item, refused in checks:
            refused = refused or hindered.get(item.address)
            refused = refused or await self._identities.undoing(item, looking)
            outcomes.append(await self._change(item, looking, None, refused))
        harm = await self._harm(looking, [item for item, _ in following])
        for item, follows in following:
            refused = harm.get(item.address) or self._kept(item)
            outcomes.append(await self._change(item, looking, follows, refused))
        return outcomes

    async def _change(
        self, item: Work, looking: Host, follows: Address | None, refused: Exception | None
    ) -> Outcome:
        """Plans a change, unless it is ``refused``, cannot be made or could not be kept."""
        refused = refused or await self._without_parent(item, looking)
        undo = refused or await self._preimages.hindrance(looking, item.resource, item.seen)
        if isinstance(undo, Exception):
            return self._refused(item.address, undo, item.caller)
        return await self._planned(item, looking, follows, undo)

    async def _harm(self, looking: Host, work: Sequence[Work]) -> dict[Address, Refused]:
        """Returns the refusals that hold although something else changes before."""
        asked = [
            item
            for item in work
            if item.resource.checks_ahead
            and not self._overlay.undercuts(item.address.host, item.resource)
        ]
        if not asked:
            return {}
        found = await type(asked[0].resource).preview_check_many(
            looking, [(item.resource, item.seen, item.change) for item in asked]
        )
        return {
            item.address: answer
            for item, answer in zip(asked, found, strict=True)
            if isinstance(answer, Refused)
        }

    async def _hindered(self, looking: Host, work: Sequence[Work]) -> dict[Address, Exception]:
        """Returns why the changes that would not be written, for their place, would not be."""
        refused: dict[Address, Exception] = {}
        asked: list[tuple[Work, Request]] = []
        for item in work:
            try:
                requests = await item.resource.rehearsal(looking, item.change)
            except SlothError as error:
                refused[item.address] = error
            else:
                asked += [(item, request) for request in requests]
        asked = [
            (item, request) for item, request in asked if _spot(item, request) not in self._open
        ]
        if asked:
            host = looking.controller if work[0].resource.on_controller else looking
            answers = await host.perform([Request("rehearse", r._asdict()) for _, r in asked])
            for (item, request), answer in zip(asked, answers, strict=True):
                if isinstance(answer, Exception):
                    refused.setdefault(item.address, answer)
                elif spot := _spot(item, request):
                    self._open.add(spot)
        return refused

    def _kept(self, item: Work) -> TaskError | None:
        """Returns the error of changing what an earlier change is to keep as it is."""
        keeper = self._overlay.keeper(item.address)
        if keeper is None or not item.resource.heeds or not item.resource.diff(item.seen):
            return None
        return TaskError(
            f"{shown_address(keeper)}, declared before it, lets nothing change it",
            hint=f"declare {shown_address(keeper)} after it",
        )

    async def _without_parent(self, item: Work, looking: Host) -> HostError | None:
        """Returns the error of what cannot be made because its directory will not be there."""
        path = item.resource.place
        if path is None or not item.resource.needs_parent or item.change.kind != "create":
            return None
        host, parent = item.address.host, posixpath.dirname(path)
        if item.resource.on_controller:
            host, looking = LOCAL, looking.controller
        there = self._overlay.is_folder(host, parent)
        if there is None:
            if (host, parent) not in self._parents:
                stat = await looking.stat(parent, follow=True)
                self._parents[(host, parent)] = stat is not None and stat.kind == "directory"
            there = self._parents[(host, parent)]
        if there:
            return None
        return HostError(f"there is no directory {parent}", hint="file_ops.directory makes one")

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


def _spot(item: Work, request: Request) -> Spot | None:
    """Returns where something new is to be written; None where what is there counts too."""
    if (
        item.change.kind != "create"
        or item.resource.part_of_file
        or request.arguments.get("follow")
    ):
        return None
    host = LOCAL if item.resource.on_controller else item.address.host
    return host, posixpath.dirname(request.arguments["path"]), request.arguments.get("owner")
