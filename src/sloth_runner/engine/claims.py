"""Which line of the workflow speaks for which thing, and that no two disagree."""

from collections.abc import Mapping

from msgspec import Struct, structs

from sloth_runner.core.address import Address
from sloth_runner.core.errors import ConflictError, ParamError
from sloth_runner.core.resource import Resource
from sloth_runner.engine.context import Caller


class Claim(Struct, frozen=True):
    """A declaration of this run: what stands there, what it became, and who declared it first."""

    declared: Resource
    resource: Resource
    caller: Caller


class Claims:
    """The declarations of one run. ``seen`` addresses are not orphans.

    A declaration that refined another one (``user.modify`` after ``user.create``) is known
    from the record: ``refined`` maps its address to (base, merged). The base alone is then
    taken as the merged one, so that the two do not undo each other in every run; in
    ``awaiting`` is what this run has declared of such an address so far.
    """

    def __init__(self, refined: Mapping[Address, tuple[Resource, Resource]]) -> None:
        self._refined = refined
        self.bases: dict[Address, Resource] = {}
        self.awaiting: dict[Address, Resource] = {}
        self._claims: dict[Address, Claim] = {}
        self._whole: dict[tuple[str, str], Claim] = {}
        self._parts: dict[tuple[str, str], Claim] = {}
        self._governors: dict[Address, Claim] = {}
        self.seen: set[tuple[Address, bool]] = set()

    def assume_recorded(self) -> None:
        """Takes what rows refine for declared, so that what is written of them keeps it."""
        self.bases.update({address: base for address, (base, _) in self._refined.items()})

    def claim(self, host: str, resource: Resource, caller: Caller) -> Resource:
        """Notes that ``caller`` declares ``resource`` and returns what is to be ensured.

        Raises ConflictError, naming both lines, when another line wants it otherwise, when
        one owns the whole content of a file and another the whole or a part of it, or when a
        recursive directory holds it that wants it otherwise.
        """
        address = Address(host, resource.type, resource.name)
        claim = self._claims.get(address)
        if claim is not None and _retried(claim, caller):
            claim = None
        declared = resource
        if claim is not None and claim.declared == declared:
            resource = claim.resource
        else:
            resource = self._governed(address, resource, caller)
        base, merged = self._refined.get(address, (None, None))
        if claim is None and merged is not None and resource == base:
            self.bases[address] = self.awaiting[address] = resource
            resource = merged
        elif claim is not None and resource == self.bases.get(address):
            resource = claim.resource
        elif claim is not None and claim.resource != resource:
            refined = self._refine(address, resource, claim.resource)
            if refined is None and _wants_the_same(claim.resource, resource):
                refined = claim.resource
            if refined is None:
                raise ConflictError(
                    f"{address} is declared differently at {claim.caller.place}",
                    location=caller.location,
                    hint="give both the same properties, or keep one of them",
                    effects=("this declaration was not applied",),
                )
            self.bases.setdefault(address, claim.resource)
            resource = refined
        claim = Claim(declared, resource, caller)
        self._govern(address, claim)
        self._claims[address] = claim
        self._check_whole(host, address, claim)
        self.seen.add((address, False))
        return resource

    def _refine(self, address: Address, resource: Resource, claimed: Resource) -> Resource | None:
        """Returns ``resource`` laid over what was declared before it, or None: a contradiction.

        While the record knows more than was declared so far, and what is declared is part
        of it, the rest is taken to be still to come.
        """
        earlier = self.awaiting.pop(address, None)
        refined: Resource | None = resource.refine(claimed if earlier is None else earlier)
        if earlier is None or refined is None or refined == claimed:
            return refined
        if resource.refine(claimed) != claimed:
            return refined
        self.awaiting[address] = refined
        return claimed

    def _governed(self, address: Address, resource: Resource, caller: Caller) -> Resource:
        """Returns ``resource`` with what the things that hold it decide for it."""
        for holder, claim in self._governors.items():
            if holder.host == address.host and holder != address:
                wanted = claim.resource.governs(resource)
                _agree(address, resource, wanted, caller, claim.caller, caller)
                lent = {name: v for name, v in wanted.items() if getattr(resource, name) is None}
                if lent:
                    resource = structs.replace(resource, **lent)
                    _check(resource, caller)
        return resource

    def _govern(self, address: Address, claim: Claim) -> None:
        """Refuses what decides for others where one of them wants it otherwise."""
        if not claim.resource.governing:
            return
        self._governors[address] = claim
        for held, known in self._claims.items():
            if held.host == address.host and held != address:
                wanted = claim.resource.governs(known.resource)
                _agree(held, known.resource, wanted, known.caller, claim.caller, claim.caller)

    def _check_whole(self, host: str, address: Address, claim: Claim) -> None:
        path, part = claim.resource.path, claim.resource.part_of_file
        if path is None or part is None:
            return
        mine, others = (self._parts, self._whole) if part else (self._whole, self._parts)
        first = mine.setdefault((host, path), claim)
        other = others.get((host, path))
        if other is None and not part and first.resource.type != claim.resource.type:
            other = first
        if other is not None and not _retried(other, claim.caller):
            raise ConflictError(
                f"this {claim.resource.type} and the {other.resource.type} declared at "
                f"{other.caller.place} both own the content of {path}",
                location=claim.caller.location,
                hint="put the line or block into the content, or use file_ops.template"
                if part or other.resource.part_of_file
                else "keep one of them",
                effects=("this declaration was not applied",),
            )


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


def _wants_the_same(one: Resource, other: Resource) -> bool:
    """Whether two declarations of one address differ at most in how it is done."""
    desired = one.desired()
    return (
        desired is not None
        and desired == other.desired()
        and one.observation_key == other.observation_key
    )


def _retried(claim: Claim, caller: Caller) -> bool:
    """Whether ``claim`` was made by an earlier attempt of the same task."""
    return claim.caller.task == caller.task and claim.caller.attempt != caller.attempt
