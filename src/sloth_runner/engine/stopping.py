"""Stopping cleanly: nothing new starts, what is under way is finished and recorded."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sloth_runner.core.errors import Cancelled

T = TypeVar("T")


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
