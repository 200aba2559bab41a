"""What the lines of a workflow say of paths: who has which part, and that no two disagree."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from msgspec import Struct, structs

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import ParamError
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


class _Spots(dict[Spot, dict[Address, Claim]]):
    """Claims by path, of each address the last."""

    def note(self, spot: Spot, address: Address, claim: Claim) -> None:
        self.setdefault(spot, {})[address] = claim

    def against(self, spot: Spot, claim: Claim) -> Iterator[Claim]:
        """Yields what is claimed there and counts beside ``claim``."""
        found = self.get(spot, {}).values()
        return (known for known in found if not known.retried(claim.caller))


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
        self._whole = _Spots()
        self._parts = _Spots()
        self._no_files = _Spots()
        self._kept: _Spots | None = None  # asked for once something is kept away
        self._away = _Spots()
        self._governors: dict[Address, Claim] = {}

    def there(self, address: Address, resource: Resource) -> Resource:
        """Returns ``resource`` at the place to which its own leads through links."""
        return _there(address, resource, self._place)

    def settled(self, address: Address, resource: Resource, caller: Caller) -> Resource:
        """Returns ``resource`` with what others decide for it: what holds it, what is within it."""
        for holder, claim in self._governors.items():
            near = _host(holder, claim.resource) == _host(address, resource)
            if near and holder != address and not claim.retried(caller):
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
        self._check_governed(address, claim)
        self._check_whole(address, claim)
        if self._no_files or claim.resource.stands_as is not None:
            self._check_kind(address, claim)
        self._check_kept(address, claim)
        self._note(address, claim)

    def beside(self, address: Address, claim: Claim) -> dict[Address, Claim]:
        """Returns who else has a part of the file in which ``claim`` has one."""
        parts = self._parts.get((_host(address, claim.resource), str(claim.there.place)), {})
        return {
            held: other
            for held, other in parts.items()
            if held != address and not other.retried(claim.caller)
        }

    def _note(self, address: Address, claim: Claim) -> None:
        resource, place, part = claim.resource, claim.there.place, claim.resource.part_of_file
        if resource.governing:
            self._governors[address] = claim
        if place is None:
            return
        if part is not None:
            spot = (_host(address, resource), place)
            (self._parts if part else self._whole).note(spot, address, claim)
        elif resource.stands_as is not None:
            self._no_files.note((_host(address, resource), place), address, claim)
        if not resource.absent:
            if self._kept is not None:
                for spot in _upwards(address, claim):
                    self._kept.note(spot, address, claim)
        elif not part:
            for spot in _spots(address, claim):
                self._away.note(spot, address, claim)

    def _check_governed(self, address: Address, claim: Claim) -> None:
        """Refuses what decides for others where one of them wants it otherwise."""
        if not claim.resource.governing:
            return
        host = _host(address, claim.resource)
        for held, known in self._claims.items():
            near = _host(held, known.resource) == host
            if near and held != address and not known.retried(claim.caller):
                wanted = claim.there.governs(known.there)
                _agree(held, known.resource, wanted, known.caller, claim.caller, claim.caller)

    def _check_whole(self, address: Address, claim: Claim) -> None:
        """Refuses what owns a content where another one owns it, or a part of it."""
        resource, path, part = claim.resource, claim.there.place, claim.resource.part_of_file
        if path is None or part is None:
            return
        spot = (_host(address, resource), path)
        if spot not in self._whole and spot not in self._parts:
            return
        whole = (c for c in self._whole.against(spot, claim) if c.resource.type != resource.type)
        other = next(whole if part else chain(self._parts.against(spot, claim), whole), None)
        if other is not None:
            raise claim.caller.contradiction(
                f"this {resource.type} and the {other.resource.type} declared at "
                f"{other.caller.place} both own the content of {resource.place}",
                hint="put the line or block into the content, or use file_ops.template"
                if part or other.resource.part_of_file
                else "keep one of them",
            )

    def _check_kind(self, address: Address, claim: Claim) -> None:
        """Refuses that one path is to be two things, such as a file and a directory."""
        resource, place = claim.resource, claim.there.place
        if place is None or resource.absent:
            return
        spot, others = (_host(address, resource), place), [self._no_files]
        if resource.stands_as is not None:
            others += [self._whole, self._parts]
        elif resource.part_of_file is None:
            return
        for other in (other for known in others for other in known.against(spot, claim)):
            if not other.resource.absent and _are_two_things(resource, other.resource):
                raise claim.caller.contradiction(
                    f"{place} is to be a {resource.stands_as or 'file'} here, and a "
                    f"{other.resource.stands_as or 'file'} at {other.caller.place}",
                    hint="keep one of them",
                )

    def _check_kept(self, address: Address, claim: Claim) -> None:
        """Refuses what is kept at or below a path that is kept away, whichever comes first."""
        resource, gone = claim.resource, claim.resource.absent
        if resource.place is None or (gone and resource.part_of_file):
            return
        if gone:
            self._kept = others = self._all_kept() if self._kept is None else self._kept
            spots: Iterable[Spot] = _spots(address, claim)
        elif self._away:
            others, spots = self._away, _upwards(address, claim)
        else:
            return
        for other in (other for spot in spots for other in others.against(spot, claim)):
            kept, away = (other, claim) if gone else (claim, other)
            raise claim.caller.contradiction(
                f"the {kept.resource.type} {kept.resource.place} is declared at "
                f"{kept.caller.place}, and {away.resource.place} is kept away at "
                f"{away.caller.place}",
                hint="they would undo each other in every run: keep one of them",
            )

    def _all_kept(self) -> _Spots:
        """Returns the claims of what is kept, by their paths and the folders above."""
        kept = _Spots()
        for address, claim in self._claims.items():
            if not claim.resource.absent:
                for spot in _upwards(address, claim):
                    kept.note(spot, address, claim)
        return kept


def _are_two_things(one: Resource, other: Resource) -> bool:
    """Whether one path is to be different things, and neither is what a link there leads to."""
    if one.stands_as == other.stands_as:
        return False
    linked = "link" in (one.stands_as, other.stands_as)
    return not (linked and any(getattr(each, "follow", False) for each in (one, other)))


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
            raise caller.contradiction(
                f"{address} has {name} {own} at {inner.place}, and {value} by what is declared "
                f"of all in its directory at {outer.place}",
                hint="they would undo each other in every run: give both the same value",
            )


def _check(resource: Resource, caller: Caller) -> None:
    """Asks a resource again what it refuses, now that its directory has decided for it."""
    try:
        resource.check()
    except ParamError as error:
        raise error.of_call(caller.function, caller.location) from None
