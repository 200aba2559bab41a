"""What the lines of a workflow say of paths: who has which part, and that no two disagree."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, structs

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import ConflictError, ParamError
from sloth_runner.core.paths import is_below, upwards
from sloth_runner.core.resource import Resource
from sloth_runner.engine.context import Caller


class Claim(Struct, frozen=True):
    """A declaration of this run: what stands there, what it became, and who declared it first."""

    declared: Resource
    resource: Resource
    caller: Caller
    there: Resource
    """``resource`` at the place to which its own leads through links."""

    def retried(self, caller: Caller) -> bool:
        """Whether it was made by an earlier attempt of the same task."""
        return self.caller.task == caller.task and self.caller.attempt != caller.attempt


Spot = tuple[str, str]
"""A path on a machine, which is named first."""
PlaceOf = Callable[[str, Resource], str | None]
"""Tells where the place of a resource, declared for a host, is when links are followed."""


class Places:
    """The declarations of one run by the paths of what they keep.

    ``claims`` are those, by address; ``recorded`` is what the record has and nobody dropped.
    """

    def __init__(
        self,
        claims: Mapping[Address, Claim],
        recorded: Mapping[Address, Resource],
        place: PlaceOf,
    ) -> None:
        self._claims = claims
        self._recorded = recorded
        self._place = place
        self._whole: dict[Spot, dict[Address, Claim]] = {}
        self._parts: dict[Spot, dict[Address, Claim]] = {}
        self._kept: dict[Spot, Claim] | None = None  # asked for once something is kept away
        self._away: dict[Spot, Claim] = {}
        self._governors: dict[Address, Claim] = {}

    def there(self, address: Address, resource: Resource) -> Resource:
        """Returns ``resource`` at the place to which its own leads through links."""
        return _there(address, resource, self._place)

    def settled(self, address: Address, resource: Resource, caller: Caller) -> Resource:
        """Returns ``resource`` with what others decide for it: what holds it, what is within it."""
        for holder, claim in self._governors.items():
            if holder != address and _host(holder, claim.resource) == _host(address, resource):
                wanted = claim.there.governs(self.there(address, resource))
                _agree(address, resource, wanted, caller, claim.caller, caller)
                lent = {name: v for name, v in wanted.items() if getattr(resource, name) is None}
                if lent:
                    resource = structs.replace(resource, **lent)
                    _check(resource, caller)
        if not resource.spreads:
            return resource
        declared = {held: claim.resource for held, claim in self._claims.items()}
        return among(address, resource, {**self._recorded, **declared}, self._place)

    def take(self, address: Address, claim: Claim) -> None:
        """Notes a claim; raises ConflictError where another one of its path contradicts it."""
        self._govern(address, claim)
        self._check_whole(address, claim)
        self._check_kept(address, claim)

    def _govern(self, address: Address, claim: Claim) -> None:
        """Refuses what decides for others where one of them wants it otherwise."""
        if not claim.resource.governing:
            return
        host = _host(address, claim.resource)
        for held, known in self._claims.items():
            if held != address and _host(held, known.resource) == host:
                wanted = claim.there.governs(known.there)
                _agree(held, known.resource, wanted, known.caller, claim.caller, claim.caller)
        self._governors[address] = claim

    def _check_whole(self, address: Address, claim: Claim) -> None:
        path, part = claim.there.place, claim.resource.part_of_file
        if path is None or part is None:
            return
        place = (_host(address, claim.resource), path)
        mine, others = (self._parts, self._whole) if part else (self._whole, self._parts)
        same = mine.setdefault(place, {})
        against = [*others.get(place, {}).values()]
        if not part:
            against += [c for c in same.values() if c.resource.type != claim.resource.type]
        for other in against:
            if other.retried(claim.caller):
                continue
            raise ConflictError(
                f"this {claim.resource.type} and the {other.resource.type} declared at "
                f"{other.caller.place} both own the content of {claim.resource.place}",
                location=claim.caller.location,
                hint="put the line or block into the content, or use file_ops.template"
                if part or other.resource.part_of_file
                else "keep one of them",
                effects=("this declaration was not applied",),
            )
        same[address] = claim

    def beside(self, address: Address, claim: Claim) -> dict[Address, Claim]:
        """Returns who else has a part of the file in which ``claim`` has one."""
        parts = self._parts.get((_host(address, claim.resource), str(claim.there.place)), {})
        return {
            held: other
            for held, other in parts.items()
            if held != address and not other.retried(claim.caller)
        }

    def _check_kept(self, address: Address, claim: Claim) -> None:
        """Refuses what is kept at or below a path that is kept away, whichever comes first."""
        resource, gone = claim.resource, claim.resource.absent
        if resource.place is None or (gone and resource.part_of_file):
            return
        if gone:
            self._kept = self._all_kept() if self._kept is None else self._kept
            mine, others, spots = self._away, self._kept, [*_spots(address, claim)]
        elif self._kept is None:
            return
        else:
            mine, others, spots = self._kept, self._away, [*_upwards(address, claim)]
        for other in map(others.get, spots):
            if other is not None and not other.retried(claim.caller):
                kept, away = (other, claim) if gone else (claim, other)
                raise ConflictError(
                    f"the {kept.resource.type} {kept.resource.place} is declared at "
                    f"{kept.caller.place}, and {away.resource.place} is kept away at "
                    f"{away.caller.place}",
                    location=claim.caller.location,
                    hint="they would undo each other in every run: keep one of them",
                    effects=("this declaration was not applied",),
                )
        mine |= dict.fromkeys(spots, claim)

    def _all_kept(self) -> dict[Spot, Claim]:
        """Returns the claims of what is kept, by their paths and the folders above."""
        return {
            spot: claim
            for address, claim in self._claims.items()
            if claim.resource.place is not None and not claim.resource.absent
            for spot in _upwards(address, claim)
        }


def _spots(address: Address, claim: Claim) -> set[Spot]:
    """Returns the path of what is declared, as it is written and where it leads."""
    host = _host(address, claim.resource)
    return {(host, r.place) for r in (claim.resource, claim.there) if r.place is not None}


def _upwards(address: Address, claim: Claim) -> Iterator[Spot]:
    """Yields the paths of what is declared, and every folder above."""
    return ((host, above) for host, path in _spots(address, claim) for above in upwards(path))


def among(
    address: Address, resource: Resource, others: Mapping[Address, Resource], place: PlaceOf
) -> Resource:
    """Returns ``resource``, which spreads over its place, with what is left to ``others``."""
    host, there = _host(address, resource), _there(address, resource, place)
    near = [
        _from(resource, there, _there(held, other, place))
        for held, other in sorted(others.items())
        if held != address and _host(held, other) == host
    ]
    return resource.among(near)


def _there(address: Address, resource: Resource, place: PlaceOf) -> Resource:
    found = place(address.host, resource)
    return resource if found in (None, resource.place) else resource.moved(str(found))


def _from(resource: Resource, there: Resource, other: Resource) -> Resource:
    """Returns what is in the place of ``resource``, which is ``there``, by its name from there."""
    place, beside = str(there.place), other.place or ""
    if there is resource or not (beside == place or is_below(beside, place)):
        return other
    return other.moved(str(resource.place) + beside.removeprefix(place))


def _host(address: Address, resource: Resource) -> str:
    """Returns the machine that the place of a resource is on."""
    return LOCAL if resource.on_controller else address.host


def _agree(
    address: Address,
    resource: Resource,
    wanted: Mapping[str, str],
    inner: Caller,
    outer: Caller,
    caller: Caller,
) -> None:
    """Raises ConflictError where ``resource`` wants another value than what holds it."""
    for name, value in wanted.items():
        own = getattr(resource, name)
        # A name and a number may be the same account: only the host knows.
        if own not in (None, value) and own.isdigit() == value.isdigit():
            raise ConflictError(
                f"{address} has {name} {own} at {inner.place}, and {value} by what is declared "
                f"of all in its directory at {outer.place}",
                location=caller.location,
                hint="they would undo each other in every run: give both the same value",
                effects=("this declaration was not applied",),
            )


def _check(resource: Resource, caller: Caller) -> None:
    """Asks a resource again what it refuses, now that its directory has decided for it."""
    try:
        resource.check()
    except ParamError as error:
        raise error.of_call(caller.function, caller.location) from None
