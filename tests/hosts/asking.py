"""Short ways to ask a host in a test, and other accounts to ask it as."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sloth_runner.core.errors import HostError
from sloth_runner.core.host import Command, CommandResult, Host
from sloth_runner.hosts import primitives

NOBODY = 65534
MALLORY = 4242
"""A user number that no account has."""


def ask(host: Host, verb: str, **arguments: Any) -> Any:
    """Returns the answer to one request."""
    return asyncio.run(host.ask(verb, **arguments))


def refusal(host: Host, verb: str, **arguments: Any) -> HostError:
    """Returns the error that one request ends with."""
    with pytest.raises(HostError) as caught:
        ask(host, verb, **arguments)
    return caught.value


def run(host: Host, *argv: str, **more: Any) -> CommandResult:
    """Returns how a command ended."""
    functions = {name: more.pop(name) for name in ("on_started", "on_output") if name in more}
    return asyncio.run(host.run(Command(argv=argv, **more), **functions))


def python_as_nobody(code: str, *arguments: str) -> str:
    """Returns what ``code`` prints when it runs as nobody, with ``perform`` imported."""
    prelude = (
        "import os, sys\n"
        "from primitives import perform\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    )
    return python(prelude + code, *arguments)


def python(code: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Returns what ``code`` prints in a Python of its own that can import ``primitives``."""
    folder = str(Path(primitives.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({folder!r})\n{code}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def let_everybody_in(folder: Path) -> None:
    """Lets other accounts enter a temporary folder of pytest, which is private by default."""
    for path in (folder, *folder.parents):
        if not path.stat().st_mode & 0o001:
            path.chmod(0o755)


def names_in(folder: Path) -> list[str]:
    """Returns the sorted names in a directory."""
    return sorted(path.name for path in folder.iterdir())


def leftovers(folder: Path) -> list[str]:
    """Returns the names of temporary files that a primitive left behind."""
    return [name for name in names_in(folder) if ".sloth-" in name]
