"""What the engine needs of a program, and what it gives to one: the border to the Lua layer.

The engine never sees Lua; a program never sees a store, a host or the pipeline.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from sloth_runner.core.errors import Location, SlothError
from sloth_runner.core.values import Value

MAIN = "main"
"""The first task of every program: the body of its file."""


ANNOUNCED = ("io.open", "os.remove", "os.rename", "os.tmpname")
"""What a program calls before it does it itself: with a path and a mode, a path, or two paths.

A further argument, true, says that it is a temporary file, which nobody is told of. The last
one asks for a new one of these at a path, and is called in a run only.

In a preview it does it in memory, and is answered what others would have left there
(``engine.program_files``). No workflow can name these calls.
"""


LOADING = "rl"
"""The mode of opening a Lua file to run it: what an action may have done to it is no doubt."""


def reads(arguments: Sequence[Value]) -> bool:
    """Whether the arguments of an announced call are those of opening a file only to read it."""
    return len(arguments) > 1 and str(arguments[1]).strip("b") in ("r", LOADING)


class TaskSpec(Struct, frozen=True, kw_only=True):
    """A node of the workflow's graph, as it was declared.

    ``timeout`` and ``retry_delay`` in seconds; ``retries`` is the number of attempts
    after the first; ``delegate_to`` is the host of its calls, None for the workflow's.
    ``on_failure`` says that it has something to do when it fails, which no plan can predict.
    """

    name: str
    description: str = ""
    depends_on: tuple[str, ...] = ()
    delegate_to: str | None = None
    timeout: float | None = None
    retries: int = 0
    retry_delay: float = 0.0
    tags: tuple[str, ...] = ()
    on_failure: bool = False
    location: Location | None = None


class WorkflowSpec(Struct, frozen=True, kw_only=True):
    """What the file's ``workflow{}`` call said."""

    name: str | None = None
    description: str = ""
    delegate_to: str | None = None
    location: Location | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What a call gives back to the program.

    ``value`` is the answer; where it is a table, ``text`` (if not None) is what it shows as
    text (``exec.run``: its output), and ``unknown`` names fields that cannot be known in
    this preview; ``why`` says what they depend on. ``unknown == ("*",)``: all of it.
    With ``spread``, ``value`` is a list whose items are returned one beside the other. ``open``
    names a field, a table, of which more may be known in the run than stands in it. ``skipped``
    says that an action need not be done. ``late`` names fields of a table that are seldom read.
    """

    value: Value
    text: str | None = None
    unknown: tuple[str, ...] = ()
    why: str = ""
    spread: bool = False
    open: str = ""
    skipped: bool = False
    late: tuple[str, ...] = ()


LARGE = 4 * 1024 * 1024
"""Bytes of a file that Lua opens, from which on it is not read but told by its size and time."""


class Unpredictable(Exception):
    """In a preview: the program read what cannot be known; its task goes no further.

    ``args[0]`` says where and why, for example "deploy.lua:12 (output of exec.run)".
    """


class TaskResult(Struct, frozen=True, kw_only=True):
    """How an attempt of a task ended: ``value`` is what its function returned.

    ``unpredicted`` is set in a preview that could not follow the task to its end.
    """

    value: Value = None
    skipped: bool = False
    unpredicted: str | None = None


class Context(Protocol):
    """What the calls of one attempt of one task go through. All goroutines of it share it."""

    task: str
    attempt: int
    preview: bool
    results: Mapping[str, Value]
    values: Mapping[str, Value]

    @property
    def host(self) -> str:
        """The host of calls that name none; the body of a file may choose another one."""
        ...

    async def call(
        self, function: str, arguments: Sequence[Value], location: Location | None
    ) -> Answer:
        """Performs a call of a module: a resource, an action, a query, ``stack.*``, ``state.*``.

        ``arguments`` are the Lua arguments as canonical values; ``delegate_to`` is still
        among the parameters. Raises SlothError when it fails, and Unpredictable when its
        answer cannot be known in this preview.
        """
        ...

    def functions(self) -> Sequence[str]:
        """Returns the dotted names of everything that ``call`` takes, for example "pkg.install"."""
        ...

    def wrote(self, path: str, location: Location | None) -> None:
        """Takes note of a file that was written where no call could be made before."""
        ...

    def say(self, text: str, *, level: str = "info", location: Location | None = None) -> None:
        """Publishes what the program prints or logs."""
        ...


class Program(Protocol):
    """A workflow that is being run."""

    @property
    def workflow(self) -> WorkflowSpec:
        """What the ``workflow{}`` call said; empty before ``main`` has run."""
        ...

    async def main(self, context: Context) -> TaskResult:
        """Runs the body of the file; afterwards ``tasks`` is complete."""
        ...

    @property
    def tasks(self) -> Sequence[TaskSpec]:
        """The declared tasks, in order."""
        ...

    @property
    def calls(self) -> int:
        """How many calls of modules the program has made so far."""
        ...

    def written(self, path: str) -> str | None:
        """Returns what this preview has itself written to a file of the controller; None: removed.

        Raises LookupError for a file that it has not written, and Unpredictable where it
        went on with what an earlier change may have left there.
        """
        ...

    def flush(self) -> None:
        """Lets everything reach the files that the program has written and not closed."""
        ...

    async def run(self, task: str, context: Context) -> TaskResult:
        """Runs one attempt of a task: ``when``, ``run`` and ``on_success``.

        Raises LuaFailure, or the SlothError of the call that failed and was not caught.
        """
        ...

    async def rescue(self, task: str, context: Context, error: SlothError) -> None:
        """Does what a task does once it has failed with ``error`` (``on_failure``)."""
        ...

    async def invoke(self, function: int, arguments: Sequence[Value], context: Context) -> Value:
        """Calls a function that an argument of a call held, and returns what it returns.

        Functions among arguments arrive as ``{"$function": NUMBER}``.
        """
        ...

    def interrupt(self) -> None:
        """Stops Lua code at its next instruction, from any thread; ``run`` raises Cancelled."""
        ...

    def close(self) -> None:
        """Closes every coroutine that is left; the program cannot be used any more."""
        ...


class RunSpec(Struct, frozen=True, kw_only=True):
    """Everything that a person asked of one run or plan.

    ``mode`` "apply" changes things, "plan" only previews. ``stack`` is None when the
    workflow decides it. Durations in seconds, sizes in bytes. ``seed`` and ``clock`` (seconds
    since 1970) are what random numbers and the time of the program come from, where a plan
    and its run must agree; None: as they come.
    """

    file: str
    db: str
    mode: str = "apply"
    stack: str | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    inventory: str | None = None
    parallel: int = 8
    timeout: float | None = None
    wait: float = 0.0
    max_age: float = 5.0
    rehash: bool = False
    max_preimage: int = 64 * 1024 * 1024
    argv: tuple[str, ...] = ()
    seed: int | None = None
    clock: float | None = None


def random_seed() -> int:
    """Returns a seed for the random numbers of a workflow, one that nobody can guess."""
    return int.from_bytes(os.urandom(7), "big")
