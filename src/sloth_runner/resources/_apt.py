"""What apt says, read without a machine: policies, simulations, and why it refused."""

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from sloth_runner.core.errors import InUse, TaskError
from sloth_runner.core.host import RIGHTS, CommandResult, command_failed, rights_hint, tail
from sloth_runner.resources import _dpkg

_STATUS_FILE = "/var/lib/dpkg/status"
_VERSION_LINE = re.compile(r" (?:\*\*\*|   ) (\S+) -?\d+(?: .*)?")
_SOURCE_LINE = re.compile(r" {6,}-?\d+ (\S.*)")
_INSTALL_LINE = re.compile(r"Inst (\S+)(?: \[([^]]*)\])? \((\S+)")
_REMOVE_LINE = re.compile(r"(?:Remv|Purg) (\S+)")
_LOCKED = re.compile(
    r"could not get lock (?!.*permission denied)|is another process using it"
    r"|locked by another process",
    re.IGNORECASE,
)
_HOLDER = re.compile(
    r"held by process (?P<pid>\d+)(?: \((?P<what>[^)]*)\))?|with pid (?P<dpkg>\d+)"
)
# Of a package or of its archive, PATH/NAME_VERSION_ARCHITECTURE.deb.
_UNFINISHED = re.compile(
    r"dpkg: error processing (?:package|archive) (?:\S*/)?([^_\s]+)\S* \(--\S+\):\n (.*)"
)
_NOT_FETCHED = re.compile(
    r"^(?:[EW]: (?:Failed to fetch|Unable to fetch|GPG error|An error occurred during the sig)"
    r"|E: The repository).*",
    re.MULTILINE,
)


class Policy(Struct, frozen=True):
    """What the index offers of a name.

    ``candidate`` is what apt would install, pins considered; ``versions`` are those that
    an archive has, newest first. A name without a candidate is virtual.
    """

    candidate: str | None
    versions: tuple[str, ...]

    def choose(self, wanted: str) -> str | None:
        """Returns the version to install for ``wanted``: the candidate or the newest."""
        fitting = [v for v in self.versions if _dpkg.version_matches(wanted, v)]
        if self.candidate in fitting:
            return self.candidate
        return _dpkg.newest(fitting)


def parse_policy(output: str) -> dict[str, Policy]:
    """Returns the policies that ``apt-cache policy NAMES`` printed, by name as it printed them."""
    policies = {}
    for stanza in re.split(r"^(?=\S)", output, flags=re.M):
        lines = stanza.split("\n")
        if not lines[0].endswith(":"):
            continue
        candidate = None
        versions: list[str] = []
        version = ""
        for line in lines[1:]:
            if line.startswith("  Candidate: "):
                candidate = line.removeprefix("  Candidate: ")
            elif found := _VERSION_LINE.fullmatch(line):
                version = found[1]
            elif _is_archive(line) and version not in versions:
                versions.append(version)
        policies[lines[0].removesuffix(":")] = Policy(
            None if candidate == "(none)" else candidate,
            tuple(sorted(versions, key=_dpkg.version_key, reverse=True)),
        )
    return policies


def _is_archive(line: str) -> bool:
    found = _SOURCE_LINE.fullmatch(line)
    return found is not None and found[1] != _STATUS_FILE


class Simulation(Struct, frozen=True):
    """What a transaction would do: ``installs`` maps names to (old or None, new) versions."""

    installs: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)
    removes: tuple[str, ...] = ()

    def removed_beside(self, names: Iterable[str]) -> list[str]:
        """Returns what would be removed and is not in ``names``."""
        return _beside(self.removes, names)

    def installed_beside(self, names: Iterable[str]) -> list[str]:
        """Returns what would be new and is not in ``names``."""
        return _beside([name for name, (old, _) in self.installs.items() if old is None], names)

    def upgraded_beside(self, names: Iterable[str]) -> list[str]:
        """Returns what would become newer and is not in ``names``."""
        return _beside([name for name, (old, _) in self.installs.items() if old], names)

    def downgraded_beside(self, names: Iterable[str]) -> list[str]:
        """Returns what would become older and is not in ``names``."""
        older = [
            name
            for name, (old, new) in self.installs.items()
            if old is not None and _dpkg.compare(new, old) < 0
        ]
        return _beside(older, names)


def parse_simulation(output: str) -> Simulation:
    """Returns what ``apt-get --simulate`` printed that it would do."""
    lines = output.split("\n")
    installs = {
        found[1]: (found[2] or None, found[3])
        for line in lines
        if (found := _INSTALL_LINE.match(line))
    }
    removes = tuple(found[1] for line in lines if (found := _REMOVE_LINE.match(line)))
    return Simulation(installs, removes)


def is_locked(result: CommandResult) -> bool:
    """Whether a command of apt or dpkg failed because another process holds a lock."""
    return not result.ok and _LOCKED.search(result.stderr) is not None


def was_interrupted(result: CommandResult) -> bool:
    """Whether apt refused because an earlier dpkg was killed half way."""
    return not result.ok and "dpkg --configure -a" in result.stderr


def fetch_problems(result: CommandResult) -> list[str]:
    """Returns apt's lines about what it could not fetch, which it may call warnings."""
    lines = _NOT_FETCHED.findall(result.stderr)
    return [line[3:].strip() for line in lines]


def explain(result: CommandResult, *, host: str) -> TaskError:
    """Returns the error for a command of apt that failed: what it means and what to do."""
    if is_locked(result):
        return _locked(result, host)
    for reason, detail, hint in _reasons(result):
        if reason:
            failed = command_failed(result, host=host)
            return TaskError(detail, hint=hint, facts=failed.facts)
    return command_failed(result, host=host)


def _reasons(result: CommandResult) -> Iterable[tuple[bool, str, str]]:
    """Yields whether a reason applies, what it means, and what to do about it."""
    out, err = result.stdout, result.stderr
    held = _listed(out, "The following held packages will be changed:")
    yield (
        "Held packages were changed" in err,
        f"this would change what is on hold: {_names(held)}",
        "allow_held = true permits it for the packages that are named, which stay on hold",
    )
    essential = _listed(out, "This should NOT be done unless")
    yield (
        "Essential packages were removed" in err,
        f"this would remove what the system cannot do without: {_names(essential)}",
        "essential packages are never removed",
    )
    yield (
        "remove is disabled" in err,
        "this would remove other packages: "
        f"{_names(_listed(out, 'The following packages will be REMOVED:'))}",
        ALLOW_REMOVAL,
    )
    missing = re.findall(r"E: Unable to locate package (\S+)", err)
    yield bool(missing), f"no package named {_names(missing)} is in the index", UPDATE_HINT
    yield (
        "unauthenticated" in err,
        "a package comes from a repository that is not signed with a known key",
        "give pkg.repository the repository's key",
    )
    unmet = re.findall(r"^ (\S+ : .*(?:\n {2,}.*)*)", out + "\n" + err, flags=re.M)
    yield (
        "unmet dependencies" in (out + err).lower() and bool(unmet),
        "dependencies cannot be met: " + "; ".join(re.sub(r"\s+", " ", u) for u in unmet),
        BROKEN_HINT,
    )
    yield bool(fetch_problems(result)), "packages could not be fetched", UPDATE_HINT
    unfinished = [f"{name}: {why}" for name, why in _UNFINISHED.findall(err)]
    yield (
        bool(unfinished),
        f"dpkg could not finish {'; '.join(unfinished)}",
        "stderr has what was said before that; when the cause is gone, the same line finishes it",
    )
    yield (
        bool(rights_hint(result)),
        "packages can be changed by root only",
        RIGHTS,
    )


ALLOW_REMOVAL = "allow_removal = true permits it"
BROKEN_HINT = (
    "where a package was put there without what it needs, apt-get --fix-broken install on the "
    "host gets that, or removes it"
)
UPDATE_HINT = "the index may be out of date: pkg.update{} before this refreshes it"


def _locked(result: CommandResult, host: str) -> InUse:
    found = _HOLDER.search(result.stderr) or _HOLDER.search(result.stdout)
    pid = (found["pid"] or found["dpkg"]) if found else "0"
    holder = ""
    # 0 is a process that this one cannot see: it runs in another container.
    if found and pid != "0":
        what = f" ({found['what']})" if found["what"] else ""
        holder = f" by process {pid}{what}"
    return InUse(
        f"the package system of {host} is locked{holder}",
        hint="wait for it to end, or give a longer lock_timeout; never remove a lock file",
        facts={"host": host, "command": list(result.argv), "stderr": tail(result.stderr)},
    )


def _listed(output: str, header: str) -> list[str]:
    """Returns the names that apt lists, indented by two spaces, below a line with ``header``."""
    names: list[str] = []
    below = False
    for line in output.split("\n"):
        if below and line.startswith("  "):
            names += [name.rstrip("*") for name in line.split()]
        else:
            below = header in line
    return names


def _beside(found: Sequence[str], names: Iterable[str]) -> list[str]:
    known = {_dpkg.split_name(name)[0] for name in names}
    return sorted(name for name in found if _dpkg.split_name(name)[0] not in known)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "(apt does not say which)"
