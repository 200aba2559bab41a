"""The harness keeps its own promises: machines boot, live apart, and leave nothing."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machines import slot
from machines.machine import CHECKOUT, CommandFailed, Machine

Boot = Callable[[], Machine]


@pytest.fixture
def own_slots(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    """Slots that no other test takes, so that a name is not in use again before it is looked at."""
    slots = range(slot.SLOTS.stop, slot.SLOTS.stop + 2)
    monkeypatch.setattr(slot, "SLOTS", slots)
    slot.HOME.mkdir(exist_ok=True)
    with (slot.HOME / "own-slots.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield slots


def traces(name: str) -> list[str]:
    """Returns all that a machine of this name can leave on this host."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    groups = Path("/sys/fs/cgroup").glob(f"**/{name}")
    places = (slot.HOME / name, Path("/run/netns", name), Path("/sys/class/net", name))
    processes = (
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"--machine={name}\0" in path.read_text(errors="replace")
    )
    return [
        *(line for line in mounts if f"/{name}/" in line),
        *(str(path) for path in (*places, *groups) if path.exists()),
        *processes,
    ]


def test_every_service_runs_within_seconds(machine_image: Path) -> None:
    began = time.monotonic()
    with Machine(machine_image) as machine:
        took = time.monotonic() - began
        assert machine.sh("systemctl is-system-running").stdout == "running\n"
        assert machine.sh("systemctl is-active multi-user.target ssh cron dbus").returncode == 0
        assert machine.sh("ps -p 1 -o comm=").stdout == "systemd\n"
        assert machine.sh("hostname").stdout == f"{machine.name}\n"
    assert took < 20


def test_a_service_outlives_the_shell_that_started_it(machine: Machine) -> None:
    unit = "[Service]\nExecStart=sleep infinity\n"
    machine.write("/etc/systemd/system/nap.service", unit)
    machine.sh("systemctl daemon-reload && systemctl start nap")
    assert machine.sh("systemctl is-active nap").stdout == "active\n"
    machine.sh("systemctl stop nap")
    assert machine.sh("systemctl is-active nap", check=False).stdout == "inactive\n"


def test_packages_come_from_the_machine_itself(fresh_machine: Machine) -> None:
    fresh_machine.sh("ip link set eth0 down")
    fresh_machine.sh("apt-get update && apt-get install -y tree nginx")
    assert fresh_machine.sh("tree --version").stdout.startswith("tree v")
    assert fresh_machine.sh("systemctl is-active nginx").stdout == "active\n"


@pytest.mark.parametrize(
    ("package", "versions"),
    [
        ("hello", ["2.10-3+sloth1", "2.10-3"]),
        ("sloth-pin", ["1:2.0-1", "1.1-1", "1.0-1"]),
        ("sloth-conf", ["2.0-1", "1.0-1"]),
    ],
)
def test_packages_have_the_versions_that_tests_count_on(
    machine: Machine, package: str, versions: list[str]
) -> None:
    listing = machine.sh("apt-cache madison -- $1 | cut -d'|' -f2 | tr -d ' '", package).stdout
    assert listing.split() == versions


def test_conflicts_and_conffiles_are_real(fresh_machine: Machine) -> None:
    fresh_machine.sh("apt-get install -y hello sloth-conf=1.0-1")
    assert fresh_machine.sh("dpkg-query -W -f '${Conffiles}' sloth-conf").stdout.split()[0] == (
        "/etc/sloth-conf.conf"
    )
    plan = fresh_machine.sh("apt-get install --simulate sloth-conflict").stdout
    assert "Remv hello" in plan


def test_our_code_runs_inside_and_cannot_be_changed_from_there(machine: Machine) -> None:
    done = machine.run([sys.executable, "-c", "import lupa.lua54, asyncssh, sloth_runner"])
    assert done.stderr == ""
    assert machine.sh('touch "$1/x"', str(CHECKOUT), check=False).returncode != 0


def test_users_run_our_code_too(machine: Machine) -> None:
    machine.sh("useradd --create-home ada")
    done = machine.user_shell(
        "ada", 'pwd; id -un; echo $HOME; "$1" -c "import lupa"', sys.executable
    )
    assert done.stdout == "/home/ada\nada\n/home/ada\n"


def test_bytes_survive_the_way_in_and_out(machine: Machine) -> None:
    data = bytes(range(256)) + "é\r\n".encode()
    machine.write("/srv/a folder/it's", data, mode=0o4711)
    assert machine.read_bytes("/srv/a folder/it's") == data
    assert machine.path("/srv/a folder/it's").read_bytes() == data
    assert machine.sh("stat -c %a '/srv/a folder/it'\\''s'").stdout == "4711\n"


def test_a_failed_command_says_everything(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)exit 3.* 3\n.*out\n.*err\n"):
        machine.sh("echo out; echo err >&2; exit 3")


def test_kill_reaches_the_command_itself(machine: Machine) -> None:
    process = machine.popen(["sh", "-c", "echo $$; exec sleep 600"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        pid = process.stdout.readline().decode().strip()
        process.kill()
        assert process.wait(5) == -signal.SIGKILL
    assert machine.sh("test -e /proc/$1", pid, check=False).returncode == 1


def test_machines_share_a_network_and_nothing_else(boot_machine: Boot) -> None:
    one, two = boot_machine(), boot_machine()
    for machine in (one, two):
        machine.write("/etc/systemd/system/nap.service", "[Service]\nExecStart=sleep infinity\n")
        machine.sh("systemctl daemon-reload && systemctl start nap")
    one.sh("systemctl stop nap && touch /etc/mine")
    assert two.sh("systemctl is-active nap && pgrep -x sleep").stdout.startswith("active\n")
    assert not two.path("/etc/mine").exists()
    assert one.sh("exec 3<>/dev/tcp/$1/22 && head -c 8 <&3", two.ip, check=False).returncode != 0
    greeting = one.run(["bash", "-c", "exec 3<>/dev/tcp/$1/22; head -c 8 <&3", "bash", two.ip])
    assert greeting.stdout == "SSH-2.0-"


def test_stopping_leaves_nothing(machine_image: Path, own_slots: range) -> None:
    with Machine(machine_image) as machine:
        name = machine.name
        process = machine.popen(["sleep", "600"])
        assert traces(name)
    assert process.wait(5) != 0
    assert traces(name) == []


def test_what_a_killed_test_run_leaves_is_cleared(machine_image: Path, own_slots: range) -> None:
    script = (
        "import pathlib, sys\nfrom machines import slot\nfrom machines.machine import Machine\n"
        f"slot.SLOTS = {own_slots!r}\n"
        "print(Machine(pathlib.Path(sys.argv[1])).name, flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(machine_image)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        name = run.stdout.readline().strip()
        assert traces(name)
        os.kill(run.pid, signal.SIGKILL)
    slot.Slot.sweep()
    assert traces(name) == []
