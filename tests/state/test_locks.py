"""The lock, with real processes: whoever dies lets go, whoever is left behind holds nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sloth_runner.core.errors import Locked
from sloth_runner.core.record import Holder
from sloth_runner.state.locks import StackLock, describe
from state.builders import a_holder

HOLD = """
import subprocess, sys, time
from sloth_runner.state.locks import StackLock
lock = StackLock(sys.argv[1], "stack")
lock.acquire()
child = None
if len(sys.argv) > 2:
    child = subprocess.Popen(["sleep", "60"], close_fds=False, start_new_session=True)
print(child.pid if child else 0, flush=True)
time.sleep(60)
"""


@contextmanager
def another(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock, and the child that it has started (0: none)."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        yield process, child
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    lock = StackLock(str(tmp_path), "stack")
    with another(tmp_path):
        assert lock.try_acquire() is False
        with pytest.raises(Locked):
            lock.acquire()
        assert StackLock(str(tmp_path), "other").try_acquire() is True
    assert lock.try_acquire() is True
    assert lock.held


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    first, second = StackLock(str(tmp_path), "stack"), StackLock(str(tmp_path), "stack")
    first.acquire()
    assert second.try_acquire() is False
    first.release()
    first.release()
    assert second.try_acquire() is True


def test_kill_9_frees_the_lock_at_once(tmp_path: Path) -> None:
    with another(tmp_path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert StackLock(str(tmp_path), "stack").try_acquire() is True


def test_a_child_that_outlives_its_run_does_not_hold_the_lock(tmp_path: Path) -> None:
    with another(tmp_path, "with a child") as (process, child):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Path(f"/proc/{child}").exists()
        assert StackLock(str(tmp_path), "stack").try_acquire() is True


def test_a_killed_waiter_leaves_the_holder_alone(tmp_path: Path) -> None:
    holder = StackLock(str(tmp_path), "stack")
    holder.acquire()
    program = (
        "import sys; from sloth_runner.state.locks import StackLock;"
        "StackLock(sys.argv[1], 'stack').acquire(60, on_wait=lambda _: print('waits', flush=True))"
    )
    waiter = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == "waits\n"
    waiter.kill()
    waiter.communicate()
    assert StackLock(str(tmp_path), "stack").try_acquire() is False
    holder.release()
    assert StackLock(str(tmp_path), "stack").try_acquire() is True


def test_the_refusal_says_who_holds_it(tmp_path: Path) -> None:
    lock = StackLock(str(tmp_path), "stack", name="web")
    with another(tmp_path) as (process, _):
        with pytest.raises(Locked) as caught:
            lock.acquire(holder=lambda: a_holder(process.pid))
        error = caught.value
        assert error.exit_code == 5
        assert '"web" is held by run 7 of ana@host' in error.detail
        assert error.facts == {
            "held by": "ana@host",
            "process": f"{process.pid} (running)",
            "since": "2026-01-02T03:04:05.000006Z",
            "run": 7,
            "command": "run web",
        }
        assert "--wait" in error.hint
    assert "not running any more" in describe(a_holder(process.pid))


def test_waiting_ends_with_the_lock_or_with_the_time(tmp_path: Path) -> None:
    told: list[Holder | None] = []
    lock = StackLock(str(tmp_path), "stack")
    with another(tmp_path) as (process, _):
        began = time.monotonic()
        with pytest.raises(Locked):
            lock.acquire(0.3, 0.05, holder=a_holder, on_wait=told.append)
        assert 0.3 <= time.monotonic() - began < 5
        assert told == [a_holder()]

        async def story() -> int:
            ticks = 0
            waiting = asyncio.ensure_future(lock.acquire_async(30, 0.05, on_wait=told.append))
            while not waiting.done():
                await asyncio.sleep(0.01)
                ticks += 1
                if ticks == 10:
                    process.send_signal(signal.SIGKILL)
            await waiting
            return ticks

        assert asyncio.run(story()) >= 10
        assert lock.held
        assert told == [a_holder(), None]


def test_a_lock_that_is_removed_while_someone_waits_is_still_one_lock(tmp_path: Path) -> None:
    first, second, third = (StackLock(str(tmp_path), "stack") for _ in range(3))
    first.acquire()
    assert second.try_acquire() is False
    first.remove()
    assert not Path(first.path).exists()
    assert second.try_acquire() is True
    assert third.try_acquire() is False


def test_locks_that_are_removed_and_made_again_never_let_two_in(tmp_path: Path) -> None:
    inside, most = [], []

    def work() -> None:
        for _ in range(150):
            lock = StackLock(str(tmp_path), "stack")
            lock.acquire(60, 0.0)
            inside.append(1)
            most.append(len(inside))
            time.sleep(0)
            inside.pop()
            lock.remove()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
