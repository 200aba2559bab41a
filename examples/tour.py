"""Runs the web server example from beginning to end, each command printed first (./demo)."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from machines.image import image, obstacle
from machines.machine import ENVIRONMENT, SLOTH, Machine
from machines.slot import Slot

EXAMPLE = Path(__file__).parent / "web-server"


class Place(Protocol):
    """Where the tour takes place."""

    def run(self, script: str) -> int:
        """Runs one line of shell where the example is, and returns its exit code."""


class OnMachine:
    """A booted machine that ends with the tour."""

    folder = "/root/web-server"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        for path in sorted(EXAMPLE.iterdir()):
            machine.write(f"{self.folder}/{path.name}", path.read_bytes())

    def run(self, script: str) -> int:
        path = f"{SLOTH.parent}:{ENVIRONMENT['PATH']}"
        with self._machine.popen(
            ["sh", "-c", script], cwd=self.folder, env={"PATH": path}, stdin=subprocess.DEVNULL
        ) as process:
            return process.wait()


class InFolder:
    """A temporary folder of the user, which goes with the tour."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for path in EXAMPLE.iterdir():
            shutil.copy(path, folder)

    def run(self, script: str) -> int:
        environment = {
            **os.environ,
            "PATH": f"{SLOTH.parent}:{os.environ.get('PATH', os.defpath)}",
            "SLOTH_RUNNER_DB": str(self._folder / "record/stacks.db"),
        }
        return subprocess.run(
            ["sh", "-c", script], cwd=self._folder, env=environment, stdin=subprocess.DEVNULL
        ).returncode


def say(text: str) -> None:
    """Writes a line at once, before whatever a command writes next."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(place: Place, title: str, *scripts: str) -> None:
    """Says what comes, then prints and runs each line; ends the tour where one fails."""
    say(f"\n# {title}")
    for script in scripts:
        say(f"\n$ {script}")
        code = place.run(script)
        if code != 0:
            raise SystemExit(f"demo: that ended with exit code {code}")


def web_server(place: Place) -> None:
    """The tour on a machine."""
    show(
        place,
        "Make this machine a web server.",
        "sloth-runner run site.lua --yes",
        "systemctl is-active nginx && cat /srv/www/index.html",
    )
    show(place, "Run it again: there is nothing to do.", "sloth-runner run site.lua --yes")
    show(
        place,
        "Break it by hand.",
        "systemctl stop nginx",
        "sed -i s/80/8080/ /etc/nginx/sites-available/default",
        "chmod a+w /srv/www/index.html",
    )
    show(place, "What is not as it is recorded?", "sloth-runner stack drift web-server")
    show(
        place,
        "Put it back.",
        "sloth-runner stack drift web-server --fix --yes",
        "sloth-runner stack drift web-server",
        "systemctl is-active nginx && ls -l /srv/www/index.html",
    )


def files_only(place: Place, folder: Path) -> None:
    """The tour on files."""
    run = f"sloth-runner run files-only.lua --yes --set {shlex.quote(f'root={folder}/site')}"
    show(place, "Make the files.", run, "cat site/www/index.html")
    show(place, "Run it again: there is nothing to do.", run)
    show(
        place,
        "Break it by hand.",
        "sed -i s/80/8080/ site/site.conf",
        "chmod a+w site/www/index.html",
    )
    show(place, "What is not as it is recorded?", "sloth-runner stack drift web-files")
    show(
        place,
        "Put it back.",
        "sloth-runner stack drift web-files --fix --yes",
        "sloth-runner stack drift web-files",
        "cat site/site.conf",
    )


def hindrance() -> str | None:
    """Returns why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "that needs root; try: sudo ./demo"
    return obstacle()


def booted(stack: ExitStack) -> Machine:
    """Returns a fresh machine, whose image is made first where there is none yet."""
    Slot.sweep()
    say("Booting a throw-away Debian machine; its image takes minutes the first time.")
    return stack.enter_context(Machine(stack.enter_context(image())))


def main(arguments: list[str]) -> None:
    """Runs the tour on a machine where one can be booted, and on files otherwise."""
    reason = "--files was given" if "--files" in arguments else hindrance()
    with ExitStack() as stack:
        if reason is None:
            try:
                machine = booted(stack)
            except (OSError, RuntimeError, TimeoutError) as error:
                reason = f"it did not boot: {error}"
            else:
                return web_server(OnMachine(machine))
        say(f"No machine is booted ({reason}).")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sloth-demo-")))
        say(f"This works on files in {folder}, which is removed at the end.")
        files_only(InFolder(folder), folder)


def stop(number: int, _frame: object) -> None:
    """Ends the tour on a signal, so that what it made is removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    main(sys.argv[1:])
