"""One Lua interpreter: sandboxed, bounded in memory, interruptible from any thread."""

import functools
import posixpath
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lupa import lua54

from sloth_runner.core.errors import Location
from sloth_runner.core.values import raw
from sloth_runner.engine.program import LARGE

PARTS = (
    "codec",
    "errors",
    "coroutines",
    "answers",
    "sandbox",
    "goroutines",
    "tasks",
    "modules",
    "handles",
    "overlay",
    "files",
)
HEADROOM = 1024 * 1024
"""What a crossing may need beside its value, in bytes."""
RESERVE = 8 * HEADROOM
"""How far a program may creep over its limit by crossing at the brim, in bytes."""
_LIFTED = 1 << 46
_EVERYTHING = 0

Reply = tuple[Any, ...] | None


class OutOfMemory(Exception):
    """A coroutine that can only be closed: the program is far over its limit."""


class Thread:
    """A top coroutine of Lua: a task, a goroutine or a function that Python calls."""

    __slots__ = ("coroutine", "send")

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.send: Callable[[Any], Any] = coroutine.send


class Interpreter:
    """Loads the prelude and a program, and resumes coroutines.

    Nothing of Python is reachable in it but a function that the hook asks whether to stop;
    only byte strings and numbers cross. The memory limit holds while Lua runs; while Python
    does, it is lifted, because an allocation that fails there aborts the process.
    """

    def __init__(
        self, *, folder: str, plan: bool, max_memory: int, seed: int, clock: float | None
    ) -> None:
        self._folder = folder
        self._paths: dict[str, str] = {}
        self._limit = max_memory
        self._raised: set[int] = set()
        self._until: dict[int, float] = {}
        self._runtime = lua54.LuaRuntime(
            encoding=None,
            source_encoding="utf-8",
            attribute_filter=_refuse,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            max_memory=_LIFTED,
        )
        sources = [_source(name) for name in PARTS]
        (
            self._entry,
            self._compile,
            self._close,
            self._stopped,
            self._unclaimed,
            self._written,
            self._flush,
        ) = self._runtime.execute(
            _source("prelude"),
            self._is_due,
            plan,
            raw(folder),
            raw(str(Path.cwd())),
            seed,
            clock,
            LARGE,
            len(sources),
            *sources,
            name="=(sloth-runner)",
            mode="t",
        )

    @property
    def limit(self) -> int:
        """How much memory the program may use, in bytes."""
        return self._limit

    @property
    def interrupted(self) -> bool:
        """Whether everything is to stop."""
        return _EVERYTHING in self._raised

    def place(self, file: str, line: int) -> Location:
        """Returns the place of a line; ``file`` is as Lua names it, from the workflow's folder."""
        path = self._paths.get(file)
        if path is None:
            path = self._paths[file] = posixpath.join(self._folder, file)
        return Location(path, line)

    def spelled(self, location: Location) -> str:
        """Returns the file of a place as Lua names it: the inverse of ``place``."""
        return location.file.removeprefix(self._folder.rstrip("/") + "/")

    def interrupt(self, number: int = _EVERYTHING) -> None:
        """Stops an attempt, or everything, at the next look of the hook; from any thread."""
        self._raised.add(number)

    def allow(self, number: int, seconds: float) -> None:
        """Stops an attempt once this thread has been at work for some more seconds."""
        self._until[number] = time.thread_time() + seconds

    def is_raised(self, number: int) -> bool:
        """Whether an attempt, or everything, is to stop."""
        return bool(self._raised or self._until) and (self._is_due(number) or self.interrupted)

    def lower(self, number: int) -> None:
        """Forgets that an attempt was to stop."""
        self._raised.discard(number)
        self._until.pop(number, None)

    def _is_due(self, number: int) -> bool:
        """Whether that number was interrupted, or has used up its time: what the hook asks."""
        if number in self._raised:
            return True
        until = self._until.get(number)
        return until is not None and time.thread_time() > until

    def compile(self, source: bytes, name: str) -> str | None:
        """Compiles the program; returns what is wrong with it, in Lua's words, or None."""
        why = self._compile(source, raw(name))
        return None if why is None else why.decode("utf-8", "replace")

    def thread(self, kind: str, number: int, first: Any = None, second: Any = None) -> Thread:
        """Makes a coroutine that runs ``kind`` for the attempt with that number."""
        return Thread(self._entry.coroutine(kind.encode(), number, first, second))

    def resume(self, thread: Thread, reply: Reply) -> tuple[Any, ...]:
        """Runs ``thread`` until its next operation, which is returned.

        Raises lua54.LuaError where even the prelude could not go on, and OutOfMemory when
        the limit is exceeded for good.
        """
        runtime = self._runtime
        size = 0 if reply is None else sum(map(len, reply[1:]))
        limit = self._limit
        if runtime.get_memory_used(True) + size + HEADROOM > limit:
            reply, limit = self._at_the_brim(reply, size)
        runtime.set_max_memory(limit, True)
        try:
            request = thread.send(reply)
        except StopIteration:
            return (b"done",)
        finally:
            runtime.set_max_memory(_LIFTED, True)
        return request if type(request) is tuple else (request,)

    def close_thread(self, thread: Thread) -> bytes | None:
        """Closes a coroutine for good; its ``<close>`` variables run, for a limited time.

        Returns what it had to say and could not, encoded.
        """
        try:
            result: bytes | None = self._bounded(self._close, thread.coroutine)
        except lua54.LuaError:
            return None
        return result

    def stopped(self, number: int) -> tuple[bytes | None, int | None, bytes] | None:
        """Returns file, line and reason where an attempt was stopped without a yield."""
        found: tuple[bytes | None, int | None, bytes] | None = self._stopped(number)
        return found

    def unclaimed(self, number: int) -> bytes | None:
        """Returns the failure of a goroutine that nobody waited for, encoded."""
        found: bytes | None = self._bounded(self._unclaimed, number)
        return found

    def written(self, path: str) -> bytes | bool | None:
        """Returns what a preview wrote to a path: None for nothing, False for removed.

        True where it went on with what cannot be known. The limit of memory is lifted meanwhile.
        """
        found: bytes | bool | None = self._written(raw(path))
        return found

    def flush(self) -> None:
        """Lets what the program has written and not closed reach its files."""
        self._flush()

    def _bounded(self, function: Any, *arguments: Any) -> Any:
        """Calls a function of the prelude that may run what a workflow wrote."""
        runtime = self._runtime
        runtime.set_max_memory(max(self._limit, runtime.get_memory_used(True)) + HEADROOM, True)
        try:
            return function(*arguments)
        finally:
            runtime.set_max_memory(_LIFTED, True)

    def _at_the_brim(self, reply: Reply, size: int) -> tuple[Reply, int]:
        """Makes room; where there is none, the answer becomes an error and a little room."""
        runtime, limit = self._runtime, self._limit
        runtime.gccollect()
        used = runtime.get_memory_used(True)
        if used + size + HEADROOM <= limit:
            return reply, limit
        if used > limit + RESERVE:
            raise OutOfMemory
        return (None if reply is None else (5,)), max(limit, used + HEADROOM)


def _refuse(_object: object, name: object, _setting: bool) -> str:
    raise AttributeError(name)


@functools.cache
def _source(name: str) -> bytes:
    return (Path(__file__).with_name("prelude") / f"{name}.lua").read_bytes()
