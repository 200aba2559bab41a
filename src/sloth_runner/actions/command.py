"""``exec.run``: a command. Also ``os.execute`` and ``io.popen``, which run on the controller."""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import field, structs

from sloth_runner.core.errors import ParamError
from sloth_runner.core.host import Command, CommandResult, Host, command_failed
from sloth_runner.core.resource import Action, Function, Guard, declare
from sloth_runner.core.schema import Doc, Path, Seconds
from sloth_runner.core.values import Value

SHELL = ("/bin/sh", "-c")
"""What runs the text that the author of the workflow wrote as a command."""

_LONGEST_TITLE = 100
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@declare(
    "command",
    Function(
        name="exec.run",
        doc="Runs a command, through the shell (`cmd`) or with exactly these arguments (`argv`).",
        rename={"check": "must_succeed"},
        first="cmd",
    ),
)
class Run(Action, frozen=True, kw_only=True):
    """Runs a command on the host; without a guard, each time that it is reached.

    ``cmd`` is given to /bin/sh: the one place where a shell reads what the workflow wrote.
    Put no data into it: ``argv`` hands over any text as it is, and ``env`` and ``stdin``
    carry secrets, which arguments, that every user of the host can read, must not. The
    answer has ``stdout``, ``stderr``, ``exit_code`` and ``success``; another exit code than
    0 is an error, unless ``check = false``.

    ```lua
    exec.run("date >/tmp/sloth-sample-date")
    local who = exec.run({ argv = { "id", "-un" }, user = "nobody" })
    exec.run({ cmd = "sort -u", stdin = "b\\na\\n", timeout = "10s" })
    ```
    """

    cmd: Annotated[str | None, Doc("The command, as one writes it in a shell.")] = None
    argv: Annotated[
        tuple[str, ...] | None, Doc("The program and its arguments, passed on as they are.")
    ] = None
    creates: Annotated[Path | None, Doc("A path: where it exists, nothing is run.")] = None
    unless: Annotated[
        str | None, Doc("A command for the shell: where it succeeds, nothing is run.")
    ] = None
    onlyif: Annotated[
        str | None, Doc("A command for the shell: unless it succeeds, nothing is run.")
    ] = None
    cwd: Annotated[Path | None, Doc("The directory that it runs in.")] = None
    env: Annotated[dict[str, Value], Doc("Variables beside those of the host.", sensitive=True)] = (
        field(default_factory=dict)
    )
    user: Annotated[str | None, Doc("The account that it runs as.")] = None
    stdin: Annotated[str, Doc("What it reads from standard input.", sensitive=True)] = ""
    timeout: Annotated[
        Seconds | None, Doc("After this it is ended, with all of its process group.")
    ] = None
    must_succeed: Annotated[bool, Doc("Whether another exit code than 0 is an error.")] = True

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"cmd": "true"},
        {"argv": ["printf", "%s", "a 'b' $(c)\n\udcff"]},
        {"cmd": "exit 3", "must_succeed": False},
    )

    def __post_init__(self) -> None:
        env = {name: str(value) if _is_number(value) else value for name, value in self.env.items()}
        structs.force_setattr(self, "env", env)

    def check(self) -> None:
        """Refuses what no command can be run with; never repeats what may be secret."""
        if (self.cmd is None) == (self.argv is None):
            raise ParamError("give either cmd or argv")
        if self.argv is not None and not (self.argv and self.argv[0]):
            raise ParamError("parameter 'argv' begins with the name of a program")
        if self.cmd is not None and not self.cmd.strip():
            raise ParamError("parameter 'cmd' is empty")
        for name, value in self.env.items():
            if not _VARIABLE.fullmatch(name):
                raise ParamError(f"parameter 'env': {name!r} is not the name of a variable")
            if not isinstance(value, str):
                raise ParamError(f"parameter 'env': {name} is neither text nor a number")

    @property
    def title(self) -> str:
        return _shortened(self.cmd if self.cmd is not None else shlex.join(self.argv or ()))

    @property
    def guard(self) -> Guard:
        return Guard(creates=self.creates, unless=self.unless, onlyif=self.onlyif)

    async def guarded(self, host: Host) -> str | None:
        """Asks the guards that are commands; they see what the command itself would see."""
        if self.unless is not None and (await self._ask(host, self.unless)).ok:
            return f"unless: {_shortened(self.unless)}"
        if self.onlyif is not None and not (await self._ask(host, self.onlyif)).ok:
            return f"onlyif: {_shortened(self.onlyif)}"
        return None

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Runs it; raises CommandFailed for another exit code than 0, unless ``check`` is off."""
        argv = self.argv if self.argv is not None else (*SHELL, self.cmd or "")
        result = await host.run(self._command(argv, self.stdin))
        if self.must_succeed and not result.ok:
            raise command_failed(result, host=host.name)
        return answer(result)

    async def _ask(self, host: Host, guard: str) -> CommandResult:
        return await host.run(self._command((*SHELL, guard), ""))

    def _command(self, argv: tuple[str, ...], stdin: str) -> Command:
        return Command(
            argv=argv,
            stdin=stdin,
            env=self.env,
            cwd=self.cwd,
            user=self.user,
            timeout=self.timeout,
        )


@declare(
    "command",
    Function(
        name="os.execute",
        doc="Runs a command through the shell of the controller, as in Lua.",
        first="command",
    ),
    Function(
        name="io.popen",
        doc="Runs a command through the shell of the controller and gives its output, as in Lua.",
        first="command",
    ),
)
class Shell(Action, frozen=True, kw_only=True):
    """Runs a command as Lua's own functions do: on the controller, whatever host a task is for.

    Another exit code than 0 is no error here.

    ```lua
    local ok, how, code = os.execute("test -d /tmp")
    local name = io.popen("uname -s"):read("l")
    ```
    """

    command: Annotated[str, Doc("The command, as one writes it in a shell.")]
    stdin: Annotated[str, Doc("What it reads from standard input.", sensitive=True)] = ""

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({"command": "exit 3"},)

    @property
    def title(self) -> str:
        return _shortened(self.command)

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Runs it to its end."""
        return answer(
            await host.controller.run(Command(argv=(*SHELL, self.command), stdin=self.stdin))
        )


def answer(result: CommandResult) -> dict[str, Value]:
    """Returns how a command ended, as Lua sees it.

    A command that a signal ended has the exit code that a shell gives it (128 and its
    number), and the number as ``signal``.
    """
    signal = {"signal": -result.exit_code} if result.exit_code < 0 else {}
    return {
        "stdout": result.stdout,
        "stderr": result.stderr,
        "exit_code": 128 + signal["signal"] if signal else result.exit_code,
        "success": result.ok,
        **signal,
    }


def _shortened(command: str) -> str:
    """Returns a command in one line that fits into an address."""
    lines = command.strip().split("\n")
    first = lines[0]
    if len(lines) > 1 or len(first) > _LONGEST_TITLE:
        return f"{first[:_LONGEST_TITLE]} ..."
    return first


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
