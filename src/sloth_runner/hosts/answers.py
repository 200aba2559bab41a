"""Turns what the primitives give back into values and errors of this program."""

from collections.abc import Mapping
from typing import Any

from sloth_runner.core.errors import HostError, TaskError, TaskTimedOut, ValidationRejected
from sloth_runner.core.host import Command, CommandResult, how_ended, tail
from sloth_runner.core.values import Value


def unwrapped(answer: tuple[str, Any], host: str) -> Any:
    """Returns the value of an answer of ``primitives.perform``, or the error that it holds."""
    status, value = answer
    return value if status == "ok" else error_of(value, host)


def error_of(refused: Mapping[str, Any], host: str) -> TaskError:
    """Returns the error that ``Refused.as_dict`` describes."""
    facts: dict[str, Value] = {"host": host, **refused["facts"]}
    if refused["kind"] == "rejected":
        return ValidationRejected(
            refused["detail"],
            hint=refused["hint"],
            facts=facts,
            effects=tuple(refused["effects"]),
        )
    return HostError(
        refused["detail"],
        errno_name=refused["errno_name"],
        hint=refused["hint"],
        facts=facts,
        effects=tuple(refused["effects"]),
    )


def result_of(outcome: Mapping[str, Any], command: Command, host: str) -> CommandResult:
    """Returns how a command ended, from what ``primitives.run`` returned.

    Raises TaskTimedOut after its timeout, and HostError when it printed more than is kept.
    """
    facts: dict[str, Value] = {
        "host": host,
        "command": list(command.argv),
        **({} if outcome["exit_code"] is None else how_ended(outcome["exit_code"])),
        "stderr": tail(outcome["stderr"]),
        "stdout": tail(outcome["stdout"]),
    }
    name = command.argv[0]
    if outcome["ended"] == "timeout":
        raise TaskTimedOut(
            f"{name} was ended after {command.timeout:g} s, with all of its process group",
            hint="give it more time with timeout = ...",
            facts=facts,
            effects=("what it did before is not undone",),
        )
    if outcome["exit_code"] is None:
        raise HostError(
            f"{name} could not be ended: the system is holding it",
            errno_name="EBUSY",
            facts={"host": host, "command": list(command.argv)},
        )
    if outcome["overflow"]:
        raise HostError(
            f"{name} ran to its end, and printed more than can be kept",
            errno_name="EFBIG",
            hint="let it write to a file instead",
            facts=facts,
        )
    return CommandResult(
        argv=command.argv,
        exit_code=outcome["exit_code"],
        stdout=outcome["stdout"],
        stderr=outcome["stderr"],
        elapsed=outcome["elapsed"],
    )
