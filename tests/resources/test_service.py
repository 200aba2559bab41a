"""Services: what ``systemctl show`` means, and what becomes of real units."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Machine
from resources.inside import ENVIRONMENT, argv, converge, inside, refusal
from sloth_runner.core import forms
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.resources import _systemd
from sloth_runner.resources.service import Service

# As systemd 252 printed it; a block for each unit, its lines in no order that can be relied on.
SHOWN = """\
Type=notify
RemainAfterExit=no
NRestarts=0
Result=success
Id=ssh.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/lib/systemd/system/ssh.service
SourcePath=
UnitFileState=enabled
InactiveEnterTimestampMonotonic=0
NeedDaemonReload=no
CanReload=yes
LoadError=

Type=
RemainAfterExit=no
NRestarts=0
Result=success
Id=nosuch.service
LoadState=not-found
ActiveState=inactive
SubState=dead
FragmentPath=
SourcePath=
UnitFileState=
InactiveEnterTimestampMonotonic=0
NeedDaemonReload=no
CanReload=no
LoadError=org.freedesktop.systemd1.NoSuchUnit "Unit nosuch.service not found."

Type=oneshot
RemainAfterExit=no
NRestarts=0
Result=success
Id=once.service
LoadState=loaded
ActiveState=inactive
SubState=dead
FragmentPath=/etc/systemd/system/once.service
SourcePath=
UnitFileState=enabled
InactiveEnterTimestampMonotonic=3672562685
NeedDaemonReload=yes
CanReload=no
LoadError=

Result=success
Id=dbus.socket
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/lib/systemd/system/dbus.socket
SourcePath=
DropInPaths=/etc/systemd/system/dbus.socket.d/a.conf /etc/systemd/system/dbus.socket.d/b.conf
UnitFileState=static
InactiveEnterTimestampMonotonic=0
NeedDaemonReload=no
CanReload=no
LoadError=

Type=simple
Result=exit-code
Id=crash.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=enabled-runtime
InactiveEnterTimestampMonotonic=3673853183
"""
NAP = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def service(**given: Any) -> Service:
    """Returns what ``systemd.ensure`` declares."""
    built: Service = forms.build(Service, {"name": "nginx", **given}, function="systemd.ensure")
    return built


def test_what_systemctl_shows_is_understood() -> None:
    ssh, nosuch, once, socket, crash = _systemd.parse(SHOWN)
    assert (ssh.state, ssh.enabled, ssh.found, ssh.can_reload) == ("started", True, True, True)
    assert (nosuch.found, nosuch.error) == (False, "Unit nosuch.service not found.")
    assert (once.state, once.runs_once, once.needs_reload) == ("finished", True, True)
    assert (socket.state, socket.enabled, socket.runs_once) == ("started", "static", False)
    assert socket.drop_ins == (
        "/etc/systemd/system/dbus.socket.d/a.conf",
        "/etc/systemd/system/dbus.socket.d/b.conf",
    )
    assert (crash.state, crash.enabled) == ("failed", "runtime")
    assert _systemd.parse("") == []


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a;b", "$(id)", "a/b", "/dev/sda", "*", "a\nb", "ä", ".hidden", "a" * 256],
)
def test_what_cannot_be_a_unit_is_refused(name: str) -> None:
    with pytest.raises(ParamError, match="is not the name of a unit"):
        service(name=name, state="started")


def test_a_template_without_an_instance_is_refused() -> None:
    with pytest.raises(ParamError, match="template"):
        service(name="app@", state="started")
    assert service(name="app@one", state="started").name == "app@one"


def test_one_unit_has_one_name_and_one_word_for_running() -> None:
    assert service(name="nginx.service", state="running") == service(state="started")
    assert service(name="backup.timer", state="started").name == "backup.timer"
    # systemd.unit(5): without a known type at its end it is the name of a service.
    assert _systemd.full_name("a.timer.service") == "a.timer.service"
    assert service(name="a.timer.service", state="started").name == "a.timer.service"
    assert _systemd.full_name("org.example") == "org.example.service"


def test_nothing_to_ensure_and_contradictions_are_refused() -> None:
    for given in ({}, {"masked": True, "state": "started"}, {"masked": True, "enabled": True}):
        with pytest.raises(ParamError):
            service(**given)


def test_start_and_enable_of_one_unit_add_up_and_start_and_stop_do_not() -> None:
    start, enable = service(state="started"), service(enabled=True, timeout="2m")
    both = enable.refine(start)
    assert both.desired() == {"state": "started", "enabled": True}
    assert both.timeout == 120
    assert service(state="stopped").refine(start) is None
    assert service(masked=True).refine(start) is None


@pytest.mark.parametrize(
    ("given", "actual", "differs"),
    [
        ({"state": "started"}, {"state": "finished"}, []),
        ({"state": "started"}, {"state": "starting"}, ["state"]),
        ({"state": "started"}, {"state": "failed"}, ["state"]),
        ({"state": "stopped"}, {"state": "failed"}, []),
        ({"state": "stopped"}, {"state": "stopping"}, ["state"]),
        ({"enabled": False}, {"enabled": "static"}, []),
        ({"enabled": False}, {"enabled": "generated"}, ["enabled"]),
        ({"enabled": False}, {"enabled": "runtime"}, ["enabled"]),
        ({"enabled": True}, {"enabled": "runtime"}, ["enabled"]),
        ({"masked": False}, {"masked": True}, ["masked"]),
    ],
)
def test_what_is_good_enough_is_left_alone(
    given: dict[str, Any], actual: dict[str, Any], differs: list[str]
) -> None:
    there = {"state": "started", "enabled": True, "masked": False, **actual}
    assert [c.property for c in service(**given).diff(there).changes] == differs


def test_a_generated_unit_is_neither_enabled_nor_disabled() -> None:
    there = {"state": "started", "enabled": "generated", "masked": False}
    for wanted in (True, False):
        with pytest.raises(Refused, match="no unit file"):
            service(enabled=wanted).plan_check(there)


def test_what_is_only_predicted_is_enough_to_go_on() -> None:
    merged = service(enabled=True).refine(service(state="started"))
    merged.plan_check({"enabled": True})
    merged.plan_check({"state": "started"})


@pytest.fixture(scope="module")
def booted(machine_image: Path) -> Iterator[Machine]:
    """One host for all tests of this file."""
    with Machine(machine_image) as machine:
        yield machine


@pytest.fixture
def host(booted: Machine) -> Machine:
    """The host with ``nap``, which goes on until it is stopped, stopped and disabled."""
    booted.sh("systemctl disable --now nap; systemctl unmask --now cron", check=False)
    booted.sh("systemctl enable --now cron 2>&1")
    unit(booted, "nap", NAP)
    return booted


def unit(host: Machine, name: str, content: str) -> None:
    """Puts a unit on the host by hand."""
    host.write(f"/etc/systemd/system/{name}.service", content)
    host.sh('systemctl daemon-reload; systemctl reset-failed "$1" || true', name)


def told(host: Machine, name: str) -> tuple[str, str]:
    """Returns what systemctl says: whether the unit is active and enabled."""
    active = host.sh('systemctl is-active "$1"', name, check=False).stdout.strip()
    return active, host.sh('systemctl is-enabled "$1"', name, check=False).stdout.strip()


def test_running_now_and_enabled_at_boot_are_two_things(host: Machine) -> None:
    assert converge(host, "systemd.ensure", name="nap", state="started")["changes"] == ["state"]
    assert told(host, "nap") == ("active", "disabled")
    assert converge(host, "systemd.enable", name="nap")["changes"] == ["enabled"]
    assert converge(host, "systemd.stop", name="nap.service")["changes"] == ["state"]
    assert told(host, "nap") == ("inactive", "enabled")
    said = converge(host, "systemd.ensure", name="nap", state="running", enabled=False)
    assert said["changes"] == ["enabled", "state"]
    assert told(host, "nap") == ("active", "disabled")
    assert converge(host, "systemd.start", name="nap")["changes"] == []


def test_a_unit_that_does_not_exist_is_neither_running_nor_enabled(host: Machine) -> None:
    for function in ("systemd.stop", "systemd.disable"):
        assert converge(host, function, name="nosuch")["changes"] == []
    for function in ("systemd.start", "systemd.enable"):
        assert "did you mean 'cron'" in refusal(host, function, name="crond")


def test_a_service_that_does_not_stay_up_has_not_been_started(host: Machine) -> None:
    unit(host, "crash", "[Service]\nExecStart=/bin/sh -c 'echo my last words; sleep 0.2; exit 3'\n")
    said = inside(host, "converge", "systemd.start", name="crash")
    assert said["error"].startswith("CommandFailed: start of crash.service on local: it ended")
    assert "my last words" in said["facts"]["journal"]
    assert "status=3" in said["facts"]["status"]


def test_a_service_that_is_restarted_over_and_over_has_not_been_started(host: Machine) -> None:
    unit(host, "loop", "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=200ms\n")
    said = inside(host, "converge", "systemd.ensure", name="loop", state="started", timeout=2)
    host.sh("systemctl stop loop")
    assert said["error"].startswith("CommandFailed: start of loop.service")


def test_it_waits_until_the_service_says_that_it_is_ready(host: Machine) -> None:
    ready = "sleep 0.7; systemd-notify --ready; sleep infinity"
    unit(
        host, "ready", f"[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '{ready}'\n"
    )
    assert converge(host, "systemd.start", name="ready")["after"]["state"] == "started"
    assert told(host, "ready")[0] == "active"
    host.sh("systemctl stop ready")
    said = inside(host, "converge", "systemd.ensure", name="ready", state="started", timeout=0.2)
    assert "is not up after 0.2 s" in said["error"]


def test_a_service_that_gave_up_is_started_again(host: Machine) -> None:
    unit(
        host,
        "given-up",
        "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n"
        "[Service]\nExecStart=/bin/sh -c 'test -e /run/allowed && exec sleep infinity'\n",
    )
    host.sh("systemctl start given-up; sleep 0.2; systemctl start given-up", check=False)
    host.sh("touch /run/allowed")
    assert host.sh("systemctl start given-up", check=False).returncode == 1
    converge(host, "systemd.start", name="given-up")
    assert told(host, "given-up")[0] == "active"


def test_a_changed_unit_is_read_before_it_is_started(host: Machine) -> None:
    host.sh("systemctl is-active nap", check=False)
    host.write("/etc/systemd/system/nap.service", NAP + "Environment=NOW=1\n")
    converge(host, "systemd.ensure", name="nap", state="started", enabled=True)
    assert host.sh("systemctl show -P NeedDaemonReload nap").stdout == "no\n"


def test_a_masked_unit_is_refused_until_the_mask_may_go(host: Machine) -> None:
    converge(host, "systemd.ensure", name="cron", state="stopped", masked=True)
    assert told(host, "cron") == ("inactive", "masked")
    assert "masked = false" in refusal(host, "systemd.start", name="cron")
    assert "masked = false" in refusal(host, "systemd.enable", name="cron")
    converge(host, "systemd.ensure", name="cron", state="started", enabled=True, masked=False)
    assert told(host, "cron") == ("active", "enabled")


def test_a_unit_whose_file_is_in_the_way_is_not_masked(host: Machine) -> None:
    refused = refusal(host, "systemd.ensure", name="nap", state="stopped", masked=True)
    assert "its unit file is /etc/systemd/system/nap.service" in refused


def test_a_static_unit_is_not_enabled(host: Machine) -> None:
    assert "static" in refusal(host, "systemd.enable", name="dbus.socket")
    assert converge(host, "systemd.disable", name="dbus.socket")["changes"] == []
    assert converge(host, "systemd.start", name="dbus.socket")["changes"] == []


def test_instances_of_a_template_are_units_of_their_own(host: Machine) -> None:
    unit(host, "app@", NAP.replace("infinity", "%i"))
    converge(host, "systemd.ensure", name="app@100", state="started", enabled=True)
    assert told(host, "app@100") == ("active", "enabled")
    assert told(host, "app@200") == ("inactive", "disabled")


def test_a_unit_that_runs_once_is_started_when_it_has_succeeded(host: Machine) -> None:
    once = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
    unit(host, "once", once)
    assert "Type=oneshot" in refusal(host, "systemd.start", name="once")
    unit(host, "once", f"{once}[Install]\nWantedBy=multi-user.target\n")
    said = converge(host, "systemd.ensure", name="once", state="started", enabled=True)
    assert said["after"]["state"] == "finished"
    assert converge(host, "systemd.start", name="once")["changes"] == []
    unit(host, "once-and-stays", f"{once}RemainAfterExit=yes\n")
    assert converge(host, "systemd.start", name="once-and-stays")["after"]["state"] == "started"
    assert converge(host, "systemd.start", name="once-and-stays")["changes"] == []


def test_an_alias_is_the_unit_itself(host: Machine) -> None:
    said = converge(host, "systemd.ensure", name="sshd", state="started", enabled=True)
    assert said["changes"] == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("nap", {"state": "started"}),
        ("nap", {"state": "started", "enabled": True}),
        ("cron", {"state": "stopped"}),
        ("cron", {"enabled": False}),
        ("cron", {"state": "stopped", "masked": True}),
    ],
)
def test_what_was_there_before_comes_back(host: Machine, name: str, given: dict[str, Any]) -> None:
    before = told(host, name)
    said = inside(host, "undo", "systemd.ensure", name=name, **given)
    assert "error" not in said, said
    assert said["after"] != said["before"] == said["undone"]
    assert told(host, name) == before


def test_where_systemd_is_not_running_it_says_so(host: Machine) -> None:
    hidden = "mount -t tmpfs none /run/systemd && exec unshare --pid --fork --mount-proc"
    said = host.sh(
        f'unshare --mount sh -c \'{hidden} "$@"\' sh "$@"',
        *argv("converge", "systemd.start", name="cron"),
        env=ENVIRONMENT,
    )
    assert "systemd is not running on local" in said.stdout
