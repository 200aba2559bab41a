"""The pipeline of a preview: observe, diff, predict. Nothing here can reach ``apply``."""

import time
from collections.abc import Sequence

from sloth_runner.core import values
from sloth_runner.core.address import Address
from sloth_runner.core.errors import Refused, SlothError
from sloth_runner.core.host import Host, ReadOnlyHost
from sloth_runner.core.resource import Resource
from sloth_runner.core.values import State
from sloth_runner.engine.context import Caller, Counts, Outcome, status_of
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.observations import Observations, Seen
from sloth_runner.engine.overlay import Overlay
from sloth_runner.engine.plan import Plan, Planned
from sloth_runner.engine.preimages import Preimages
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.seal import redacted_state
from sloth_runner.engine.work import Work, carried, checked, end_event, locate, owed, told


class Prediction:
    """Says what ``ensure`` would do, and lets later calls of the preview see it."""

    def __init__(
        self,
        *,
        plan: Plan,
        overlay: Overlay,
        machines: Machines,
        observations: Observations,
        recorder: Recorder,
        preimages: Preimages,
        counts: Counts,
    ) -> None:
        self._plan = plan
        self._overlay = overlay
        self._machines = machines
        self._observations = observations
        self._recorder = recorder
        self._preimages = preimages
        self._counts = counts

    async def ensure(
        self,
        wanted: Sequence[tuple[Address, Resource]],
        caller: Caller,
        tasks: frozenset[str] | None,
    ) -> list[Outcome]:
        """Predicts each of ``wanted`` (of one type); an outcome holds its error."""
        outcomes: dict[Address, Outcome] = {}
        certain: list[Work] = []
        following: list[tuple[Work, Address]] = []
        began = time.monotonic()
        for (address, resource), (seen, follows) in zip(
            wanted, await self._seen(wanted), strict=True
        ):
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
            elif item.change:
                certain.append(item)
            else:
                outcomes[address] = self._unchanged(item, tasks)
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
            follows = self._overlay.follows(address, resource.path)
            seen = next(found) if predicted is None else predicted.state
            answers.append((None if isinstance(seen, Exception) and follows else seen, follows))
        return answers

    async def _changes(
        self, host: str, certain: Sequence[Work], following: Sequence[tuple[Work, Address]]
    ) -> list[Outcome]:
        looking = ReadOnlyHost(self._machines.host(host))
        outcomes = []
        for item, refusal in await checked(certain, looking, None):
            if refusal is not None:
                outcomes.append(self._refused(item.address, refusal, item.caller))
            else:
                outcomes.append(await self._planned(item, looking, None))
        for item, follows in following:
            harm = await _harm(looking, item)
            if harm is not None:
                outcomes.append(self._refused(item.address, harm, item.caller))
            else:
                outcomes.append(await self._planned(item, looking, follows))
        return outcomes

    def _unchanged(self, item: Work, tasks: frozenset[str] | None) -> Outcome:
        shown = redacted_state(item.seen, item.sensitive)
        row = self._recorder.row(item.address)
        debt = owed(row, item.caller, run=self._recorder.run.id, tasks=tasks)
        if debt is not None:
            outcome, event = carried(item.address, debt, item.caller, shown, planned=True)
            self._plan.shown.append(event)
            self._counts.add("carried")
            return outcome
        self._counts.add("unchanged")
        return Outcome(
            address=item.address, status="unchanged", changed=False, before=shown, after=shown
        )

    async def _planned(self, item: Work, looking: Host, follows: Address | None) -> Outcome:
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
                undo=await self._preimages.hindrance(looking, item.resource, item.seen),
            )
        )
        self._counts.add(status_of(item.change))
        self._plan.add(
            Planned(
                address=item.address,
                kind=item.change.kind,
                desired=values.checksum(desired),
                seen=values.checksum(item.seen),
                follows=follows is not None,
            )
        )
        self._overlay.predict(item.address, item.resource, after)
        return item.outcome(after, changes, follows=follows)

    def _refused(self, address: Address, error: Exception, caller: Caller) -> Outcome:
        if not isinstance(error, SlothError):
            raise error
        shown = told(address, error)
        locate(error, shown, caller)
        self._counts.add("failed")
        self._plan.shown.append(end_event(shown, caller, "failed", planned=True, reason=error.said))
        return Outcome(address=address, status="failed", changed=False, error=error)


async def _harm(looking: Host, item: Work) -> Refused | None:
    """Returns the refusal of a change that holds although something else changes before it."""
    if item.resource.checks_ahead:
        [found] = await type(item.resource).preview_check_many(
            looking, [(item.resource, item.seen, item.change)]
        )
        if isinstance(found, Refused):
            return found
    return None
