"""Where benchmarks run: on a booted machine of the test suite, or right here."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent
SLOTH = str(Path(sys.prefix, "bin/sloth-runner"))
PYTHON = (sys.executable, "-I", "-S")
"""How the floor and the meter are run: the same interpreter, with nothing loaded beside it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Argv = Sequence[str]


class Place(Protocol):
    """Somewhere that files are written and commands run, all below ``folder``."""

    folder: str

    def write(self, path: str, text: str) -> None: ...

    def run(self, argv: Argv, text: str = "") -> str: ...


class Here:
    """This machine; ``folder`` is thrown away afterwards."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def write(self, path: str, text: str) -> None:
        """Writes a file, and the folders above it."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)

    def run(self, argv: Argv, text: str = "") -> str:
        """Runs a command and returns its output."""
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, env=environment(self)
        )
        return _output(argv, done)


class Inside:
    """A booted machine (``machines.machine``)."""

    folder = "/var/bench"

    def __init__(self, machine: Any) -> None:
        self._machine = machine

    def write(self, path: str, text: str) -> None:
        """Writes a file inside, and the folders above it."""
        self._machine.write(path, text)

    def run(self, argv: Argv, text: str = "") -> str:
        """Runs a command inside and returns its output."""
        done = self._machine.run(
            list(argv), check=False, input=text, env=environment(self), timeout=3600
        )
        return _output(argv, done)


def _output(argv: Argv, done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode:
        last = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{argv} ended with {done.returncode}: {last}")
    return done.stdout


@contextmanager
def here() -> Iterator[Place]:
    """Gives this machine, with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="sloth-bench-", dir="/var/tmp") as folder:
        yield Here(folder)


@contextmanager
def inside() -> Iterator[Place]:
    """Boots a machine and gives it; it is gone afterwards."""
    from machines.image import image
    from machines.machine import Machine

    with image() as root, Machine(root) as machine:
        yield Inside(machine)


def environment(place: Place) -> dict[str, str]:
    """Returns the variables of every measured command; compiled modules are kept in the place."""
    return {
        "PATH": PATH,
        "HOME": place.folder,
        "LANG": "C.UTF-8",
        "PYTHONPYCACHEPREFIX": f"{place.folder}/compiled",
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What the runs of one command cost: seconds and MB, run by run."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    mb: tuple[float, ...]


def measure(
    place: Place,
    commands: Mapping[str, Argv],
    *,
    rounds: int,
    warmup: int = 1,
    before: Mapping[str, Sequence[Argv]] | None = None,
) -> dict[str, Cost]:
    """Runs ``commands`` in turn, ``rounds`` times after ``warmup``; ``before`` is not counted."""
    job = {
        "commands": commands,
        "before": before or {},
        "rounds": rounds,
        "warmup": warmup,
        "env": environment(place),
        "cwd": place.folder,
    }
    os.sync()
    runs = json.loads(place.run([*PYTHON, str(HERE / "meter.py")], json.dumps(job)))
    return {
        name: Cost(**{key: tuple(run[key] for run in costs) for key in ("wall", "cpu", "mb")})
        for name, costs in runs.items()
    }
