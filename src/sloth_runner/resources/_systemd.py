"""What the types and actions of systemd share: how units look, and how they are brought up.

The manager is asked with systemctl(1): one ``show`` for any number of units.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from sloth_runner.core.errors import CommandFailed, ParamError, TaskError, TaskTimedOut
from sloth_runner.core.host import (
    Command,
    CommandResult,
    Host,
    command_failed,
    rights_hint,
    tail,
)
from sloth_runner.core.nearest import nearest
from sloth_runner.core.schema import Seconds
from sloth_runner.resources._files import is_private

TIMEOUT = Seconds(30.0)
"""How long a unit is given to come up, in seconds, unless told otherwise."""

SUFFIXES = (
    *(".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount"),
    *(".swap", ".slice", ".scope", ".device"),
)
"""The types of units, systemd.unit(5)."""

RUNNING = "/run/systemd/system"
"""Exists exactly where systemd is the first process, sd_booted(3)."""

_QUOTE = re.compile(r"(.*?)(/[^:]+):(\d+): ")
_SETTLE = 0.5
# A process that systemd has only forked off counts as active at once, whatever becomes of it.
_ACTIVE_AT_ONCE = frozenset({"simple", "exec", "idle"})
_AT_A_TIME = 500
_NAME = re.compile(r"[A-Za-z0-9:_\\-][A-Za-z0-9:_.\\@-]*")
_LONGEST = 255
_PROPERTIES = (
    "Id",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "Result",
    "Type",
    "RemainAfterExit",
    "NRestarts",
    "InactiveEnterTimestampMonotonic",
    "UnitFileState",
    "FragmentPath",
    "SourcePath",
    "DropInPaths",
    "NeedDaemonReload",
    "CanReload",
)
_SHOWN = f"--property={','.join(_PROPERTIES)}"


class Unit(Struct, frozen=True, kw_only=True):
    """A unit as the manager sees it; the fields are the properties of systemctl(1) show.

    ``kind`` is the Type= of a service, "" for other units. ``ended`` says whether it has
    been active since the host booted and is not any more, as far as systemd remembers.
    """

    id: str
    load: str
    error: str
    active: str
    sub: str
    result: str
    kind: str
    remains: bool
    restarts: int
    ended: bool
    file_state: str
    fragment: str
    source: str
    drop_ins: tuple[str, ...]
    needs_reload: bool
    can_reload: bool

    @property
    def name(self) -> str:
        """The name of the unit itself, also where it was asked for by an alias."""
        return short_name(self.id)

    @property
    def found(self) -> bool:
        """Whether there is such a unit: a file for it, or something that runs."""
        return self.load != "not-found" or self.active not in ("inactive", "failed")

    @property
    def is_up(self) -> bool:
        return self.active in ("active", "reloading", "refreshing")

    @property
    def runs_once(self) -> bool:
        """Whether it does its work and ends, so that it cannot be kept running."""
        return self.kind == "oneshot" and not self.remains

    @property
    def state(self) -> str:
        """What it is doing: started, starting, stopped, stopping, failed, or finished.

        "finished" is a unit that runs once and has done so with success.
        """
        if self.is_up:
            return "started"
        if self.active in ("activating", "deactivating"):
            return "starting" if self.active == "activating" else "stopping"
        if self.active == "inactive":
            done = self.runs_once and self.ended and self.result == "success"
            return "finished" if done else "stopped"
        return "failed"

    @property
    def enabled(self) -> bool | str:
        """Whether it starts at boot; the state of its file where that says neither."""
        no = {"", "disabled", "bad", "linked", "linked-runtime", "masked", "masked-runtime"}
        if self.file_state in no:
            return False
        if self.file_state in ("enabled", "alias"):
            return True
        return "runtime" if self.file_state == "enabled-runtime" else self.file_state


def full_name(name: str) -> str:
    """Returns the name of a unit with its type: "nginx" is "nginx.service"."""
    return name if name.endswith(SUFFIXES) else f"{name}.service"


def short_name(name: str) -> str:
    """Returns the name as people say it: "nginx.service" is "nginx"."""
    short = name.removesuffix(".service")
    return name if short.endswith(SUFFIXES) else short


def check_name(name: str, *, template: bool = False) -> None:
    """Raises ParamError for what cannot be the name of a unit; ``template`` allows "app@"."""
    full = full_name(name)
    if not _NAME.fullmatch(full) or len(full) > _LONGEST or full.startswith("."):
        raise ParamError(
            f"{name!r} is not the name of a unit",
            hint='units are named like "nginx", "app@one" or "backup.timer"; '
            "systemd-escape(1) turns other text into such a name",
        )
    if "@." in full and not template:
        raise ParamError(
            f"{name!r} is a template, which cannot run itself",
            hint=f'name an instance of it: "{full.replace("@.", "@one.")}"',
        )


async def show(host: Host, names: Sequence[str]) -> list[Unit]:
    """Returns the units in the order of ``names``, also those that do not exist.

    Raises TaskError where systemd is not running.
    """
    units: list[Unit] = []
    for start in range(0, len(names), _AT_A_TIME):
        some = [full_name(name) for name in names[start : start + _AT_A_TIME]]
        result = await systemctl(host, "show", _SHOWN, "--", *some)
        found = parse(result.stdout)
        if len(found) != len(some):
            raise command_failed(result, host=host.name)
        units += found
    return units


async def matching(host: Host, patterns: Sequence[str]) -> list[Unit]:
    """Returns the units of patterns ("app@*.service") that the manager has in memory.

    Without --all systemctl(1) leaves out those that do not run.
    """
    if not patterns:
        return []
    # In a pattern, glob(7), the backslash of an escaped name would quote.
    quoted = [pattern.replace("\\", "\\\\") for pattern in patterns]
    asked = await systemctl(host, "show", "--all", _SHOWN, "--", *quoted)
    return parse(asked.stdout)


def parse(output: str) -> list[Unit]:
    """Returns the units in the output of ``systemctl show``, a block of lines for each."""
    return [
        _unit(dict(line.partition("=")[::2] for line in block.split("\n")))
        for block in output.strip("\n").split("\n\n")
        if block
    ]


def _unit(properties: Mapping[str, str]) -> Unit:
    def number(name: str) -> int:
        value = properties.get(name, "")
        return int(value) if value.isdigit() else 0

    return Unit(
        id=properties.get("Id", ""),
        load=properties.get("LoadState", ""),
        error=properties.get("LoadError", "").partition(" ")[2].strip('"'),
        active=properties.get("ActiveState", ""),
        sub=properties.get("SubState", ""),
        result=properties.get("Result", ""),
        kind=properties.get("Type", ""),
        remains=properties.get("RemainAfterExit") == "yes",
        restarts=number("NRestarts"),
        ended=number("InactiveEnterTimestampMonotonic") > 0,
        file_state=properties.get("UnitFileState", ""),
        fragment=properties.get("FragmentPath", ""),
        source=properties.get("SourcePath", ""),
        drop_ins=tuple(properties.get("DropInPaths", "").split()),
        needs_reload=properties.get("NeedDaemonReload") == "yes",
        can_reload=properties.get("CanReload") == "yes",
    )


async def systemctl(
    host: Host,
    *arguments: str,
    timeout: float | None = None,  # noqa: ASYNC109 - given to the command, not waited here
    check: bool = True,
) -> CommandResult:
    """Runs systemctl(1); raises TaskError where systemd is not running on the host."""
    argv = ("systemctl", "--no-ask-password", *arguments)
    try:
        result = await host.run(Command(argv=argv, timeout=timeout))
    except TaskTimedOut:
        raise
    except TaskError:
        await _check_booted(host)
        raise
    if check and not result.ok:
        await _check_booted(host)
        failed = command_failed(result, host=host.name)
        failed.hint = rights_hint(result)
        raise failed
    return result


async def _check_booted(host: Host) -> None:
    if await host.stat(RUNNING) is None:
        raise TaskError(
            f"systemd is not running on {host.name}, so its units cannot be managed",
            hint=f"{RUNNING} does not exist: this is another init system, a container or a chroot",
        )


async def daemon_reload(host: Host) -> None:
    """Has the manager read all unit files again."""
    await systemctl(host, "daemon-reload")


async def missing(host: Host, name: str) -> TaskError:
    """Returns the error for a unit that does not exist, with the nearest that does."""
    full = full_name(name)
    listed = await systemctl(host, "list-unit-files", "--plain", "--no-legend", "--no-pager")
    known = [short_name(line.split()[0]) for line in listed.stdout.splitlines() if line.strip()]
    near = nearest(short_name(full), known, cutoff=0.7)
    advice = f"did you mean {near!r}?" if near else "is its package installed?"
    return TaskError(f"there is no unit {full} on {host.name}", hint=advice)


async def bring_up(
    host: Host,
    name: str,
    verb: str,
    timeout: float,  # noqa: ASYNC109 - shared between the command and the looks after it
) -> None:
    """Starts, restarts or reloads a unit and returns when it is up for good.

    Has the manager reload first where its unit file has changed, and forget that it has
    failed. A unit that runs once must succeed. Raises CommandFailed with what systemd and
    the journal say of it otherwise.
    """
    [unit] = await show(host, [name])
    if unit.needs_reload:
        await daemon_reload(host)
    if unit.active == "failed":
        await systemctl(host, "reset-failed", "--", full_name(name), check=False)
    deadline = time.monotonic() + timeout
    try:
        result = await systemctl(host, verb, "--", full_name(name), timeout=timeout, check=False)
    except TaskTimedOut:
        raise await _failure(host, name, verb, f"is not up after {timeout:g} s") from None
    if not result.ok:
        raise await _failure(host, name, verb, "failed", result)
    why = await _wait_until_up(host, name, deadline)
    if why:
        raise await _failure(host, name, verb, why, result)


async def _wait_until_up(host: Host, name: str, deadline: float) -> str:
    """Returns "" when the unit is up and stays so, otherwise what became of it."""
    [before] = await show(host, [name])
    if before.runs_once:
        return "" if before.result == "success" else f"ended with {before.result}"
    while True:
        if before.is_up and before.kind not in _ACTIVE_AT_ONCE:
            return ""
        await asyncio.sleep(_SETTLE)
        [now] = await show(host, [name])
        if now.is_up and before.is_up and now.restarts == before.restarts:
            return ""
        if now.state == "failed":
            return f"ended at once with {now.result}"
        if now.state == "stopped" and before.state in ("started", "stopped"):
            return "ended at once, without an error"
        if time.monotonic() >= deadline:
            return f"does not stay up: it is {now.active} ({now.sub}), {now.restarts} restarts"
        before = now


async def discreet(host: Host, told: str, hidden: Sequence[str] = ()) -> str:
    """Returns what systemd tells, without what it quotes of unit files that are private.

    Those are the ``hidden`` and all that not everyone may read. It quotes a line of a file as
    "PATH:LINE: what is wrong with it".
    """
    quoted = {found[2] for found in map(_QUOTE.match, told.split("\n")) if found}
    for path in sorted(quoted - {*hidden}):
        stat = await host.stat(path, follow=True)
        if stat is not None and not is_private(stat.mode):
            quoted.discard(path)

    def shown(line: str) -> str:
        found = _QUOTE.match(line)
        if found is None or found[2] not in quoted:
            return line
        return f"{found[1]}{found[2]}:{found[3]}: (sensitive)"

    return "\n".join(map(shown, told.split("\n")))


async def _failure(
    host: Host, name: str, verb: str, why: str, result: CommandResult | None = None
) -> CommandFailed:
    full = full_name(name)
    status = await systemctl(
        host, "status", "--no-pager", "--full", "--lines=0", "--", full, check=False
    )
    journal = await host.command(
        "journalctl", f"--unit={full}", "--lines=20", "--no-pager", accept=range(256)
    )
    facts = {
        "host": host.name,
        "command": ["systemctl", verb, "--", full],
        **({} if result is None else {"exit code": result.exit_code}),
        **({"stderr": tail(result.stderr)} if result is not None and result.stderr else {}),
        "status": tail(status.stdout),
        "journal": await discreet(host, tail(journal.stdout)),
    }
    hint = rights_hint(result) if result is not None else ""
    return CommandFailed(f"{verb} of {full} on {host.name}: it {why}", facts=facts, hint=hint)


async def stop(
    host: Host,
    name: str,
    timeout: float,  # noqa: ASYNC109 - given to the command
) -> None:
    """Stops a unit and returns when nothing of it runs."""
    try:
        result = await systemctl(host, "stop", "--", full_name(name), timeout=timeout, check=False)
    except TaskTimedOut:
        raise await _failure(host, name, "stop", f"still runs after {timeout:g} s") from None
    if not result.ok:
        raise await _failure(host, name, "stop", "failed", result)
