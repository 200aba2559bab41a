"""Asks and tells the package system of a host, through dpkg-query, apt-cache and apt-get."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from sloth_runner.core.errors import HostError, TaskError
from sloth_runner.core.host import Command, CommandResult, Host, command_failed
from sloth_runner.core.nearest import alike
from sloth_runner.core.schema import Seconds
from sloth_runner.resources import _apt, _dpkg

EXCLUSIVE = "packages"
"""What all operations on the package system of one host share: none run at the same time."""

LOCK_TIMEOUT = Seconds(120.0)

ENVIRONMENT: Mapping[str, str] = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    # Only lists what should be restarted: a restart that no preview showed is not ours to do.
    "NEEDRESTART_MODE": "l",
    "UCF_FORCE_CONFFOLD": "1",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
    # dpkg refuses to work without the sbin folders, which cron and plain users do not have.
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
# apt, when it is root, rewrites its binary cache and the log of its last plan even if it is only
# asked something. A folder that never exists (Debian Policy, 9.1.1) makes it keep its hands off
# the cache; what is still valid of it is used. Not /dev/null/...: apt cuts that off after "null",
# writes to the device, and sets its permissions to 0644.
LOOK_ONLY = (
    "--option=Dir::Cache::pkgcache=/nonexistent/pkgcache.bin",
    "--option=Dir::Log::Planner=/dev/null",
    "--option=Dir::Log::Solver=/dev/null",
)
_ACT = (
    "--assume-yes",
    "--quiet",
    "--option=Dpkg::Use-Pty=0",
    "--option=Dpkg::Options::=--force-confdef",
    "--option=Dpkg::Options::=--force-confold",
    # A package that goes leaves its dependencies, whatever the host's configuration says.
    "--option=APT::Get::AutomaticRemove=false",
)
_POLL = 0.5


async def query(host: Host, names: Iterable[str]) -> _dpkg.Database:
    """Returns what dpkg knows of ``names``, by one dpkg-query for all of them.

    The database file is not read directly: dpkg keeps its latest changes beside it, and it
    is a megabyte to carry over a network. Raises TaskError where the host has no dpkg.
    """
    wanted = sorted({"dpkg", *(_dpkg.split_name(name)[0] for name in names)})
    try:
        result = await host.command(
            "dpkg-query",
            "--show",
            f"--showformat={_dpkg.QUERY_FORMAT}",
            "--",
            *wanted,
            env=ENVIRONMENT,
            accept=(0, 1),
        )
    except HostError as error:
        if error.errno_name == "ENOENT":
            raise await _unsupported(host) from error
        raise
    database = _dpkg.Database.parse(result.stdout)
    if database.native is None:
        # Some distributions ship dpkg as a tool, with a database that manages nothing.
        raise await _unsupported(host)
    return database


async def known_as(host: Host, names: Sequence[str]) -> list[str]:
    """Returns names without an architecture that is the host's own."""
    parts = [_dpkg.split_name(name) for name in names]
    if all(architecture is None for _, architecture in parts):
        return [*names]
    own = ("all", (await query(host, ())).native)
    return [
        bare if architecture in own else name
        for name, (bare, architecture) in zip(names, parts, strict=True)
    ]


async def policies(host: Host, names: Collection[str]) -> dict[str, _apt.Policy]:
    """Returns what the index offers of ``names``, by one question; unknown names are left out."""
    if not names:
        return {}
    result = await host.command(
        "apt-cache", *LOOK_ONLY, "policy", "--", *sorted(names), env=ENVIRONMENT
    )
    printed = _apt.parse_policy(result.stdout)
    # apt prints the native architecture's packages without it, even when asked with it.
    found = {name: printed.get(name) or printed.get(_dpkg.split_name(name)[0]) for name in names}
    return {name: policy for name, policy in found.items() if policy is not None}


async def simulate(host: Host, arguments: Sequence[str]) -> _apt.Simulation:
    """Returns what ``apt-get ARGUMENTS`` would do; raises TaskError where apt refuses it."""
    result = await host.run(
        Command(
            argv=("apt-get", "--simulate", *LOOK_ONLY, *_ACT, *arguments),
            env={**ENVIRONMENT},
        )
    )
    if not result.ok:
        raise _apt.explain(result, host=host.name)
    return _apt.parse_simulation(result.stdout)


async def transact(host: Host, arguments: Sequence[str], lock_timeout: float) -> None:
    """Carries out ``apt-get ARGUMENTS``; waits up to ``lock_timeout`` seconds for other users.

    What an earlier, killed dpkg left half done is completed first. Raises TaskError.
    """
    deadline = time.monotonic() + lock_timeout
    result = await locking(host, ("apt-get", *_ACT, *arguments), deadline)
    if _apt.was_interrupted(result):
        configured = await locking(
            host, ("dpkg", "--force-confdef", "--force-confold", "--configure", "-a"), deadline
        )
        if not configured.ok:
            raise _apt.explain(configured, host=host.name)
        result = await locking(host, ("apt-get", *_ACT, *arguments), deadline)
    if not result.ok:
        raise _apt.explain(result, host=host.name)


async def refresh(host: Host, options: Sequence[str], lock_timeout: float) -> CommandResult:
    """Downloads the index (``apt-get update``); raises TaskError unless all of it arrived."""
    deadline = time.monotonic() + lock_timeout
    argv = ("apt-get", "--quiet", "--option=APT::Update::Error-Mode=any", *options, "update")
    result = await locking(host, argv, deadline)
    # Older versions of apt call what they could not fetch a warning, and succeed.
    problems = _apt.fetch_problems(result)
    if problems and not _apt.is_locked(result):
        raise TaskError(
            f"the package index of {host.name} could not be refreshed: {'; '.join(problems)}",
            hint="the host must reach its package sources, and they must be right",
            facts=command_failed(result, host=host.name).facts,
        )
    if not result.ok:
        raise _apt.explain(result, host=host.name)
    return result


async def mark(host: Host, verb: str, names: Sequence[str], lock_timeout: float) -> None:
    """Carries out ``apt-mark VERB NAMES``; raises TaskError."""
    deadline = time.monotonic() + lock_timeout
    result = await locking(host, ("apt-mark", verb, "--", *names), deadline)
    if not result.ok:
        raise _apt.explain(result, host=host.name)


async def locking(host: Host, argv: Sequence[str], deadline: float) -> CommandResult:
    """Runs a command of apt or dpkg, again while another process holds a lock of theirs.

    ``deadline`` is on the monotonic clock. apt itself waits for dpkg's lock; for those of
    the index and the archive, and in old versions for all, waiting is done here.
    """
    program, *arguments = argv
    while True:
        left = deadline - time.monotonic()
        patience = (
            [f"--option=DPkg::Lock::Timeout={max(0, int(left))}"] if program == "apt-get" else []
        )
        result = await host.run(Command(argv=(program, *patience, *arguments), env={**ENVIRONMENT}))
        if not _apt.is_locked(result) or time.monotonic() + _POLL >= deadline:
            return result
        await asyncio.sleep(_POLL)


async def missing(host: Host, name: str, policy: _apt.Policy | None) -> TaskError:
    """Returns the error for a name that cannot be installed as it stands."""
    if policy is not None and policy.candidate is None:
        providers = await _providers(host, name)
        if providers:
            return TaskError(
                f"{name} is a virtual package, provided by {', '.join(providers)}",
                hint="name the one that you want",
            )
        return TaskError(
            f"the index of {host.name} has no version of {name} to install",
            hint="it may be pinned away or need another repository (pkg.repository)",
        )
    near = await _similar(host, name)
    advice = f"similar: {', '.join(near)}; otherwise " if near else ""
    return TaskError(
        f"no package named {name} in the index of {host.name}",
        hint=f"{advice}{_apt.UPDATE_HINT}",
    )


async def _providers(host: Host, name: str) -> list[str]:
    shown = await host.command(
        "apt-cache", *LOOK_ONLY, "showpkg", "--", name, env=ENVIRONMENT, accept=(0, 100)
    )
    _, _, listing = shown.stdout.partition("\nReverse Provides:")
    return sorted({line.split()[0] for line in listing.split("\n") if line.strip()})


async def _similar(host: Host, name: str) -> list[str]:
    """Returns names of the index that look like ``name``, nearest first."""
    shown = await host.command(
        "apt-cache", *LOOK_ONLY, "pkgnames", name[:2], env=ENVIRONMENT, accept=(0, 100)
    )
    return alike(name, shown.stdout.split(), cutoff=0.75, count=3)


async def _unsupported(host: Host) -> TaskError:
    system = (await host.facts()).get("os") or {}
    return TaskError(
        f"packages on {host.name} ({system.get('id') or 'an unknown system'}) "
        "are not supported yet",
        hint="packages are managed with apt, on Debian, Ubuntu and their kin",
    )
