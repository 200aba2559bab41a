"""Fixtures that every test may use, and the one loud line when no machine can be booted here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from machines.image import image, obstacle
from machines.machine import Machine
from machines.slot import Slot

MACHINE_FIXTURES = {"machine_image", "machine", "fresh_machine", "boot_machine"}


@pytest.fixture(scope="session")
def machine_image() -> Iterator[Path]:
    """The root that machines start from; what earlier, killed test runs left is gone."""
    Slot.sweep()
    with image() as root:
        yield root


@pytest.fixture(scope="session")
def machine(machine_image: Path) -> Iterator[Machine]:
    """A booted host shared by all tests of this worker: for tests that only need a place."""
    with Machine(machine_image) as booted:
        yield booted


@pytest.fixture
def boot_machine(machine_image: Path) -> Iterator[Callable[[], Machine]]:
    """Boots as many fresh hosts as a test asks for; they end with it."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Machine(machine_image))


@pytest.fixture
def fresh_machine(boot_machine: Callable[[], Machine]) -> Machine:
    """A freshly booted host of the test's own."""
    return boot_machine()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what asks for a machine, and skips it where none can be booted."""
    if isinstance(item, pytest.Function) and MACHINE_FIXTURES.intersection(item.fixturenames):
        item.add_marker("machine")
    if item.get_closest_marker("machine") and (reason := obstacle()):
        item.add_marker(pytest.mark.skip(reason=f"no machine: {reason}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line that machine tests were skipped, and how to get them."""
    skipped = [
        report
        for report in terminalreporter.getreports("skipped")
        if "machine" in report.keywords and "no machine: " in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(
            f"!!! {len(skipped)} TESTS ON REAL HOSTS SKIPPED: {obstacle()} !!!", red=True, bold=True
        )
