"""A journal for each store that the conformance suite holds to its promises."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sloth_runner.core.record import Run, Stack
from sloth_runner.state.journal import Journal


def _sqlite(folder: Path) -> Journal:
    return Journal.open(str(folder / "record" / "stacks.db"))


STORES: dict[str, Callable[[Path], Journal]] = {"sqlite": _sqlite}


@pytest.fixture(params=sorted(STORES))
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """An empty record."""
    with STORES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def stack(journal: Journal) -> Stack:
    """A stack in it."""
    return journal.call(lambda store: store.create_stack("web", version="0.1"))


@pytest.fixture
def run(journal: Journal, stack: Stack) -> Run:
    """The first run of the stack."""
    return journal.call(
        lambda store: store.begin_run(
            stack.id, kind="run", who="ana", command="run web", source_hash="h"
        )
    )


@pytest.fixture
def umask_000() -> Iterator[None]:
    """A process that takes no permission away by itself."""
    old = os.umask(0)
    yield
    os.umask(old)
