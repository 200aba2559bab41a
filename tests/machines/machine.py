"""
A booted Debian host: systemd is its first process, and its root is a fresh overlay of the image.

Facts are looked at with plain shell, from outside our own code.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from machines.slot import Slot, wait_until

CHECKOUT = Path(__file__).parents[2]
SLOTH = Path(sys.prefix, "bin/sloth-runner")
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
}
# Joins its cgroups, given up to "--", before it becomes systemd-nspawn.
SUPERVISE = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'

Completed = subprocess.CompletedProcess[str]


class CommandFailed(AssertionError):
    """A command inside a machine ended otherwise than it should have."""

    def __init__(self, machine: str, done: Completed) -> None:
        super().__init__(
            f"{machine}: {shlex.join(done.args)} ended with {done.returncode}\n"
            f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
        self.done = done


class Process(subprocess.Popen[bytes]):
    """
    A command inside a machine that runs beside the test.

    Signals go to the command itself, not to the nsenter that brought it there; `wait`
    and `returncode` speak of the command too.
    """

    @property
    def inner_pid(self) -> int | None:
        """The command's pid, as this host counts; None when it has ended."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        while self.poll() is None:
            with suppress(FileNotFoundError):
                if pids := children.read_text().split():
                    return int(pids[0])
            time.sleep(0.001)
        return None

    def send_signal(self, sig: int) -> None:
        """Signals the command; does nothing when it has ended."""
        if (pid := self.inner_pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, sig)

    def terminate(self) -> None:
        """Sends SIGTERM to the command."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL to the command."""
        self.send_signal(signal.SIGKILL)


class Machine:
    """A booted host, until `stop`; also a context manager."""

    def __init__(self, image: Path) -> None:
        """Boots from the image and returns when every service has started."""
        self._slot = Slot.claim()
        try:
            self._prepare(image)
            self._supervisor = self._start()
            self._leader = self._wait_for_leader()
            self._wait_for_services()
        except BaseException:
            self._slot.release()
            raise

    @property
    def name(self) -> str:
        """The host name, unique among the machines that run now."""
        return self._slot.name

    @property
    def ip(self) -> str:
        """The address, reachable from this host and from every other machine."""
        return self._slot.ip

    @property
    def leader(self) -> int:
        """The pid of the machine's first process, as this host counts."""
        return self._leader

    def path(self, path: str | Path) -> Path:
        """
        Returns where a path of the machine's disk is on this host.

        What is mounted inside (`/run`, `/dev/shm`) is not there, and absolute symlinks lead astray.
        """
        return self._slot.root / str(path).lstrip("/")

    def sh(
        self,
        script: str,
        *args: str,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        timeout: float = 60,
    ) -> Completed:
        """Runs plain shell inside, with `args` as `$1` and so on; bytes pass as surrogates."""
        argv = ["sh", "-c", script, "sh", *args]
        return self.run(
            argv, check=check, input=input, env=env, cwd=cwd, user=user, timeout=timeout
        )

    def user_shell(self, user: str, script: str, *args: str, check: bool = True) -> Completed:
        """Runs plain shell inside as a user, at home."""
        return self.sh(script, *args, check=check, user=user, cwd=self._home(user))

    def sloth(
        self,
        *args: str,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/root",
        user: str = "root",
        timeout: float = 120,
    ) -> Completed:
        """Runs this checkout's `sloth-runner` inside."""
        argv = [str(SLOTH), *args]
        return self.run(
            argv, check=check, input=input, env=env, cwd=cwd, user=user, timeout=timeout
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        timeout: float = 60,
    ) -> Completed:
        """Runs a command inside and waits for it; on timeout kills it and raises."""
        pipe = subprocess.PIPE
        feed = subprocess.DEVNULL if input is None else pipe
        with self.popen(
            argv, env=env, cwd=cwd, user=user, stdin=feed, stdout=pipe, stderr=pipe
        ) as process:
            try:
                streams = process.communicate(
                    None if input is None else input.encode("utf-8", "surrogateescape"), timeout
                )
            except BaseException:
                process.kill()
                raise
        stdout, stderr = (stream.decode("utf-8", "surrogateescape") for stream in streams)
        done = Completed(list(argv), process.returncode, stdout, stderr)
        if check and done.returncode != 0:
            raise CommandFailed(self.name, done)
        return done

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        **streams: Any,
    ) -> Process:
        """Starts a command inside; `streams` are those of `subprocess.Popen`, and carry bytes."""
        become = [] if user == "root" else ["runuser", "--user", user, "--"]
        variables = {**ENVIRONMENT, "HOME": self._home(user), "USER": user, **(env or {})}
        return Process(
            [
                *("nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net"),
                *("--pid", "--cgroup", "--root", "--"),
                *become,
                *("env", "--ignore-environment", f"--chdir={cwd}"),
                *(f"{key}={value}" for key, value in variables.items()),
                *argv,
            ],
            start_new_session=True,
            **streams,
        )

    def popen_sloth(self, *args: str, **options: Any) -> Process:
        """Starts this checkout's `sloth-runner` inside; options as for `popen`."""
        return self.popen([str(SLOTH), *args], **{"cwd": "/root", **options})

    def write(self, path: str, data: str | bytes, mode: int = 0o644) -> None:
        """Writes a file inside, its folders too, and gives it this mode whatever the umask."""
        text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.sh(script, path, f"{mode:o}", input=text)

    def read(self, path: str) -> str:
        """Returns a file's text."""
        return self.sh('cat "$1"', path).stdout

    def read_bytes(self, path: str) -> bytes:
        """Returns a file's bytes."""
        return self.read(path).encode("utf-8", "surrogateescape")

    def stop(self) -> None:
        """Ends the machine at once, as if its power failed, and leaves nothing behind."""
        # Not by asking systemd: it would stop every process before it kills them, nsenter would
        # stop itself in sympathy, and nobody would bury the dead.
        os.kill(self._leader, signal.SIGKILL)
        self._supervisor.wait(10)
        self._slot.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare(self, image: Path) -> None:
        self._slot.mount(image)
        self._slot.connect()
        self.path("/etc/hostname").write_text(f"{self.name}\n")
        self.path("/etc/hosts").write_text(f"127.0.0.1 localhost\n{self.ip} {self.name}\n")
        # Users other than root reach our code too, also where it lies below /root.
        self.path("/root").chmod(0o711)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._console.open("wb") as console:
            return subprocess.Popen(
                [
                    *("sh", "-c", SUPERVISE, "sh", *map(str, self._slot.make_cgroups()), "--"),
                    *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
                    *(f"--directory={self._slot.root}", f"--machine={self.name}"),
                    f"--network-namespace-path=/run/netns/{self.name}",
                    *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
                    *("--bind-ro=" + str(path).replace(":", r"\:") for path in _shared()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                # Keeps /tmp on the machine's disk, where `path` finds it.
                env={**os.environ, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},
            )

    @property
    def _console(self) -> Path:
        return self._slot.folder / "console"

    def _wait_for_leader(self) -> int:
        children = Path(f"/proc/{self._supervisor.pid}/task/{self._supervisor.pid}/children")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._supervisor.poll() is None:
            for pid in children.read_text().split():
                status = Path(f"/proc/{pid}/status")
                with suppress(FileNotFoundError, ProcessLookupError):
                    if any(
                        line.startswith("NSpid:") and line.split()[2:] == ["1"]
                        for line in status.read_text().splitlines()
                    ):
                        return int(pid)
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} did not start:\n{self._console.read_text()}")

    def _wait_for_services(self) -> None:
        try:
            wait_until(self._started, 60, f"{self.name} to have booted")
        except TimeoutError as error:
            error.add_note(self._console.read_text(errors="replace"))
            raise

    def _started(self) -> bool:
        # Until the machine has its own root, whatever enters it finds no systemd to talk to.
        state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        return state in {"running", "degraded"}

    def _home(self, user: str) -> str:
        for line in self.path("/etc/passwd").read_text().splitlines():
            fields = line.split(":")
            if fields[0] == user:
                return fields[5]
        raise LookupError(f"{self.name} has no user {user}")


def _shared() -> list[Path]:
    """Returns what the machines need of this host to run our code, as it is now, read-only."""
    shared = [CHECKOUT]
    for path in (Path(sys.prefix), Path(sys.base_prefix)):
        if path != Path("/usr") and not any(path.is_relative_to(other) for other in shared):
            shared.append(path)
    return shared
