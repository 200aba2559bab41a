"""What would hinder a change that a preview plans, as far as that can be seen before it is made."""

import posixpath
from collections.abc import Sequence

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import HostError, Refused, SlothError, TaskError
from sloth_runner.core.host import Host, Request
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.resource import Checked
from sloth_runner.engine.overlay import Overlay
from sloth_runner.engine.preimages import Preimages
from sloth_runner.engine.work import Work, checked, looked_closer, shown_address

Newness = tuple[str, str, str | None]
"""What all that is new has in common where it meets the same conditions: the host, the directory,
and for which owner."""


class Hindrances:
    """Finds what hinders the changes of one preview. All its hosts can only be looked at."""

    def __init__(self, overlay: Overlay, preimages: Preimages) -> None:
        self._overlay = overlay
        self._preimages = preimages
        self._parents: dict[tuple[str, str], bool] = {}
        self._open: set[Newness] = set()

    async def now(self, work: Sequence[Work], looking: Host) -> list[tuple[Work, Exception | None]]:
        """Returns changes of what is as it is now, of one type, with what forbids each, or None."""
        checks = await checked(work, looking, None)
        places = await self._places([item for item, refused in checks if not refused], looking)
        return [(item, refused or places.get(item.address)) for item, refused in checks]

    async def later(self, work: Sequence[Work], looking: Host) -> dict[Address, Exception]:
        """Returns what forbids changes of what an earlier one may touch, and holds all the same."""
        harm = await self._harm(work, looking)
        kept = {item.address: error for item in work if (error := self._kept(item))}
        return kept | harm

    async def in_turn(self, item: Work, looking: Host) -> Checked:
        """Returns what forbids a change once those before it are planned, or keeps it from undo."""
        missing = await self._without_parent(item, looking)
        return missing or await self._preimages.hindrance(looking, item.resource, item.seen)

    async def _harm(self, work: Sequence[Work], looking: Host) -> dict[Address, Exception]:
        """Returns the refusals that hold although something else changes before."""
        asked = [
            item
            for item in work
            if item.resource.checks_ahead
            and not self._overlay.undercuts(item.address.host, item.resource)
        ]
        found = await looked_closer(asked, looking) if asked else ()
        return {
            item.address: answer
            for item, answer in zip(asked, found, strict=True)
            if isinstance(answer, Refused)
        }

    def _kept(self, item: Work) -> TaskError | None:
        """Returns the error of changing what an earlier change is to keep as it is."""
        keeper = self._overlay.keeper(item.address)
        if keeper is None or not item.resource.heeds or not item.resource.diff(item.seen):
            return None
        return TaskError(
            f"{shown_address(keeper)}, declared before it, lets nothing change it",
            hint=f"declare {shown_address(keeper)} after it",
        )

    async def _places(self, work: Sequence[Work], looking: Host) -> dict[Address, Exception]:
        """Returns why the changes that would not be written, for their place, would not be."""
        refused: dict[Address, Exception] = {}
        asked: list[tuple[Work, Request]] = []
        for item in work:
            rehearsal = item.resource.rehearsal(looking, item.change)
            try:
                requests = await answer_of(type(item.resource), rehearsal)
            except SlothError as error:
                refused[item.address] = error
            else:
                asked += [(item, r) for r in requests if _newness(item, r) not in self._open]
        if not asked:
            return refused
        host = looking.controller if work[0].resource.on_controller else looking
        answers = await host.perform([Request("rehearse", r._asdict()) for _, r in asked])
        for (item, request), answer in zip(asked, answers, strict=True):
            if isinstance(answer, Exception):
                refused.setdefault(item.address, answer)
            elif newness := _newness(item, request):
                self._open.add(newness)
        return refused

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


def _newness(item: Work, request: Request) -> Newness | None:
    """Returns where something new is to be written; None where what is there counts too."""
    given = request.arguments
    if item.change.kind != "create" or item.resource.part_of_file or given.get("follow"):
        return None
    host = LOCAL if item.resource.on_controller else item.address.host
    return host, posixpath.dirname(given["path"]), given.get("owner")
