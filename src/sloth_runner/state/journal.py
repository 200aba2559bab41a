"""The journal: one thread that owns the connection, and commits what waits together.

Callers hand in functions of a ``Store``. The thread takes all that wait, runs each in a
savepoint of one transaction, commits once, and only then answers: who has an answer has a
durable record. So the cost of a commit is shared by everything that happened meanwhile.
"""

import copy
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from msgspec import Struct

from sloth_runner.core.errors import Locked
from sloth_runner.state import database, failures
from sloth_runner.state.store import Store

if TYPE_CHECKING:  # Commands without a loop should not pay for it: it is most of the start-up.
    import asyncio

T = TypeVar("T")


class _Answer(Struct, frozen=True):
    value: Any = None
    error: BaseException | None = None


class _Waiter:
    """A thread that blocks until its answer is there."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._answer = _Answer()

    def set(self, answer: _Answer) -> None:
        self._answer = answer
        self._ready.set()

    def result(self) -> Any:
        self._ready.wait()
        if self._answer.error is not None:
            raise self._answer.error
        return self._answer.value


class _Job(Struct, frozen=True):
    """A function that waits, and who waits for it: a thread, or a future of a loop."""

    work: Callable[[Store], Any]
    writes: bool
    waiter: "_Waiter | asyncio.Future[Any]"


class _Lost(Exception):
    """The transaction is gone, and with it the work of everyone in it."""


class Journal:
    """One open record. Made by ``Journal.open``; every method may be called from any thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder = database.folder_of(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._fence: tuple[str, str] | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        path: str,
        *,
        create: bool = True,
        migrations: Sequence[Path] = (database.MIGRATIONS,),
    ) -> Self:
        """Opens the record at ``path``, making or migrating it where that is needed.

        Raises UsageError when there is none and ``create`` is false, RecordError when it
        is damaged, newer than this program or in a place that cannot be written, and
        Locked when another process keeps it busy.
        """
        journal = cls(str(Path(path).absolute()))
        opened = _Waiter()
        journal._thread = threading.Thread(
            target=journal._serve,
            args=(opened, create, tuple(migrations)),
            name="journal",
            daemon=True,
        )
        journal._thread.start()
        opened.result()
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def do(self, work: Callable[[Store], T]) -> T:
        """Runs ``work`` in a transaction and returns its result once that is durable.

        What ``work`` raises undoes its own writes only, and is raised here; when the
        commit fails, everyone in it gets the error. A caller that is cancelled meanwhile
        still gets its answer, so that it knows what is written; it feels the cancellation
        at the next thing that it awaits.
        """
        import asyncio

        future = self._submit_async(work, writes=True)
        cancelled = False
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                cancelled = True
        current = asyncio.current_task()
        if cancelled and current is not None:
            current.uncancel()  # the same cancellation, once more: a deadline counts them
            current.cancel()
        return future.result()

    async def read(self, work: Callable[[Store], T]) -> T:
        """Runs ``work``, which must not write, on one consistent state of the record."""
        return await self._submit_async(work, writes=False)

    def call(self, work: Callable[[Store], T]) -> T:
        """Does what ``do`` does, for a caller without an event loop."""
        return self._submit(work, writes=True)

    def look(self, work: Callable[[Store], T]) -> T:
        """Does what ``read`` does, for a caller without an event loop."""
        return self._submit(work, writes=False)

    def fence(self, stack_id: str, run_id: str) -> None:
        """From now on refuses every write once another run holds the stack; raises Locked then."""
        self._fence = (stack_id, run_id)

    def unfence(self) -> None:
        """Ends what ``fence`` began: for the moments after the run has given the stack back."""
        self._fence = None

    def close(self) -> None:
        """Finishes what waits and closes the record; safe to repeat."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _submit_async(self, work: Callable[[Store], T], *, writes: bool) -> "asyncio.Future[T]":
        import asyncio

        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Job(work, writes, future))
        return future

    def _submit(self, work: Callable[[Store], T], *, writes: bool) -> T:
        waiter = _Waiter()
        self._put(_Job(work, writes, waiter))
        result: T = waiter.result()
        return result

    def _put(self, job: _Job) -> None:
        with self._closing:
            if self._closed:
                raise RuntimeError("the journal is closed")
            self._jobs.put(job)

    # Everything below runs on the journal's own thread.

    def _serve(self, opened: _Waiter, create: bool, migrations: Sequence[Path]) -> None:
        try:
            connection = database.connect(self.path, create=create, migrations=migrations)
        except BaseException as error:
            opened.set(_Answer(error=error))
            return
        opened.set(_Answer())
        try:
            last = False
            while not last:
                jobs, last = self._waiting()
                if jobs:
                    _settle(jobs, self._batch(connection, jobs))
        finally:
            # Closing also empties the log; a failure here loses nothing that was committed.
            with suppress(sqlite3.Error):
                connection.close()

    def _waiting(self) -> tuple[list[_Job], bool]:
        """Takes all that waits, at least one; the second value says that close was called."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _batch(self, connection: sqlite3.Connection, jobs: list[_Job]) -> list[_Answer]:
        writes = any(job.writes for job in jobs)
        try:
            with failures.explaining(self.path):
                connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                try:
                    if writes:
                        self._check_fence(connection)
                    answers = [self._one(connection, job) for job in jobs]
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except BaseException as error:
            cause = error.__cause__ if isinstance(error, _Lost) else error
            # One each: whoever catches an error may write on it.
            return [_Answer(error=_twin(cause)) for _ in jobs]
        return answers

    def _one(self, connection: sqlite3.Connection, job: _Job) -> _Answer:
        store = Store(connection, writable=job.writes)
        connection.execute("SAVEPOINT job")
        try:
            with failures.explaining(self.path):
                value = job.work(store)
        except BaseException as error:
            if not connection.in_transaction:  # A full disk, for one, ends all of it.
                raise _Lost from error
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            return _Answer(error=error)
        connection.execute("RELEASE job")
        return _Answer(value=value)

    def _check_fence(self, connection: sqlite3.Connection) -> None:
        if self._fence is None:
            return
        stack_id, run_id = self._fence
        if Store(connection, writable=False).holding_run(stack_id) != run_id:
            raise Locked(
                "another run has taken the stack",
                hint="this run records nothing more; see who holds the stack with "
                '"sloth-runner stack list"',
                facts={"run": run_id},
            )


def _twin(error: BaseException | None) -> BaseException:
    twin = copy.copy(error) or RuntimeError("the transaction was lost")
    twin.__cause__ = error.__cause__ if error is not None else None
    return twin


def _settle(jobs: list[_Job], answers: list[_Answer]) -> None:
    """Gives every caller its answer, in one wake-up for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Answer]]] = {}
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(job.waiter, _Waiter):
            job.waiter.set(answer)
        else:
            by_loop.setdefault(job.waiter.get_loop(), []).append((job.waiter, answer))
    for loop, pairs in by_loop.items():
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(_answer, pairs)


def _answer(pairs: "list[tuple[asyncio.Future[Any], _Answer]]") -> None:
    for future, answer in pairs:
        if future.done():  # Its caller was cancelled.
            continue
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.value)
