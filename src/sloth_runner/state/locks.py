"""The lock of a stack: one writer at a time, freed by the kernel when its process dies."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sloth_runner.core.address import escaped
from sloth_runner.core.errors import Locked
from sloth_runner.core.record import Holder
from sloth_runner.core.values import Value
from sloth_runner.state.failures import explaining_files
from sloth_runner.state.files import PRIVATE_FILE, make_folder
from sloth_runner.state.processes import is_alive

POLL_SECONDS = 0.2

Ask = Callable[[], Holder | None]
"""Finds out who holds the stack, for the one who is refused."""


class StackLock:
    """The lock of one stack, on ``<db>.d/locks/STACK.lock``; ``folder`` is ``<db>.d``.

    No child inherits it, so it goes with the process that took it, whoever that left behind.
    ``name`` is the stack's name, for the message.
    """

    def __init__(self, folder: str, stack_id: str, *, name: str = "") -> None:
        self.path = str(Path(folder) / "locks" / f"{stack_id}.lock")
        self._name = name or stack_id
        self._number: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._number is not None

    def try_acquire(self) -> bool:
        """Takes the lock if it is free, without waiting; whether it is held now."""
        if self._number is not None:
            return True
        with explaining_files(self.path):
            make_folder(str(Path(self.path).parent))
            number = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE
            )
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                current = _same_file(number, self.path)
            except BlockingIOError:
                os.close(number)
                return False
            except BaseException:
                os.close(number)
                raise
        if not current:  # The file was removed with its stack, between the two calls.
            os.close(number)
            return self.try_acquire()
        self._number = number
        return True

    def acquire(
        self,
        wait: float = 0.0,
        poll: float = POLL_SECONDS,
        *,
        holder: Ask | None = None,
        on_wait: Callable[[Holder | None], None] | None = None,
    ) -> None:
        """Takes the lock, waiting up to ``wait`` seconds; then raises Locked.

        ``on_wait`` is called once, before the first wait, with who holds it.
        """
        for pause in self._pauses(wait, poll, holder, on_wait):
            time.sleep(pause)

    async def acquire_async(
        self,
        wait: float = 0.0,
        poll: float = POLL_SECONDS,
        *,
        holder: Ask | None = None,
        on_wait: Callable[[Holder | None], None] | None = None,
    ) -> None:
        """Does what ``acquire`` does and lets the event loop go on; ``holder`` must be quick."""
        import asyncio

        for pause in self._pauses(wait, poll, holder, on_wait):
            await asyncio.sleep(pause)

    def _pauses(
        self,
        wait: float,
        poll: float,
        holder: Ask | None,
        on_wait: Callable[[Holder | None], None] | None,
    ) -> Iterator[float]:
        """Tries until it has the lock; between two tries says how many seconds to sleep."""
        deadline = time.monotonic() + wait
        told = False
        while not self.try_acquire():
            left = deadline - time.monotonic()
            who = holder() if holder and (left <= 0 or not told) else None
            if left <= 0:
                raise locked(self._name, who)
            if on_wait and not told:
                on_wait(who)
            told = True
            yield min(poll, left)

    def release(self) -> None:
        """Gives the lock back; safe to repeat."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def remove(self) -> None:
        """Gives the lock back and removes its file: the stack is gone."""
        if self._number is not None:
            Path(self.path).unlink(missing_ok=True)
        self.release()


def describe(holder: Holder | None) -> str:
    """Returns one line about a holder: who, the process, since when."""
    if holder is None:
        return "another process"
    state = "running" if is_alive(holder.pid) else "not running any more"
    return (
        f"run {holder.run} of {escaped(holder.who)}, process {holder.pid} ({state}), "
        f"since {holder.since}"
    )


def locked(name: str, holder: Holder | None) -> Locked:
    """Returns the error for a stack that somebody else holds."""
    facts: dict[str, Value] = {}
    if holder is not None:
        state = "running" if is_alive(holder.pid) else "not running any more"
        facts = {
            "held by": holder.who,
            "process": f"{holder.pid} ({state})",
            "since": holder.since,
            "run": holder.run,
            "command": holder.command,
        }
    return Locked(
        f'the stack "{escaped(name)}" is held by {describe(holder)}',
        hint="wait until it has ended: run and stack drift do with --wait 5m; nothing was changed",
        facts=facts,
    )


def _same_file(number: int, path: str) -> bool:
    try:
        named = Path(path).lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(number), named)
