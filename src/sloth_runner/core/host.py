"""The host protocol: what a machine can be asked, whatever carries the question.

A host answers a batch of requests in one call (``perform``) and runs commands (``run``).
Everything else is spelled with these two. Implementations live in ``hosts``.
"""

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, field

from sloth_runner.core.errors import CommandFailed, HostError, ReadOnly
from sloth_runner.core.schema import Content
from sloth_runner.core.values import Value


class Request(NamedTuple):
    """One primitive operation: a verb of ``hosts/primitives.py`` and its arguments."""

    verb: str
    arguments: Mapping[str, Any]


LOOKING = frozenset(
    [
        *("stat", "resolve", "read", "list", "walk", "members"),
        *("accounts", "facts", "connect", "get", "rehearse"),
    ]
)
"""The verbs that change nothing."""


class FileStat(Struct, frozen=True):
    """What ``lstat`` (or ``stat``, when following) says of a path.

    ``kind`` is "file", "directory", "link" or "other"; ``mode`` four octal digits;
    ``owner`` and ``group`` names, or decimal digits where the number has no name;
    times in nanoseconds, ``size`` in bytes; ``sha256`` only where it was asked for.
    """

    kind: str
    mode: str
    owner: str
    group: str
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    links: int
    target: str | None = None
    sha256: str | None = None


class Command(Struct, frozen=True, kw_only=True):
    """A command as an argument list; nothing here is ever given to a shell.

    ``stdin`` and the environment may hold secrets, ``argv`` must not. ``user`` runs it as
    another account. ``timeout`` in seconds ends the whole process group.
    """

    argv: tuple[str, ...]
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    timeout: float | None = None


class CommandResult(Struct, frozen=True):
    """How a command ended; ``exit_code`` is negative for a signal, as in ``subprocess``."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    elapsed: float

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


class StartedCommand(Struct, frozen=True):
    """A command that has been started and still waits for leave to go on.

    ``process_group`` and ``start_time`` (clock ticks since boot, proc(5) field 22) name it
    beyond doubt, even after a reboot of the process numbers.
    """

    argv: tuple[str, ...]
    process_group: int
    start_time: int


OnStarted = Callable[[StartedCommand], None]
OnOutput = Callable[[str, str], None]
"""Called with "stdout" or "stderr" and a line, from whatever thread reads it."""


class Host(abc.ABC):
    """A machine. Subclasses give ``perform`` and ``run``; the rest is spelled here, once."""

    name: str

    @abc.abstractmethod
    async def perform(self, requests: Sequence[Request]) -> list[Any]:
        """Answers ``requests`` in order, in one round trip.

        An answer is what the verb returns, or the HostError that it ended with: one bad
        request does not lose the others.
        """

    @abc.abstractmethod
    async def run(
        self,
        command: Command,
        *,
        on_started: OnStarted | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Runs a command to its end and returns how it ended, whatever its exit code.

        With ``on_started``, the command is held until that function has returned. Raises
        HostError if it cannot be started and TaskTimedOut after its timeout; cancelling
        ends the process group.
        """

    @abc.abstractmethod
    async def fetch(self, path: str, into: str, *, limit: int | None = None) -> Content | None:
        """Copies a file of this host, or a directory as a tar archive, to the controller.

        ``into``, the path there, is made 0600 and synced. Returns its Content (with
        ``path=into``), or None when ``path`` does not exist. Raises HostError (EFBIG) when
        it would exceed ``limit`` bytes.
        """

    @property
    def controller(self) -> "Host":
        """The machine that this program runs on, with the same leave (look, act) as this one."""
        return self

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """Performs one request; raises what it ended with."""
        [answer] = await self.perform([Request(verb, arguments)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def command(
        self,
        *argv: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - given to the command, not waited here
        accept: Sequence[int] = (0,),
    ) -> CommandResult:
        """Runs ``argv``; raises CommandFailed when its exit code is not one of ``accept``."""
        result = await self.run(Command(argv=argv, stdin=stdin, env=env or {}, timeout=timeout))
        if result.exit_code not in accept:
            raise command_failed(result, host=self.name)
        return result

    async def stat(
        self, path: str, *, follow: bool = False, digest: bool = False
    ) -> FileStat | None:
        """Returns the stat of ``path`` or None; ``digest`` adds the SHA-256 of a file."""
        answer = await self.ask("stat", path=path, follow=follow, digest=digest)
        return answer if answer is None else FileStat(**answer)

    async def stats(self, requests: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Returns the stat of many paths, asked in one go: FileStat, None or an error each."""
        if not requests:
            return []
        answers = await self.perform([Request("stat", request) for request in requests])
        return [FileStat(**a) if isinstance(a, dict) else a for a in answers]

    async def read(
        self, path: str, *, follow: bool = False, limit: int | None = None
    ) -> str | None:
        """Returns the content of a file or None; raises HostError if larger than ``limit``."""
        answer: str | None = await self.ask("read", path=path, follow=follow, limit=limit)
        return answer

    async def write(
        self,
        path: str,
        content: Content,
        *,
        mode: str | None = None,
        owner: str | None = None,
        group: str | None = None,
        validate: str | None = None,
        backup: bool = False,
        follow: bool = False,
        in_place: bool = False,
        was: str | None = None,
    ) -> dict[str, Value]:
        """Replaces a file atomically and durably (DESIGN, section 8); returns what it did.

        Unset mode and owner are kept from the file that is replaced, or are 0644 and the
        running account for a new one. ``validate`` is a command with ``%s`` for the new
        file. ``in_place`` is for bind mounts. ``was`` is the SHA-256 of what is replaced, ""
        for nothing: anything else is left alone, and an error. The answer holds "backup":
        its path or None.
        """
        answer: dict[str, Value] = await self.ask(
            "write",
            path=path,
            data=content.data,
            source=content.path,
            sha256=content.sha256,
            mode=mode,
            owner=owner,
            group=group,
            validate=validate,
            backup=backup,
            follow=follow,
            in_place=in_place,
            was=was,
        )
        return answer

    async def accounts(self) -> dict[str, Any]:
        """Returns {"users": {name: {...}}, "groups": {name: {...}}} as the host knows them."""
        answer: dict[str, Any] = await self.ask("accounts")
        return answer

    async def facts(self) -> dict[str, Value]:
        """Returns facts of the machine, gathered only when asked for."""
        answer: dict[str, Value] = await self.ask("facts")
        return answer


class ReadOnlyHost(Host):
    """A host that can be looked at and nothing else: what ``observe`` is given.

    Commands pass: a type promises that those it runs while observing only look.
    """

    def __init__(self, inner: Host) -> None:
        self.name = inner.name
        self._inner = inner

    @property
    def controller(self) -> Host:
        inner = self._inner.controller
        return self if inner is self._inner else ReadOnlyHost(inner)

    async def perform(self, requests: Sequence[Request]) -> list[Any]:
        for request in requests:
            if request.verb not in LOOKING:
                raise ReadOnly(f"{request.verb} while only looking at {self.name}")
        return await self._inner.perform(requests)

    async def run(
        self,
        command: Command,
        *,
        on_started: OnStarted | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        return await self._inner.run(command, on_started=on_started, on_output=on_output)

    async def fetch(self, path: str, into: str, *, limit: int | None = None) -> Content | None:
        return await self._inner.fetch(path, into, limit=limit)


class ActingHost(Host):
    """A host on which an operation acts: its commands are journalled before they are let go."""

    def __init__(self, inner: Host, *, on_started: OnStarted, on_output: OnOutput) -> None:
        self.name = inner.name
        self._inner = inner
        self._on_started = on_started
        self._on_output = on_output

    @property
    def controller(self) -> Host:
        inner = self._inner.controller
        if inner is self._inner:
            return self
        return ActingHost(inner, on_started=self._on_started, on_output=self._on_output)

    async def perform(self, requests: Sequence[Request]) -> list[Any]:
        return await self._inner.perform(requests)

    async def run(
        self,
        command: Command,
        *,
        on_started: OnStarted | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        return await self._inner.run(
            command,
            on_started=on_started or self._on_started,
            on_output=on_output or self._on_output,
        )

    async def fetch(self, path: str, into: str, *, limit: int | None = None) -> Content | None:
        return await self._inner.fetch(path, into, limit=limit)


def how_ended(exit_code: int) -> dict[str, Value]:
    """Returns the exit code of a command as facts; a signal has the one that a shell gives it."""
    if exit_code >= 0:
        return {"exit code": exit_code}
    import signal  # few commands end like that

    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        name = f"signal {-exit_code}"
    return {"exit code": 128 - exit_code, "signal": name}


def command_failed(result: CommandResult, *, host: str) -> CommandFailed:
    """Returns the error for a command that ended badly, with everything that it printed last."""
    how = how_ended(result.exit_code)
    code = f"ended with exit code {result.exit_code}"
    ended = f"was ended by {how['signal']}" if "signal" in how else code
    return CommandFailed(
        f"{result.argv[0]} {ended} on {host}",
        facts={
            "host": host,
            "command": list(result.argv),
            **how,
            "stderr": tail(result.stderr),
            "stdout": tail(result.stdout),
        },
    )


RIGHTS = "run as root, for example with sudo"
_NO_RIGHTS = re.compile(
    r"permission denied|access denied|are you root|not permitted", re.IGNORECASE
)


def rights_hint(result: CommandResult) -> str:
    """Returns the advice for a program that says that it may not do its work, or nothing."""
    return RIGHTS if _NO_RIGHTS.search(result.stderr) else ""


def tail(output: str, lines: int = 100) -> str:
    """Returns the last ``lines`` lines, each cut at 500 characters; says how many there were."""
    found = output.rstrip("\n").split("\n")
    left_out = len(found) - lines
    head = [f"({left_out} lines before these are left out)"] if left_out > 0 else []
    return "\n".join([*head, *(line[:500] for line in found[-lines:])])


__all__ = [
    "LOOKING",
    "ActingHost",
    "Command",
    "CommandResult",
    "FileStat",
    "Host",
    "HostError",
    "OnOutput",
    "OnStarted",
    "ReadOnlyHost",
    "Request",
    "StartedCommand",
    "command_failed",
    "tail",
]
