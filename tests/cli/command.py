"""Runs commands: within the test's process, which is quick, or as a process of their own."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sloth_runner.cli.app import call


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Sloth:
    """The command, on a record of its own; called with its arguments."""

    folder: Path

    @property
    def db(self) -> Path:
        return self.folder / "record" / "stacks.db"

    def __call__(self, *arguments: str) -> Result:
        out, err = _stream(), _stream()
        with redirect_stdout(out), redirect_stderr(err):
            code = call(["--db", str(self.db), *arguments])
        return Result(code, _text(out), _text(err))

    def process(self, *arguments: str, **environment: str) -> Result:
        done = subprocess.run(
            self.argv(*arguments),
            capture_output=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=os.environ | environment,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "sloth_runner", "--db", str(self.db), *arguments]

    def write(self, text: str, name: str = "site.lua") -> str:
        """Writes a workflow, @ in it standing for the folder, and returns its path."""
        path = self.folder / name
        path.write_text(text.replace("@", str(self.folder)))
        return str(path)


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")
