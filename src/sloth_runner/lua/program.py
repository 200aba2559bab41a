"""A workflow in Lua, as the engine knows it (``engine.program.Program``)."""

import itertools
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sloth_runner.core.errors import Location, SlothError, SyntaxMistake, UsageError
from sloth_runner.core.values import Value, text
from sloth_runner.engine.program import (
    MAIN,
    Context,
    TaskResult,
    TaskSpec,
    Unpredictable,
    WorkflowSpec,
    random_seed,
)
from sloth_runner.engine.stopping import interrupting
from sloth_runner.lua import codec
from sloth_runner.lua.declarations import Declarations, Declared
from sloth_runner.lua.driver import Attempt, Ended, Shared
from sloth_runner.lua.errors import Errors
from sloth_runner.lua.interpreter import Interpreter
from sloth_runner.lua.parking import Parking

MEMORY = 512 * 1024 * 1024
"""How much memory a workflow may use, in bytes."""

STRETCH = 5.0
"""Seconds for which a function that Python calls may compute from one of its calls to the next.

It belongs to no task whose deadline could end it: what is recorded is also looked at without one.
"""


class LuaProgram:
    """A loaded file. Its body has not run yet: that is the task ``main``.

    ``mode`` is "apply" or "plan", in which writes of Lua stay in memory.
    """

    def __init__(self, interpreter: Interpreter, *, name: str, max_stretch: float) -> None:
        self._interpreter = interpreter
        self._stretch = max_stretch
        self._top = interpreter.place(name, 1)
        self._calls = 0
        self._numbers = itertools.count(1)
        self._declarations = Declarations()
        self._shared = Shared(
            interpreter=interpreter,
            parking=Parking(),
            declarations=self._declarations,
            counted=self._counted,
        )

    @classmethod
    def load(
        cls,
        path: str,
        *,
        max_memory: int = MEMORY,
        max_stretch: float = STRETCH,
        mode: str = "apply",
        seed: int | None = None,
        clock: float | None = None,
    ) -> "LuaProgram":
        """Reads and compiles the file at ``path``; nothing of it is run.

        ``max_memory`` in bytes, ``max_stretch`` in seconds (``STRETCH``). ``seed`` is that of
        ``math.random`` (None: another each time), ``clock`` what ``os.time`` answers, in
        seconds since 1970 (None: the real time). Raises UsageError for a file that cannot be
        read, and SyntaxMistake or WorkflowError with the place of a mistake in its syntax, or
        in the graph of the tasks that are written out.
        """
        full = posixpath.normpath(posixpath.join(str(Path.cwd()), path))
        try:
            source = Path(full).read_bytes()
        except OSError as error:
            raise UsageError(
                f"{path}: {error.strerror}", hint="a workflow is a .lua or .sloth file"
            ) from None
        interpreter = Interpreter(
            folder=posixpath.dirname(full),
            plan=mode == "plan",
            max_memory=max_memory,
            seed=random_seed() if seed is None else seed,
            clock=clock,
        )
        name = posixpath.basename(full)
        why = interpreter.compile(source, name)
        if why is not None:
            raise _syntax_error(why, full)
        if b"depends_on" in source:  # only then the parser has to be loaded for it
            from sloth_runner.lua.graphs import refuse_broken

            refuse_broken(source, full)
        return cls(interpreter, name=name, max_stretch=max_stretch)

    @property
    def workflow(self) -> WorkflowSpec:
        """What the ``workflow{}`` call said; empty before ``main`` has run."""
        return self._declarations.workflow

    @property
    def tasks(self) -> Sequence[TaskSpec]:
        """The declared tasks, in order."""
        return [declared.spec for declared in self._declarations.tasks.values()]

    @property
    def calls(self) -> int:
        """How many calls of modules the program has made so far."""
        return self._calls

    def written(self, path: str) -> str | None:
        """Returns what this preview wrote to a file itself (``engine.program.Program``)."""
        found = self._interpreter.written(path)
        if found is None:
            raise LookupError(path)
        if found is True:
            raise Unpredictable(path)
        return None if found is False else text(found)

    def flush(self) -> None:
        """Lets what the program has written and not closed reach its files."""
        self._interpreter.flush()

    async def main(self, context: Context) -> TaskResult:
        """Runs the body of the file; afterwards ``tasks`` is complete.

        Raises LuaFailure, or the SlothError of a call or declaration that was not caught.
        """
        info = {
            "hooks": {},
            "functions": list(context.functions()),
            "values": dict(context.values),
        }
        try:
            ended = await self._attempt("main", context, info, self._top, None)
        finally:
            self._declarations.open = False
        return _result(ended)

    async def run(self, task: str, context: Context) -> TaskResult:
        """Runs one attempt of a task: ``when``, ``run`` and ``on_success``.

        Raises LuaFailure, or the SlothError of the call that failed and was not caught.
        """
        return _result(await self._hooks("task", task, context, {}))

    async def rescue(self, task: str, context: Context, error: SlothError) -> None:
        """Runs ``on_failure``, with ``error`` or the very value that Lua raised for it."""
        seen = Errors(self._interpreter).fields(error)
        await self._hooks("rescue", task, context, {"error": seen})

    async def _hooks(
        self, kind: str, task: str, context: Context, given: Mapping[str, Value]
    ) -> Ended:
        """Runs what a task declared, for as long as an attempt of it may take."""
        declared: Declared = self._declarations.tasks[task]
        spec = declared.spec
        info = {"hooks": dict(declared.hooks), "when": declared.when, **given}
        return await self._attempt(kind, context, info, spec.location, spec.timeout)

    async def invoke(self, function: int, arguments: Sequence[Value], context: Context) -> Value:
        """Calls a Lua function that a call kept (``{"$function": number}``); returns its value.

        Raises LuaFailure, or the SlothError of a call in it that failed and was not caught.
        """
        number = next(self._numbers)
        thread = self._interpreter.thread("invoke", number, function, codec.encode(list(arguments)))
        attempt = Attempt(self._shared, number, context, None, stretch=self._stretch)
        try:
            return (await attempt.run(thread)).value
        finally:
            self._interpreter.lower(number)

    def interrupt(self) -> None:
        """Stops Lua code at its next instruction, from any thread; ``run`` raises Cancelled."""
        self._interpreter.interrupt()

    def close(self) -> None:
        """Forgets what is left; coroutines are closed where their task ends."""
        self._shared.parking.close()
        self._interpreter.flush()
        self._interpreter.interrupt()

    async def _attempt(
        self,
        kind: str,
        context: Context,
        info: dict[str, Value],
        place: Location | None,
        deadline: float | None,
    ) -> Ended:
        number = next(self._numbers)
        info |= {
            "host": context.host,
            "attempt": context.attempt,
            "task": context.task or MAIN,
            "preview": context.preview,
        }
        thread = self._interpreter.thread(kind, number, codec.encode(info))
        with self._deadline(number, deadline):
            return await Attempt(self._shared, number, context, place).run(thread)

    @contextmanager
    def _deadline(self, number: int, timeout: float | None) -> Iterator[None]:
        """Stops the Lua code of an attempt after its timeout, in seconds."""
        try:
            with interrupting(partial(self._interpreter.interrupt, number), after=timeout):
                yield
        finally:
            self._interpreter.lower(number)

    def _counted(self) -> None:
        self._calls += 1


def _result(ended: Ended) -> TaskResult:
    return TaskResult(value=ended.value, skipped=ended.skipped, unpredicted=ended.unpredicted)


def _syntax_error(why: str, file: str) -> SyntaxMistake:
    found = re.fullmatch(r"(?s)[^\n]*?:(\d+): (.*)", why)
    if found is None:
        return SyntaxMistake(why, location=Location(file, 1))
    return SyntaxMistake(found[2], location=Location(file, int(found[1])))
