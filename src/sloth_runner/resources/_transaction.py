"""Package transactions: what may share one, whether it is allowed, and carrying it out."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from msgspec import Struct

from sloth_runner.core.errors import Refused, SlothError, TaskError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Checked
from sloth_runner.resources import _apt, _aptget, _dpkg

Answers = list[Exception | None]

_HALF_UNPACKED = {"half-installed", "reinst-required"}
"""States from which a package comes only by being unpacked again (dpkg(1))."""

_SHOWN = 20
"""Names of other packages that are told."""

T = TypeVar("T")


async def only(answers: Awaitable[Sequence[T | Exception]]) -> T:
    """Returns the only answer of a batch of one, or raises it."""
    [answer] = await answers
    if isinstance(answer, Exception):
        raise answer
    return answer


class Terms(Struct, frozen=True, kw_only=True):
    """What all of one transaction have in common.

    ``allow_removal``: whether other packages may be removed by it. ``allow_held``: whether the
    named packages may change although they are on hold, where they stay; apt itself leaves
    alone all others on hold. ``may_downgrade``: whether the named packages may become older.
    ``recommends`` None leaves to the host whether recommended packages come along;
    ``lock_timeout`` is in seconds.
    """

    verb: Literal["install", "remove", "purge"]
    allow_removal: bool
    allow_held: bool = False
    lock_timeout: float
    recommends: bool | None = None
    may_downgrade: bool = False

    def arguments(
        self, targets: Sequence[str], *, acting: bool = False, again: bool = False
    ) -> list[str]:
        """Returns the arguments of apt-get; ``again`` unpacks what has the right version too.

        ``acting`` has apt itself refuse what it would have to remove for an installation:
        what no simulation found may have come true since.
        """
        options = ["--allow-change-held-packages"] if self.allow_held else []
        if self.verb == "install":
            if acting and not self.allow_removal:
                options.append("--no-remove")
            if again:
                options.append("--reinstall")
            if self.may_downgrade:
                options.append("--allow-downgrades")
            if self.recommends is not None:
                options.append(f"--{'' if self.recommends else 'no-'}install-recommends")
        return [*options, self.verb, "--", *targets]


class Wish(Struct, frozen=True, kw_only=True):
    """A package to install: in the ``version`` that a pattern means, the latest, or any."""

    name: str
    version: str | None = None
    latest: bool = False

    def choose(self, policy: _apt.Policy) -> str | None:
        """Returns the version that the index offers for it, or None."""
        return policy.candidate if self.version is None else policy.choose(self.version)


async def check(host: Host, terms: Terms, wishes: Sequence[Wish]) -> list[Checked]:
    """Returns for each package why the transaction must not happen, or None; only looks.

    The first one of a transaction that does more than asked is answered with what that is.
    """
    if terms.verb != "install":
        return await _attributed(host, terms, {wish.name: wish.name for wish in wishes})
    targets = await _targets(host, wishes)
    known = {name: target for name, target in targets.items() if isinstance(target, str)}
    answers = await _attributed(host, terms, known)
    found = dict(zip(known, answers, strict=True))
    return [found.get(wish.name, _error(targets[wish.name])) for wish in wishes]


async def install(host: Host, terms: Terms, wishes: Sequence[Wish]) -> Answers:
    """Installs what can be; answers for what the index does not offer. Raises TaskError."""
    targets = await _targets(host, wishes)
    known = [target for target in targets.values() if isinstance(target, str)]
    if known:
        database = await _aptget.query(host, targets)
        states = {entry.state for name in targets if (entry := database.find(name))}
        again = not states.isdisjoint(_HALF_UNPACKED)
        arguments = terms.arguments(known, acting=True, again=again)
        await _transact(host, terms, arguments, database)
    return [_error(targets[wish.name]) for wish in wishes]


async def remove(host: Host, terms: Terms, names: Sequence[str]) -> None:
    """Removes or purges what is there of ``names``; refuses what would take others along."""
    database = await _aptget.query(host, names)
    there = {}
    for name in names:
        entry = database.find(name)
        state = None if entry is None else entry.state
        if state is not None and (terms.verb == "purge" or state != "config-files"):
            there[name] = name
    if there:
        await _simulated(host, terms, there)
        await _transact(host, terms, terms.arguments(list(there)), database)


async def _transact(
    host: Host, terms: Terms, arguments: Sequence[str], before: _dpkg.Database
) -> None:
    """Carries out a transaction, and sets on hold again what was so before."""
    held = [before.name_of(entry) for entry in before.entries if entry.held]
    try:
        await _aptget.transact(host, arguments, terms.lock_timeout)
    finally:
        if held and terms.allow_held:
            await _aptget.mark(host, "hold", held, terms.lock_timeout)


def no_version(
    host: Host, name: str, version: str | None, offered: _apt.Policy | None
) -> TaskError:
    """Returns the error for a version that the index does not have."""
    versions = () if offered is None else offered.versions
    return TaskError(
        f"the index of {host.name} has no version {version} of {name}; "
        f"it has: {', '.join(versions) or 'none'}",
        hint=_apt.UPDATE_HINT,
    )


def _error(target: str | TaskError) -> TaskError | None:
    return None if isinstance(target, str) else target


async def _attributed(host: Host, terms: Terms, targets: Mapping[str, str]) -> list[Checked]:
    """Simulates a transaction; where it is refused, finds out whose fault that is."""
    if not targets:
        return []
    try:
        aside = _aside(await _simulated(host, terms, targets), targets)
    except SlothError as error:
        if len(targets) == 1:
            return [error]
        alone = [
            (await _attributed(host, terms, {name: target}))[0] for name, target in targets.items()
        ]
        return alone if any(isinstance(one, Exception) for one in alone) else [error] * len(targets)
    return [aside, *[None] * (len(targets) - 1)]


def _aside(simulation: _apt.Simulation, names: Iterable[str]) -> str | None:
    """Returns what a transaction does to packages that it does not name."""
    kinds = {
        "installs": simulation.installed_beside(names),
        "upgrades": simulation.upgraded_beside(names),
        "removes": simulation.removed_beside(names),
    }
    told = [f"{verb} {_some(found)}" for verb, found in kinds.items() if found]
    return f"also {' and '.join(told)}" if told else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


async def _simulated(host: Host, terms: Terms, targets: Mapping[str, str]) -> _apt.Simulation:
    """Returns what a transaction would do; raises TaskError where that is refused or too much."""
    simulation = await _aptget.simulate(host, terms.arguments(list(targets.values())))
    installing = terms.verb == "install"
    what = f"{'installing' if installing else 'removing'} {', '.join(targets)} on {host.name}"
    removed = simulation.removed_beside(() if installing else targets)
    if removed and not terms.allow_removal:
        raise Refused(f"{what} would also remove {', '.join(removed)}", hint=_apt.ALLOW_REMOVAL)
    downgraded = simulation.downgraded_beside(targets)
    if downgraded:
        raise Refused(
            f"{what} would also downgrade {', '.join(downgraded)}",
            hint="ask for the versions of these packages too, if that is meant",
        )
    return simulation


async def _targets(host: Host, wishes: Sequence[Wish]) -> dict[str, str | TaskError]:
    """Returns for each name what apt-get is to install, or why it cannot be."""
    names = {wish.name for wish in wishes}
    offered = await _aptget.policies(host, names)
    database = await _aptget.query(host, names)
    return {
        wish.name: await _target(host, wish, offered.get(wish.name), database.find(wish.name))
        for wish in wishes
    }


async def _target(
    host: Host, wish: Wish, policy: _apt.Policy | None, entry: _dpkg.Entry | None
) -> str | TaskError:
    if policy is None or policy.candidate is None:
        return await _aptget.missing(host, wish.name, policy)
    chosen = wish.choose(policy)
    if chosen is None:
        return no_version(host, wish.name, wish.version, policy)
    if wish.version is not None:
        return f"{wish.name}={chosen}"
    half_done = entry is not None and entry.state not in (None, "config-files")
    if entry is not None and half_done and not wish.latest and entry.version in policy.versions:
        # It is finished in the version that it has, which is not always the newest.
        return f"{wish.name}={entry.version}"
    return wish.name
