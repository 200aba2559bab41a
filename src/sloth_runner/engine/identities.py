"""Lines that disagree of one thing, where only its machine tells, once it has been looked at."""

from collections.abc import Sequence

from sloth_runner.core.address import Address
from sloth_runner.core.errors import ConflictError, SlothError
from sloth_runner.core.host import Host, ReadOnlyHost
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.resource import Resource
from sloth_runner.engine.claims import Claims
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.observations import Seen
from sloth_runner.engine.work import Work


class Identities:
    """Compares the claims of a run with what its machines know of what was declared."""

    def __init__(self, claims: Claims, machines: Machines) -> None:
        self._claims = claims
        self._machines = machines

    async def agreed(
        self, wanted: Sequence[tuple[Address, Resource]], seen: list[Seen]
    ) -> list[Seen]:
        """Returns what was ``seen`` of things of one type, or what contradicts its declaration."""
        if not wanted or not wanted[0][1].has_aliases:
            return seen
        known = [
            (resource, state)
            for (_, resource), state in zip(wanted, seen, strict=True)
            if not isinstance(state, Exception)
        ]
        if not known:
            return seen
        cls, host = type(known[0][0]), ReadOnlyHost(self._machines.host(wanted[0][0].host))
        try:
            names = iter(await answer_of(cls, cls.known_as(host, known)))
        except SlothError as error:
            return [state if isinstance(state, Exception) else error for state in seen]
        return [
            state if isinstance(state, Exception) else self._conflict(address, next(names)) or state
            for (address, _), state in zip(wanted, seen, strict=True)
        ]

    async def undoing(self, item: Work, looking: Host) -> ConflictError | None:
        """Returns the error of a change that would undo what another line keeps in the file."""
        others = self._claims.beside(item.address) if item.resource.part_of_file else {}
        by_part = {other.resource: (held, other.caller) for held, other in others.items()}
        if not by_part:
            return None
        asked = item.resource.undoes(looking, item.change, [*by_part])
        undone = await answer_of(type(item.resource), asked)
        if undone is None:
            return None
        address, caller = by_part[undone]
        return item.caller.contradiction(
            f"{item.address} would undo {address}, declared at {caller.place}",
            hint="they would undo each other in every run: keep one of them, or narrow what it "
            "looks for",
        )

    def _conflict(self, address: Address, name: str) -> ConflictError | None:
        try:
            self._claims.recognise(address, name)
        except ConflictError as error:
            return error
        return None
