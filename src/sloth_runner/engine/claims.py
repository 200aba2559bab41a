"""Which line of the workflow speaks for which thing, and that no two disagree."""

from collections.abc import Callable, Mapping

from msgspec import structs

from sloth_runner.core import schema
from sloth_runner.core.address import Address
from sloth_runner.core.resource import Resource
from sloth_runner.engine.context import Caller
from sloth_runner.engine.places import Claim, PlaceOf, Places


class Claims:
    """The declarations of one run. ``seen`` addresses are not orphans.

    A declaration that refined another one (``user.modify`` after ``user.create``) is known
    from the record: ``refined`` maps its address to (base, merged). The base alone is then
    taken as the merged one, so that the two do not undo each other in every run; in
    ``awaiting`` is what this run has declared of such an address so far. ``_parts`` has all
    that was declared of an address that was declared in several ways.
    """

    def __init__(
        self,
        refined: Mapping[Address, tuple[Resource, Resource]],
        recorded: Mapping[Address, Resource],
        place: PlaceOf,
    ) -> None:
        self._refined = refined
        self.bases: dict[Address, Resource] = {}
        self.awaiting: dict[Address, Resource] = {}
        self._claims: dict[Address, Claim] = {}
        self._parts: dict[Address, list[Resource]] = {}
        self._places = Places(self._claims, recorded, place)
        self._takers: dict[tuple[str, str, str], Address] = {}
        self._things: dict[Address, Address] = {}
        self._aliases: dict[Address, set[Address]] = {}
        self.seen: set[tuple[Address, bool]] = set()

    def assume_recorded(self) -> None:
        """Takes what rows refine for declared, so that what is written of them keeps it."""
        self.bases.update({address: base for address, (base, _) in self._refined.items()})

    def claim(self, host: str, resource: Resource, caller: Caller) -> Resource:
        """Notes that ``caller`` declares ``resource`` and returns what is to be ensured.

        Raises ConflictError, naming both lines, when another line wants it otherwise, says of
        its path what contradicts it (``engine.places``), or takes what only one can have.
        """
        address = Address(host, resource.type, resource.name)
        claim = self._claims.get(address)
        if claim is not None and claim.retried(caller):
            claim = None
            self._parts.pop(address, None)
        declared = resource
        again = claim is not None and claim.declared == declared
        if claim is not None and again and not resource.spreads:
            resource = claim.resource
        else:
            resource = self._places.settled(address, resource, caller)
        base, merged = self._refined.get(address, (None, None))
        if claim is None and merged is not None and resource == base:
            self.bases[address] = self.awaiting[address] = resource
            resource = merged
        elif claim is not None and resource == self.bases.get(address):
            resource = claim.resource
        elif claim is not None and not again and claim.resource != resource:
            refined = self._refine(address, resource, claim)
            if refined is None and _wants_the_same(claim.resource, resource):
                refined = claim.resource
            if refined is None:
                raise caller.contradiction(
                    f"{address} is declared differently at {claim.caller.place}",
                    hint="give both the same properties, or keep one of them",
                )
            self.bases.setdefault(address, claim.resource)
            resource = refined
        claim = Claim(declared, resource, caller, self._places.there(address, resource))
        self._check_taken(address, claim)
        self._places.take(address, claim)
        if not resource.has_aliases and (claim.there is not resource or self._aliases):
            thing = address._replace(name=claim.there.name)
            self._check_alias(address, claim, thing, lambda known: known.there)
        self._claims[address] = claim
        if resource.takes is not None:
            self._takers[(host, resource.type, resource.takes)] = address
        self.seen.add((address, False))
        return resource

    def beside(self, address: Address) -> Mapping[Address, Claim]:
        """Returns who else has a part of the file in which the one at ``address`` has one."""
        claim = self._claims.get(address)
        return {} if claim is None else self._places.beside(address, claim)

    def recognise(self, address: Address, name: str) -> None:
        """Notes that what is declared at ``address`` is known to its host as ``name``.

        Raises ConflictError where the same thing is declared otherwise under another name.
        """
        claim = self._claims.get(address)
        if claim is not None:
            thing = address._replace(name=name)
            self._check_alias(address, claim, thing, lambda known: _named(known.resource, name))

    def _check_alias(
        self,
        address: Address,
        claim: Claim,
        thing: Address,
        known: Callable[[Claim], Resource],
    ) -> None:
        """Refuses what is declared otherwise of one ``thing``, where ``known`` tells what that is.

        The name of the thing itself, and no other, need not be noted.
        """
        if thing != address:
            self._things[address] = thing
            self._aliases.setdefault(thing, {thing}).add(address)
        for alias in self._aliases.get(thing, set()) - {address}:
            other = self._claims.get(alias)
            if other is None or other.retried(claim.caller):
                continue
            if not _agrees(known(claim), known(other)):
                raise claim.caller.contradiction(
                    f"{address} and {alias}, declared differently at {other.caller.place}, are "
                    f"the same on this host",
                    hint="give both the same properties, or keep one of them",
                )

    def thing(self, address: Address) -> Address:
        """Returns an address with the name that its host itself uses, as far as that was seen."""
        return self._things.get(address, address)

    def _refine(self, address: Address, resource: Resource, claim: Claim) -> Resource | None:
        """Returns ``resource`` laid over what was declared before it, or None: a contradiction.

        It may go along with all that was declared and still contradict a part, which another
        part has overruled. While the record knows more than was declared so far, and what is
        declared is part of it, the rest is taken to be still to come.
        """
        claimed, parts = claim.resource, self._parts.setdefault(address, [claim.declared])
        if any(resource.refine(part) is None for part in parts):
            return None
        if resource not in parts:
            parts.append(resource)
        earlier = self.awaiting.pop(address, None)
        refined: Resource | None = resource.refine(claimed if earlier is None else earlier)
        if earlier is None or refined is None or refined == claimed:
            return refined
        if resource.refine(claimed) != claimed:
            return refined
        self.awaiting[address] = refined
        return claimed

    def _check_taken(self, address: Address, claim: Claim) -> None:
        """Refuses what takes what only one can have, and another one has declared."""
        takes = claim.resource.takes
        if takes is None:
            return
        holder = self._takers.get((address.host, address.type, takes), address)
        other = self._claims.get(holder, claim)
        if holder != address and other.resource.takes == takes and not other.retried(claim.caller):
            raise claim.caller.contradiction(
                f"{address} and {holder}, declared at {other.caller.place}, both have {takes}, "
                f"which only one {address.type} can have",
                hint="give each its own, or leave it out",
            )


def _wants_the_same(one: Resource, other: Resource) -> bool:
    """Whether two declarations of one address differ at most in how it is done."""
    desired = one.desired()
    return (
        desired is not None
        and desired == other.desired()
        and one.observation_key == other.observation_key
    )


def _named(resource: Resource, name: str) -> Resource:
    """Returns ``resource`` under another name."""
    [key] = schema.keys_of(type(resource))
    return structs.replace(resource, **{key: name})


def _agrees(one: Resource, other: Resource) -> bool:
    """Whether two declarations of one thing can both be followed."""
    return one == other or one.refine(other) is not None or _wants_the_same(one, other)
