"""Fixtures that every test may use, and one loud line for each reason to skip some."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from machines.image import image, obstacle
from machines.machine import Machine
from machines.slot import Slot

MACHINE_FIXTURES = {"machine_image", "machine", "fresh_machine", "boot_machine"}
NO_MACHINE = "no machine: "
"""How the reasons of tests begin that are skipped where no machine can be booted."""

# Who starts the tests in the background may ignore Ctrl-C, which every command would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """Marks what asks for a machine; skips what asks for more than there is here."""
    if isinstance(item, pytest.Function) and MACHINE_FIXTURES.intersection(item.fixturenames):
        item.add_marker("machine")
    if item.get_closest_marker("machine") and (reason := obstacle()):
        item.add_marker(pytest.mark.skip(reason=NO_MACHINE + reason))
    if item.get_closest_marker("root") and os.geteuid() != 0:
        item.add_marker(pytest.mark.skip(reason="this needs root"))
    for needed in item.iter_markers("needs"):
        if shutil.which(needed.args[0]) is None:
            item.add_marker(pytest.mark.skip(reason=f"there is no {needed.args[0]} here"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line for each reason that tests were skipped, and how to get them."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.getreports("skipped")
    )
    for reason, count in skipped.most_common():
        lacking = reason.removeprefix(NO_MACHINE)
        which = "TESTS" if lacking == reason else "TESTS ON REAL HOSTS"
        terminalreporter.write_line(
            f"!!! {count} {which} SKIPPED: {lacking} !!!", red=True, bold=True
        )
