"""Drives the coroutines of Lua: carries out what they ask for, and resumes them with the answer.

A crossing whose answer is there at once takes no turn of the event loop.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lupa import lua54
from msgspec import Struct

from sloth_runner.core import schema
from sloth_runner.core.errors import (
    Cancelled,
    Location,
    LuaFailure,
    SlothError,
    TaskTimedOut,
)
from sloth_runner.core.values import Value, raw, text
from sloth_runner.engine.program import ANNOUNCED, Answer, Context, Unpredictable, reads
from sloth_runner.lua import codec, pure
from sloth_runner.lua.declarations import Declarations
from sloth_runner.lua.errors import Errors
from sloth_runner.lua.interpreter import Interpreter, OutOfMemory, Reply, Thread
from sloth_runner.lua.parking import Parking

VALUE, ANSWER, TEXT, COMPLAINT, PARTLY = 0, 1, 3, 6, 7
"""How a coroutine is resumed; the statuses are settled in ``prelude/coroutines.lua``."""

TURN = 0.01
"""Seconds after which other tasks get a turn, where a task makes calls that never wait."""

Request = tuple[Any, ...]


class Ended(Struct, frozen=True, kw_only=True):
    """How a coroutine ended: with a value, skipped by ``when``, or not predicted to its end."""

    value: Value = None
    skipped: bool = False
    unpredicted: str | None = None


class Shared(Struct, frozen=True, kw_only=True):
    """What all attempts of a program share."""

    interpreter: Interpreter
    parking: Parking
    declarations: Declarations
    counted: Callable[[], None]


class Attempt:
    """One attempt of a task: its first coroutine and the goroutines that it spawned.

    ``stretch`` is for how many seconds Lua may compute from one call to the next.
    """

    def __init__(
        self,
        shared: Shared,
        number: int,
        context: Context,
        place: Location | None,
        *,
        stretch: float | None = None,
    ) -> None:
        self.number = number
        self._stretch = stretch
        self._shared = shared
        self._interpreter = shared.interpreter
        self._context = context
        self._place = place
        self._errors = Errors(self._interpreter)
        self._error: Exception | None = None
        self._unpredicted: str | None = None
        self._children: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._result = Ended()
        self._turn = time.monotonic()
        self._at_once: Mapping[bytes, Callable[[Request], Reply]] = {
            b"say": self._say,
            b"pure": self._pure,
            b"declare": self._declare,
            b"results": self._results,
            b"spawn": self._spawn,
            b"wake": self._wake,
            b"drain": self._drain,
        }
        self._later: Mapping[bytes, Callable[[Request], Awaitable[Reply]]] = {
            b"call": self._call,
            b"park": self._park,
            b"sleep": self._sleep,
        }

    async def run(self, thread: Thread) -> Ended:
        """Runs to its end ``thread``, and every goroutine that it has started.

        Raises LuaFailure, the SlothError that a call raised, Cancelled or TaskTimedOut.
        """
        async with self._group:
            self._start(thread, first=True)
        if self._error is not None:
            raise self._error
        if self._unpredicted is not None:
            return Ended(unpredicted=self._unpredicted)
        unclaimed = self._interpreter.unclaimed(self.number)
        if unclaimed is not None:
            raise self._errors.raised(unclaimed, self._place)
        return self._result

    def _start(self, thread: Thread, *, first: bool = False) -> None:
        self._shared.parking.started()
        child = self._group.create_task(self._child(thread, first=first))
        self._children.add(child)
        child.add_done_callback(self._gone)

    def _gone(self, child: asyncio.Task[None]) -> None:
        self._children.discard(child)
        self._shared.parking.ended()

    async def _child(self, thread: Thread, *, first: bool) -> None:
        """Runs one coroutine; a failure or a stop ends all the others of the attempt."""
        try:
            ended = await self._drive(thread)
        except Exception as error:  # kept, and raised by run() when all the others have ended
            self._error = self._error or error
            self._end_others()
            return
        if ended.unpredicted is not None:
            self._unpredicted = self._unpredicted or ended.unpredicted
            self._end_others()
        elif first:
            self._result = ended

    def _end_others(self) -> None:
        current = asyncio.current_task()
        for child in self._children:
            if child is not current:
                child.cancel()

    async def _drive(self, thread: Thread) -> Ended:
        reply: Reply = None
        ended = False
        try:
            while True:
                if self._stretch is not None:
                    self._interpreter.allow(self.number, self._stretch)
                try:
                    request = self._interpreter.resume(thread, reply)
                except (lua54.LuaError, OutOfMemory) as error:
                    await self._check_interrupted()
                    request = self._halted(error)
                if self._interpreter.is_raised(self.number):
                    await self._check_interrupted()
                operation = request[0]
                at_once = self._at_once.get(operation)
                if at_once is not None:
                    reply = at_once(request)
                elif operation in self._later:
                    reply = await self._later[operation](request)
                else:
                    ended = operation != b"stop"
                    return self._ended(request)
                if time.monotonic() - self._turn > TURN:
                    await asyncio.sleep(0)
                    self._turn = time.monotonic()
        except Unpredictable as stop:
            return Ended(unpredicted=str(stop.args[0]) if stop.args else "a call")
        finally:
            if not ended:
                self._drain((b"drain", self._interpreter.close_thread(thread)))

    async def _check_interrupted(self) -> None:
        """Raises Cancelled, TaskTimedOut or LuaFailure where Lua was stopped from outside."""
        if not self._interpreter.is_raised(self.number):
            return
        # A stop was asked for or a deadline has passed while Lua ran: who set it goes first.
        for _ in range(3):
            await asyncio.sleep(0)
        if self._interpreter.interrupted:
            raise Cancelled(f"task {self._context.task!r} was stopped", location=self._place)
        if self._stretch is not None:
            raise LuaFailure(
                f"a function of {self._context.task} computed for {self._stretch:g} s "
                "without making a call",
                location=self._place,
                hint="while Lua computes, every other task waits",
            )
        raise TaskTimedOut(
            f"task {self._context.task!r} did not end before its deadline", location=self._place
        )

    def _halted(self, error: Exception) -> Request:
        """Returns the stop of a preview that could not yield; raises what else broke Lua off."""
        stopped = self._interpreter.stopped(self.number)
        if stopped is None:
            raise self._broken(error) from None
        return (b"stop", *stopped)

    def _broken(self, error: Exception) -> SlothError:
        words = str(error)
        if isinstance(error, OutOfMemory | MemoryError) or "not enough memory" in words:
            return LuaFailure(
                "not enough memory",
                location=self._place,
                hint=f"a workflow may use {self._interpreter.limit // 1024**2} MiB",
            )
        return LuaFailure(words, location=self._place)

    def _ended(self, request: Request) -> Ended:
        operation = request[0]
        data: bytes | None = request[1] if len(request) > 1 else None
        if operation == b"failed" and data is not None:
            raise self._errors.raised(data, self._place)
        if operation == b"stop":
            why = text(request[3]) if len(request) > 3 and request[3] else ""
            place = self._at(request[1], request[2]) or self._place
            return Ended(unpredicted=f"{place} ({why})" if why else str(place))
        return Ended(
            value=None if data is None else codec.decode(data), skipped=operation == b"skipped"
        )

    # What Lua asks for. A request is the name of the operation and its arguments.

    async def _call(self, request: Request) -> Reply:
        _, name, data, file, line = request
        function = name.decode()
        location = self._at(file, line) or self._place
        arguments = codec.decode(data)
        if function not in ANNOUNCED or not reads(arguments):  # to read a file is no work
            self._shared.counted()
        try:
            answer = await self._context.call(function, arguments, location)
        except SlothError as error:
            error.location = error.location or location
            return self._errors.reply(error)
        return _reply(answer)

    async def _park(self, request: Request) -> Reply:
        _, number, what, file, line = request
        why = await self._shared.parking.park(number, text(what), self._at(file, line))
        return (COMPLAINT, why.encode()) if why else (VALUE,)

    async def _sleep(self, request: Request) -> Reply:
        try:
            seconds = schema.seconds(codec.decode(request[1]))
        except schema.WrongValue as wrong:
            return (COMPLAINT, f"goroutine.sleep: {wrong}".encode())
        if not self._context.preview:
            await asyncio.sleep(seconds)
        return (VALUE,)

    def _spawn(self, request: Request) -> Reply:
        self._start(self._interpreter.thread("go", self.number, request[1]))
        return (VALUE,)

    def _wake(self, request: Request) -> Reply:
        return (VALUE, codec.encode(self._shared.parking.wake(request[1])))

    def _say(self, request: Request) -> Reply:
        _, level, said, file, line = request
        self._context.say(text(said), level=level.decode(), location=self._at(file, line))
        return (VALUE,)

    def _drain(self, request: Request) -> Reply:
        for item in codec.decode(request[1]) if request[1] else ():
            if item[0] == "wake":
                self._shared.parking.wake(item[1])
                continue
            what, said, file, line = item
            location = self._at(None if file is None else raw(file), line)
            if what == "wrote":
                self._shared.counted()
                self._context.wrote(said, location)
            else:
                self._context.say(said, level=what, location=location)
        return (VALUE,)

    def _pure(self, request: Request) -> Reply:
        try:
            value = pure.call(request[1].decode(), codec.decode(request[2]))
        except SlothError as error:
            return self._errors.reply(error)
        return (TEXT, raw(value)) if isinstance(value, str) else _reply(Answer(value=value))

    def _declare(self, request: Request) -> Reply:
        try:
            self._shared.declarations.add(
                codec.decode(request[1]), self._at(request[2], request[3])
            )
        except SlothError as error:
            return self._errors.reply(error)
        return (VALUE,)

    def _at(self, file: bytes | None, line: int | None) -> Location | None:
        return self._interpreter.place(text(file), line) if file and line else None

    def _results(self, request: Request) -> Reply:
        return (VALUE, codec.encode(dict(self._context.results)))


def _reply(answer: Answer) -> Reply:
    if answer.late:
        rest = {name: answer.value[name] for name in answer.late}
        head = {name: answer.value[name] for name in answer.value if name not in rest}
        return (PARTLY, codec.encode(head), codec.encode(rest))
    if answer.text is None and not (answer.unknown or answer.spread or answer.open):
        return (VALUE,) if answer.value is None else (VALUE, codec.encode(answer.value))
    return (
        ANSWER,
        codec.encode(
            {
                "value": answer.value,
                "text": None if answer.text is None else answer.text.removesuffix("\n"),
                "unknown": list(answer.unknown) or None,
                "why": answer.why,
                "spread": answer.spread,
                "open": answer.open or None,
            }
        ),
    )
