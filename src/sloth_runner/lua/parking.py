"""Goroutines that wait for one another: parked, woken, and noticed when nobody can wake any."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from sloth_runner.core.errors import Location

PATIENCE = 0.05
"""Seconds for which nothing must move before waiting is called a deadlock: a task that could
wake the others may be about to start."""


class Parked(Struct, frozen=True):
    """A waiting goroutine: ``what`` it waits for, and where; the answer is "" or an error."""

    future: asyncio.Future[str]
    what: str
    place: Location | None


class Parking:
    """All goroutines of a program that wait for another goroutine."""

    def __init__(self) -> None:
        self._parked: dict[int, Parked] = {}
        self._moving = 0
        self._check: asyncio.TimerHandle | None = None
        self._news: list[Callable[[], str]] = []

    def started(self) -> None:
        """Counts a goroutine that can move."""
        self._moving += 1

    def ended(self) -> None:
        """Counts one less."""
        self._moving -= 1
        self._look()

    async def park(self, number: int, what: str, place: Location | None) -> str:
        """Waits until ``wake``; returns "" or, where nobody is left to do it, what is wrong."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._parked[number] = Parked(future, what, place)
        self.ended()
        try:
            return await future
        finally:
            if self._parked.pop(number, None) is not None:
                self._moving += 1

    def wake(self, number: int) -> bool:
        """Lets a waiting goroutine go on; answers whether it was waiting."""
        parked = self._parked.pop(number, None)
        if parked is None:
            return False
        self._moving += 1
        if not parked.future.done():
            parked.future.set_result("")
        return True

    def close(self) -> None:
        """Forgets the check that may be due."""
        if self._check is not None:
            self._check.cancel()

    def _look(self) -> None:
        if self._moving == 0 and self._parked and self._check is None:
            loop = asyncio.get_running_loop()
            self._check = loop.call_later(PATIENCE, self._deadlock)

    def _deadlock(self) -> None:
        self._check = None
        if self._moving or not self._parked:
            return
        waits = [
            f"goroutine {number} at {parked.place} ({parked.what})"
            for number, parked in sorted(self._parked.items())
        ]
        shown = "; ".join(waits[:8]) + (f"; and {len(waits) - 8} more" if len(waits) > 8 else "")
        for number in list(self._parked):
            parked = self._parked.pop(number)
            self._moving += 1
            if not parked.future.done():
                parked.future.set_result(
                    f"deadlock: every goroutine waits for another one: {shown}"
                )
