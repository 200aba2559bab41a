"""
The numbered places that machines live in: a name, an address, a folder, a network.

A slot is held by a file lock, which the kernel frees when its process dies, however it dies.
Whoever takes a slot next, and every sweep, clears what the last holder left in it.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

HOME = Path("/var/lib/sloth-runner-tests")
BRIDGE = "slothbr"
NETWORK = "10.213.77"
SLOTS = range(2, 250)


class Slot:
    """One place for one machine, ours until `release`."""

    def __init__(self, number: int, lock: IO[str]) -> None:
        self.number = number
        self.name = f"sloth{number}"
        self.ip = f"{NETWORK}.{number}"
        self.folder = HOME / self.name
        self.root = self.folder / "root"
        self._lock = lock

    @classmethod
    def claim(cls) -> Self:
        """Takes the first free slot and clears it."""
        for number in SLOTS:
            if slot := cls._try(number):
                slot.clear()
                return slot
        raise RuntimeError(f"all {len(SLOTS)} slots for machines are taken; see {HOME}")

    @classmethod
    def sweep(cls) -> None:
        """Clears every slot whose process is gone."""
        for path in HOME.glob("sloth*.lock"):
            number = int(path.stem.removeprefix("sloth"))
            if slot := cls._try(number):
                slot.release()

    @classmethod
    def _try(cls, number: int) -> Self | None:
        HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = (HOME / f"sloth{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return cls(number, lock)

    def release(self) -> None:
        """Clears the slot and gives it back."""
        self.clear()
        self._lock.close()

    def mount(self, image: Path) -> None:
        """Mounts a fresh, writable copy of the image at `root`."""
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        # A folder that came with the image can then be renamed, as on any other file system.
        options = (
            f"lowerdir={image},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'},"
            "redirect_dir=on"
        )
        _run("mount", "-t", "overlay", "-o", options, "overlay", str(self.root))

    def connect(self) -> None:
        """Makes the machine's network namespace, wired to the bridge that all machines share."""
        with _network():
            if not Path("/sys/class/net", BRIDGE).exists():
                _run("ip", "link", "add", BRIDGE, "type", "bridge")
                _run("ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
                _run("ip", "link", "set", BRIDGE, "up")
            inside = ("ip", "-n", self.name)
            _run("ip", "netns", "add", self.name)
            _run(
                *("ip", "link", "add", self.name, "master", BRIDGE, "type", "veth"),
                *("peer", "name", "eth0", "netns", self.name),
            )
            _run("ip", "link", "set", self.name, "up")
            _run(*inside, "address", "add", f"{self.ip}/24", "dev", "eth0")
            _run(*inside, "link", "set", "eth0", "up")
            _run(*inside, "link", "set", "lo", "up")

    def make_cgroups(self) -> list[Path]:
        """
        Makes the machine's own cgroup in each hierarchy that systemd keeps its units in.

        Machines started from one cgroup would share their units' cgroups, and stopping a
        service on one would end its processes on the others.
        """
        groups = self._cgroups()
        for group in groups:
            group.mkdir()
        return groups

    def clear(self) -> None:
        """Ends the machine in this slot, if any, and removes all that belongs to it."""
        wait_until(self._dead, 10, f"{self.name} to end")
        wait_until(self._unmounted, 10, f"{self.root} to be free")
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._disconnect()
        for group in self._cgroups():
            for folder in sorted((group, *group.rglob("*/")), reverse=True):
                if folder.exists():
                    folder.rmdir()

    def _dead(self) -> bool:
        """Kills what is in the machine's cgroups; what lives in its namespaces goes with it."""
        living = {
            int(pid)
            for group in self._cgroups()
            for members in group.rglob("cgroup.procs")
            for pid in members.read_text().split()
        }
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not living

    def _unmounted(self) -> bool:
        while str(self.root) in Path("/proc/self/mounts").read_text().split():
            if subprocess.run(["umount", str(self.root)], capture_output=True).returncode != 0:
                return False
        return True

    def _disconnect(self) -> None:
        with _network():
            if Path("/sys/class/net", self.name).exists():
                _run("ip", "link", "delete", self.name)
            if Path("/run/netns", self.name).exists():
                _run("ip", "netns", "delete", self.name)
            ports = Path("/sys/class/net", BRIDGE, "brif")
            if ports.exists() and not any(ports.iterdir()):
                _run("ip", "link", "delete", BRIDGE)

    def _cgroups(self) -> list[Path]:
        mounts = Path("/proc/self/mountinfo").read_text()
        found = re.findall(
            r"(?m)^(?:\S+ ){4}(\S+) .* - cgroup(?:2 .*| .*\bname=systemd\b.*)$", mounts
        )
        return [Path(mount, self.name) for mount in found]


def wait_until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls until done; fails with what it waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


@contextmanager
def _network() -> Iterator[None]:
    """Lets one process at a time change the bridge."""
    with (HOME / "network.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
