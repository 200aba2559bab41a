"""Every resource type keeps every law, with each of its samples.

Types whose samples are files are tried here; the others on a booted machine, a process for
each type.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from laws.laws import LAWS, Case, of_files, tried
from machines.machine import CHECKOUT, Machine
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Declared, Resource

TYPES = sorted(registry().types.items())
FILES = [
    pytest.param(
        *(cls, sample, law),
        id=f"{name} {number} {law.__name__}",
        marks=[pytest.mark.root] if "owner" in sample else [],
    )
    for name, cls in TYPES
    if of_files(cls)
    for number, sample in enumerate(cls.samples)
    for law in LAWS
]
SYSTEM = [
    (name, f"{number} {law.__name__}")
    for name, cls in TYPES
    if not of_files(cls)
    for number, _ in enumerate(cls.samples)
    for law in LAWS
]
ENVIRONMENT = {
    "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT / 'tests'}",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets downloads reach the web site of a trial, whatever proxy is set here."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize(("cls", "sample", "law"), FILES)
def test_a_type_of_files(
    cls: type[Resource], sample: Mapping[str, Any], law: Callable[[Case], None]
) -> None:
    found = tried(cls, sample, law)
    assert not found, found


@pytest.fixture(scope="module")
def reports(machine_image: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """What each law found for each sample of a type, on a machine with a few packages."""
    known: dict[str, dict[str, str]] = {}
    with Machine(machine_image) as machine:
        machine.sh("apt-get -qy install sloth-conf")

        def report(name: str) -> dict[str, str]:
            if name not in known:
                argv = [sys.executable, "-m", "laws.laws", name]
                known[name] = json.loads(machine.run(argv, env=ENVIRONMENT, timeout=280).stdout)
            return known[name]

        yield report


@pytest.mark.parametrize(("name", "law"), SYSTEM, ids=lambda value: value)
def test_a_type_of_the_system(
    reports: Callable[[str], dict[str, str]], name: str, law: str
) -> None:
    found = reports(name)[law]
    assert not found, found


@pytest.mark.parametrize("cls", [cls for _, cls in TYPES], ids=lambda cls: cls.type)
def test_a_type_has_samples(cls: type[Declared]) -> None:
    assert cls.samples
