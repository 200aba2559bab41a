"""What ends a run that does not end by itself."""

import asyncio
import re
import threading
import time

import pytest

from sloth_runner.engine import stopping


def called(block: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs a loop that is blocked that long, with a deadline in it; returns what was called."""
    monkeypatch.setattr(stopping, "GRACE", 0.2)
    calls: list[str] = []

    async def run() -> None:
        with stopping.abandoning(lambda: calls.append("abandoned"), after=0.05):
            time.sleep(block)  # noqa: ASYNC251 - as a function of C that Lua has called
            await asyncio.sleep(0.4)

    asyncio.run(run())
    return calls


def test_a_run_that_hangs_in_what_cannot_be_stopped_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(called(0.5, monkeypatch)) == {"abandoned"}


def test_a_run_that_is_only_slow_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(0.1, monkeypatch) == []


class Abandoned(Exception):
    """What ends the test where a run would end its process."""


def test_a_regular_expression_that_never_ends_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping, "GRACE", 0.2)
    main = threading.main_thread()

    def abandon() -> None:
        if threading.current_thread() is main:
            raise Abandoned

    async def run() -> None:
        with stopping.abandoning(abandon, after=0.05):
            re.match("^(a+)+$", "a" * 40 + "!")

    began = time.monotonic()
    with pytest.raises(Abandoned):
        asyncio.run(run())
    assert time.monotonic() - began < 5
