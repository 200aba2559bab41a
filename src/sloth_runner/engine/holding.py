"""Holding a stack: the lock, the run's row and the fence, begun and ended together."""

import contextlib
import getpass
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping

from sloth_runner.core.errors import Cancelled
from sloth_runner.core.events import ResourceEnd
from sloth_runner.core.record import Holder, Run, RunKind, Stack, StackStatus, now
from sloth_runner.state.database import folder_of
from sloth_runner.state.journal import Journal
from sloth_runner.state.locks import StackLock
from sloth_runner.state.processes import is_alive
from sloth_runner.state.store import Store

RECENT = 10
"""The last runs of a stack, among which those are that were killed."""

Waiting = Callable[[Holder | None], None]


def who() -> str:
    """Returns USER@HOST of this process, as the record and messages name it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def ended_by(error: BaseException) -> str:
    """Returns how a run ended that ``error`` broke off, as the record calls it."""
    stopped = isinstance(error, Cancelled) or not isinstance(error, Exception)
    return "cancelled" if stopped else "failed"


def _bury(store: Store, dead: Run) -> None:
    """Records the end of a run that nobody saw: when it was last heard of, and what it did."""
    store.note_unnamed_blobs(True)
    events = store.events(dead.id)
    counts: dict[str, int] = {}
    for event in events:
        outcome = event.data.get("outcome")
        if event.type == ResourceEnd.__struct_config__.tag and isinstance(outcome, str):
            counts[outcome] = counts.get(outcome, 0) + 1
    last = events[-1].at if events else dead.started_at
    store.finish_run(dead.id, result="killed", counts=counts, at=last)


async def begin(
    journal: Journal,
    stack: Stack,
    *,
    kind: RunKind,
    command: str,
    source_hash: str = "",
    status: StackStatus | None = None,
) -> Run:
    """Begins a run on a stack whose lock is held, and lets no other run write to it.

    ``status`` is what the stack has meanwhile; None: what it had.

    Earlier runs that never ended were killed, or this one could not hold the lock.
    """

    def write(store: Store) -> Run:
        for dead in store.runs(stack.id, limit=RECENT):
            if dead.result is None:
                _bury(store, dead)
        run = store.begin_run(
            stack.id, kind=kind, who=who(), command=command, source_hash=source_hash
        )
        holder = Holder(who=who(), pid=os.getpid(), since=now(), command=command, run=run.number)
        store.set_holder(stack.id, run.id, holder)
        if status is not None:
            store.update_stack(stack.id, status=status)
        return run

    run = await journal.do(write)
    journal.fence(stack.id, run.id)
    return run


def ending(
    stack: Stack,
    run: Run,
    result: str,
    counts: Mapping[str, int],
    *,
    status: StackStatus | None = None,
    workflow: str | None = None,
) -> Callable[[Store], None]:
    """Returns what records how a run ended, and gives the stack back.

    ``status`` and ``workflow`` are what the stack has from then on; None: what it had.
    """

    def end(store: Store) -> None:
        store.finish_run(run.id, result=result, counts=dict(counts))
        if status is not None or workflow is not None:
            store.update_stack(stack.id, status=status, workflow=workflow)
        store.clear_holder(stack.id, run.id)

    return end


async def running(journal: Journal, stack: Stack) -> str | None:
    """Returns in words which live run holds a stack, None where none does."""
    holder = await journal.read(lambda store: store.holder(stack.id))
    if holder is None or not is_alive(holder.pid):
        return None
    return f"run {holder.run} of {holder.who}, process {holder.pid},"


@contextlib.asynccontextmanager
async def locked(
    journal: Journal, stack: Stack, *, db: str, wait: float, on_wait: Waiting | None = None
) -> AsyncIterator[None]:
    """Holds the lock of a stack; raises Locked, naming the holder, after ``wait`` seconds."""
    lock = StackLock(folder_of(db), stack.id, name=stack.name)
    await lock.acquire_async(
        wait=wait,
        holder=lambda: journal.look(lambda store: store.holder(stack.id)),
        on_wait=on_wait,
    )
    try:
        yield
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def held(
    journal: Journal,
    stack: Stack,
    *,
    kind: RunKind,
    command: str,
    wait: float,
    db: str,
    counts: Mapping[str, int],
) -> AsyncIterator[Run]:
    """Holds a stack for a short run that is not a workflow's.

    What ``counts`` has at its end goes into the run's row; with anything that failed, the
    run has failed.
    """
    async with locked(journal, stack, db=db, wait=wait):
        run = await begin(journal, stack, kind=kind, command=command)
        result = "ok"
        try:
            yield run
            if counts.get("failed"):
                result = "failed"
        except BaseException as error:
            result = ended_by(error)
            raise
        finally:
            await journal.do(ending(stack, run, result, counts))
