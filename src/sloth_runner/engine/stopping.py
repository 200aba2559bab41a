"""Stopping cleanly: nothing new starts, what is under way is finished and recorded."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from sloth_runner.core.errors import Cancelled

T = TypeVar("T")

OnStop = Callable[[Callable[[str], None]], contextlib.AbstractContextManager[object]]
"""Given what a stop calls, with its reason, returns the context in which signals call it."""


class Stop:
    """Says to everybody in a run that it is to stop. ``reason`` is "" while it goes on."""

    def __init__(self) -> None:
        self.reason = ""

    def request(self, reason: str) -> None:
        """Asks for a clean stop; the first reason stays."""
        self.reason = self.reason or reason

    def check(self) -> None:
        """Raises Cancelled once a stop was asked for: nothing new may start."""
        if self.reason:
            raise Cancelled(self.reason)

    async def protect(self, operation: Coroutine[Any, Any, T]) -> T:
        """Awaits ``operation``; when cancelled by a clean stop, waits for its end first.

        Any other cancellation (a deadline) ends the operation too, and waits until that
        is recorded.
        """
        task = asyncio.ensure_future(operation)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.reason:
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            raise


@contextlib.contextmanager
def stoppable(
    stop: Stop, on_stop: OnStop | None, at_once: Callable[[], None] | None = None
) -> Iterator[None]:
    """Within it, a signal asks for a clean stop of the current task, which ends as Cancelled.

    ``at_once`` is called first, from the thread that the signal arrives in.
    """
    loop, current = asyncio.get_running_loop(), asyncio.current_task()

    def stopped(reason: str) -> None:
        stop.request(reason)
        if at_once is not None:
            at_once()
        if current is not None:
            loop.call_soon_threadsafe(current.cancel)

    try:
        with contextlib.nullcontext() if on_stop is None else on_stop(stopped):
            yield
    except asyncio.CancelledError:
        stop.check()
        raise
