"""Stopping cleanly: nothing new starts, what is under way is finished and recorded."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, Literal, TypeVar

from sloth_runner.core.errors import Cancelled
from sloth_runner.core.events import Warned
from sloth_runner.engine.bus import Publish

T = TypeVar("T")

Ends = Literal["at once", "by deadline", "never"]

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

    async def protect(self, operation: Coroutine[Any, Any, T], ends: Ends = "by deadline") -> T:
        """Awaits ``operation``; when cancelled, waits for its end and its record first.

        ``ends`` says which cancellations it feels: all of them, all but a clean stop (so
        deadlines, and the failure of its task), or none. It feels one at the most: while it
        ends, more change nothing.
        """
        task = asyncio.ensure_future(operation)
        cancelled = False
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                if not cancelled and (ends == "at once" or (ends != "never" and not self.reason)):
                    task.cancel()
                cancelled = True
        if not cancelled:
            return task.result()
        if not task.cancelled():
            task.exception()  # it is recorded; who cancelled wants to hear of nothing else
        raise asyncio.CancelledError


@contextlib.contextmanager
def stoppable(
    stop: Stop,
    on_stop: OnStop | None,
    publish: Publish,
    at_once: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Within it, a signal asks for a clean stop of the current task, which ends as Cancelled.

    ``at_once`` is called first, from the thread that the signal arrives in. That thread never
    publishes: a reader that blocks would keep it from the second signal.
    """
    loop, current = asyncio.get_running_loop(), asyncio.current_task()

    def told(reason: str) -> None:
        publish(Warned(msg=f"{reason}: nothing new starts, what runs is finished first"))
        if current is not None:
            current.cancel()

    def stopped(reason: str) -> None:
        stop.request(reason)
        if at_once is not None:
            at_once()
        loop.call_soon_threadsafe(told, reason)

    try:
        with contextlib.nullcontext() if on_stop is None else on_stop(stopped):
            yield
    except asyncio.CancelledError:
        stop.check()
        raise


GRACE = 5.0
"""Seconds after a deadline in which the loop must turn once."""


@contextlib.contextmanager
def interrupting(interrupt: Callable[[], None], *, after: float | None) -> Iterator[None]:
    """Within it, calls ``interrupt`` from another thread when ``after`` seconds have passed.

    A deadline of the loop needs a turn of it, which busy Lua code never gives.
    """
    if after is None:
        yield
        return
    timer = threading.Timer(after, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def abandoning(abandon: Callable[[], None] | None, *, after: float | None) -> Iterator[None]:
    """Within it, calls ``abandon`` where the loop does not turn any more after a deadline.

    A function of C that Lua calls, a regular expression, or a template that never ends cannot
    be interrupted. What is only slow, such as a package manager that is waited for, lets the
    loop turn. A thread looks, and the main thread by an alarm, since either may be kept out.
    """
    if abandon is None or after is None:
        yield
        return
    loop, turned = asyncio.get_running_loop(), threading.Event()
    timer = loop.call_later(after, turned.set)

    def look() -> None:
        if not turned.wait(GRACE):
            abandon()

    def alarm(number: int, frame: FrameType | None) -> None:
        if not turned.is_set():
            abandon()

    with interrupting(look, after=after), _alarm(alarm, after=after + GRACE):
        try:
            yield
        finally:
            turned.set()
            timer.cancel()


@contextlib.contextmanager
def _alarm(handler: Callable[[int, FrameType | None], None], *, after: float) -> Iterator[None]:
    """Within it, calls ``handler`` in the main thread after some time; elsewhere does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
