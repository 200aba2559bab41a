"""A folder, a workflow in Lua and the command: what the stories on files are told with."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).parents[1]
PATIENCE = 30.0
"""Seconds after which a command that does not end is a failure."""


@dataclass(frozen=True)
class Done:
    """A command that has ended. ``code`` is negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it wrote with ``--json``, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line that it wrote with ``--json``."""
        last = self.events[-1]
        assert last["type"] == "summary", self
        return last

    @property
    def counts(self) -> dict[str, int]:
        """The outcomes that happened, without the zeros."""
        names = "created changed unchanged removed ran failed unknown carried blocked skipped"
        return {name: self.summary[name] for name in names.split() if self.summary[name]}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Returns the events of one type."""
        return [event for event in self.events if event["type"] == kind]

    @property
    def json(self) -> Any:
        """What it wrote, as one document."""
        return json.loads(self.out)


class Running:
    """A command that is still running."""

    def __init__(self, fate: int, out: Path, err: Path) -> None:
        self._fate = os.fdopen(fate, "r")
        self._out, self._err = out, err
        self.pid = int(self._fate.readline())

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the command alone, as ``kill`` does."""
        os.kill(self.pid, number)

    def kill(self) -> Done:
        """Ends it as kill -9 does, unless it has ended by itself."""
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        return self.wait()

    def wait(self, timeout: float = PATIENCE) -> Done:
        """Waits for its end; a command that does not end is killed, and an error."""
        ready, _, _ = select.select([self._fate], [], [], timeout)
        if not ready:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"it did not end:\n{self.out}\n{self.err}")
        code = int(self._fate.readline())
        self._fate.close()
        return Done(code, self.out, self.err)

    @property
    def out(self) -> str:
        return self._out.read_text(errors="surrogateescape")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="surrogateescape")


class Zygote:
    """The warm process that commands are forked from."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stories.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), *sys.path))},
            )

    def start(self, request: Mapping[str, Any], *, stdin: int, out: Path, err: Path) -> Running:
        """Starts one command."""
        ours, theirs = os.pipe()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            files = [stdin, stdout.fileno(), stderr.fileno(), theirs]
            socket.send_fds(self._channel, [json.dumps(request).encode()], files)
        os.close(theirs)
        return Running(ours, out, err)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._process.wait(10)


class Story:
    """One record, one folder that is managed (``here``) and one workflow file."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self.here = folder / "here"
        self.here.mkdir()
        self.db = folder / "record" / "stacks.db"
        self.file = folder / "web.lua"
        self._zygote = zygote

    def write(self, lua: str) -> None:
        """Writes the workflow; in it, ``HERE`` is the folder that is managed."""
        self.file.write_text(f"local HERE = {json.dumps(str(self.here))}; {lua}")

    def start(
        self,
        *argv: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        kill: Mapping[str, Any] | None = None,
    ) -> Running:
        """Starts the command and does not wait for it."""
        request = {
            "argv": ["--db", str(self.db), *argv],
            "cwd": str(self.folder),
            "env": {"PATH": os.environ["PATH"], "HOME": str(self.folder), **(env or {})},
            "kill": kill,
        }
        streams = Path(tempfile.mkdtemp(dir=self.folder, prefix="streams-"))
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            return self._zygote.start(
                request, stdin=given.fileno(), out=streams / "out", err=streams / "err"
            )

    def sloth(self, *argv: str, **options: Any) -> Done:
        """Runs the command to its end."""
        return self.start(*argv, **options).wait()

    def run(self, lua: str | None = None, *argv: str, **options: Any) -> Done:
        """Applies the workflow (a new one, if given) and returns what it told in JSON."""
        if lua is not None:
            self.write(lua)
        return self.sloth("--json", "--yes", "run", str(self.file), *argv, **options)

    def plan(self, lua: str | None = None, *argv: str) -> Done:
        """Previews the workflow."""
        if lua is not None:
            self.write(lua)
        return self.sloth("--json", "plan", str(self.file), *argv)

    def resources(self, *argv: str) -> list[dict[str, Any]]:
        """What the record holds, as ``stack resources --json`` tells it."""
        found: list[dict[str, Any]] = self.sloth("--json", "stack", "resources", "web", *argv).json
        return found

    def lines(self, name: str) -> list[str]:
        """The lines of a file in the folder that is managed; none if it is not there."""
        path = self.here / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, name: str) -> None:
        """Waits until there is something at a path of the folder that is managed."""
        self.wait_until((self.here / name).exists, name)

    @staticmethod
    def wait_until(condition: Callable[[], bool], what: str = "it") -> None:
        """Waits until ``condition`` holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen"
            time.sleep(0.01)

    def kept(self) -> bytes:
        """Every byte of the record, its blobs and what lies beside them."""
        files = sorted(p for p in self.db.parent.rglob("*") if p.is_file())
        return b"\0".join(p.read_bytes() for p in files)
