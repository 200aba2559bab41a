"""Kills a run at one exact step, as ``kill -9`` would: in a child process of its own."""

import os
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import pytest

from sloth_runner.core.host import LOOKING, Request
from sloth_runner.hosts.local import LocalHost
from sloth_runner.state.journal import Journal


class Fuse:
    """Burns down by one at every step and kills the process at the end."""

    def __init__(self, step: int) -> None:
        self._left = step

    def burn(self) -> None:
        """Counts a step; the last one never returns."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def dies_at_commit(step: int, action: Callable[[], Any]) -> bool:
    """Runs ``action`` until the given step: after each commit, and before each that follows
    a change of the machine (before any other nothing is different from after the last one).

    Returns False when the action came to its end before that.
    """

    def arm(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
        commit, perform = Journal._batch, LocalHost.perform
        acted = [True]

        async def performed(self: LocalHost, requests: Sequence[Request]) -> list[Any]:
            acted[0] = acted[0] or _acts(requests)
            return await perform(self, requests)

        def batch(self: Journal, connection: Any, jobs: Any) -> Any:
            writes = any(job.writes for job in jobs)
            if writes and acted[0]:
                acted[0] = False
                fuse.burn()
            answers = commit(self, connection, jobs)
            if writes:
                fuse.burn()
            return answers

        patch.setattr(LocalHost, "perform", performed)
        patch.setattr(Journal, "_batch", batch)

    return _dies(step, action, arm)


def dies_at_write(step: int, action: Callable[[], Any]) -> bool:
    """Runs ``action`` until the given step; every change of the machine has one on each side."""

    def arm(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
        perform = LocalHost.perform

        async def performed(self: LocalHost, requests: Sequence[Request]) -> list[Any]:
            if _acts(requests):
                fuse.burn()
            answers = await perform(self, requests)
            if _acts(requests):
                fuse.burn()
            return answers

        patch.setattr(LocalHost, "perform", performed)

    return _dies(step, action, arm)


def _acts(requests: Sequence[Request]) -> bool:
    return any(request.verb not in LOOKING for request in requests)


def _dies(
    step: int,
    action: Callable[[], Any],
    arm: Callable[[pytest.MonkeyPatch, Fuse], None],
) -> bool:
    with warnings.catch_warnings():
        # The threads of the test runner are of no use to the child, which only runs the action.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(step, action, arm)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the action raised an error"
    return False


def _child(
    step: int,
    action: Callable[[], Any],
    arm: Callable[[pytest.MonkeyPatch, Fuse], None],
) -> NoReturn:
    code = 1
    try:
        arm(pytest.MonkeyPatch(), Fuse(step))
        action()
        code = 0
    finally:
        os._exit(code)
