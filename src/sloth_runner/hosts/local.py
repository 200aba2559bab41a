"""The machine that this program runs on, as a host."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from sloth_runner.core.address import LOCAL
from sloth_runner.core.errors import HostError
from sloth_runner.core.host import (
    LOOKING,
    Command,
    CommandResult,
    Host,
    OnOutput,
    OnStarted,
    Request,
    StartedCommand,
)
from sloth_runner.core.record import Digest
from sloth_runner.core.schema import Content
from sloth_runner.core.values import raw
from sloth_runner.hosts import primitives
from sloth_runner.hosts.answers import error_of, result_of, unwrapped
from sloth_runner.hosts.digests import Digests

T = TypeVar("T")

BATCHES = 4
"""Batches that are performed at the same time; more wait."""
COMMANDS = 64
"""Commands that run at the same time; more wait."""


class LocalHost(Host):
    """This machine. File operations and commands happen in threads, never on the loop.

    ``known`` are digests from earlier runs by path; ``rehash`` reads every file anew.
    """

    def __init__(self, *, known: Mapping[str, Digest] | None = None, rehash: bool = False) -> None:
        self.name = LOCAL
        self._digests = Digests(known or {}, rehash=rehash)
        self._batches = ThreadPoolExecutor(BATCHES, thread_name_prefix="local")
        self._commands = ThreadPoolExecutor(COMMANDS, thread_name_prefix="command")

    async def perform(self, requests: Sequence[Request]) -> list[Any]:
        """Answers ``requests`` in one thread, in order.

        When cancelled, what is under way is finished, and nothing further is begun, before
        this returns; a batch that only looks is left to itself.
        """
        stopped = threading.Event()
        future = self._batches.submit(self._perform, tuple(requests), stopped)
        only_looks = all(request.verb in LOOKING for request in requests)
        return await _finish(future, stopped.set, wait=not only_looks)

    def _perform(self, requests: Sequence[Request], stopped: threading.Event) -> list[Any]:
        answers = primitives.perform(self._digests.requests(requests), stopped.is_set)
        results = []
        for request, answer in zip(requests, answers, strict=True):
            status, value = answer
            if status != "ok":
                value = unwrapped(answer, self.name)
            elif request.verb == "stat":
                self._digests.learn(request.arguments["path"], value)
            results.append(value)
        return results

    async def run(
        self,
        command: Command,
        *,
        on_started: OnStarted | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Runs a command; see ``Host.run``. Both functions are called from another thread."""
        watched, stop = os.pipe()
        closed = threading.Event()

        def end() -> None:
            if not closed.is_set():
                closed.set()
                os.close(stop)

        try:
            future = self._commands.submit(self._run, command, on_started, on_output, watched)
            outcome = await _finish(future, end, wait=True)
        finally:
            end()
            os.close(watched)
        return result_of(outcome, command, self.name)

    def _run(
        self,
        command: Command,
        on_started: OnStarted | None,
        on_output: OnOutput | None,
        stop: int,
    ) -> dict[str, Any]:
        def started(group: int, start_time: int) -> None:
            if on_started is not None:
                on_started(StartedCommand(command.argv, group, start_time))

        try:
            return primitives.run(
                command.argv,
                stdin=command.stdin,
                env=command.env,
                cwd=command.cwd,
                user=command.user,
                timeout=command.timeout,
                on_started=started if on_started is not None else None,
                on_output=on_output,
                stop=stop,
            )
        except primitives.Refused as refused:
            raise error_of(refused.as_dict(), self.name) from None

    async def fetch(self, path: str, into: str, *, limit: int | None = None) -> Content | None:
        """Copies a file or a tree to ``into``; see ``Host.fetch``."""
        stopped = threading.Event()
        future = self._batches.submit(self._fetch, path, into, limit, stopped)
        return await _finish(future, stopped.set, wait=True)

    def _fetch(
        self, path: str, into: str, limit: int | None, stopped: threading.Event
    ) -> Content | None:
        total, size = sha256(), 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC

        def take(data: bytes) -> None:
            nonlocal size
            if stopped.is_set():
                raise primitives.Refused("ECANCELED", f"fetching {path} was stopped")
            file.write(data)
            total.update(data)
            size += len(data)

        try:
            with os.fdopen(os.open(raw(into), flags, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                kind = primitives.export(path, take, limit)
                file.flush()
                os.fsync(file.fileno())
        except primitives.Refused as refused:
            _discard(into)
            raise error_of(refused.as_dict(), self.name) from None
        except OSError as error:
            _discard(into)
            raise HostError(
                f"{into} cannot be written: {error.strerror}",
                errno_name=errno.errorcode.get(error.errno or 0, ""),
            ) from error
        if kind is None:
            _discard(into)
            return None
        return Content(sha256=total.hexdigest(), size=size, path=into)

    def new_digests(self) -> dict[str, Digest]:
        """Returns the digests that were computed since the start, by path."""
        return self._digests.new()

    def close(self) -> None:
        """Lets the threads end; nothing may be asked any more."""
        self._batches.shutdown(wait=False, cancel_futures=True)
        self._commands.shutdown(wait=False, cancel_futures=True)


async def _finish(future: Future[T], stop: Callable[[], None], *, wait: bool) -> T:
    """Returns the result of ``future``; when cancelled, stops it and awaits its end if ``wait``."""
    try:
        return await _awaited(future)
    except asyncio.CancelledError:
        stop()
        if not future.cancel() and wait:
            while not future.done():
                # A second cancellation changes nothing: what was begun has to be seen out.
                with suppress(asyncio.CancelledError, Exception):
                    await _awaited(future)
        raise


def _awaited(future: Future[T]) -> asyncio.Future[T]:
    """Returns a future of the loop with the result of a thread's; it can be cancelled alone.

    ``asyncio.wrap_future`` and ``shield`` do the same in three more turns of the loop.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[T] = loop.create_future()

    def settle() -> None:
        if waiting.cancelled():
            return
        error = future.exception()
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(future.result())

    def done(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    future.add_done_callback(done)
    return waiting


def _discard(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink(missing_ok=True)
