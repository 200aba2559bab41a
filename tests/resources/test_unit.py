"""Unit files: what is refused, and that systemd goes by them, whatever happened before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Machine
from resources.inside import converge, inside, refusal
from sloth_runner.core import forms
from sloth_runner.core.errors import ParamError
from sloth_runner.resources.unit import UnitFile

FOLDER = "/etc/systemd/system"
NAP = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def unit(**given: Any) -> UnitFile:
    """Returns what ``systemd.unit`` declares."""
    built: UnitFile = forms.build(UnitFile, given, function="systemd.unit")
    return built


@pytest.mark.parametrize(
    "name",
    ["", "../x", "a/b", "a.d/x.conf", "app.service.d/../x.conf", "app.service.d/.conf", "a b", "*"],
)
def test_what_cannot_be_a_unit_file_is_refused(name: str) -> None:
    with pytest.raises(ParamError):
        unit(name=name, content=NAP)


def test_a_file_has_content_or_is_absent() -> None:
    for given in ({"name": "x"}, {"name": "x", "content": NAP, "state": "absent"}):
        with pytest.raises(ParamError):
            unit(**given)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("app", f"{FOLDER}/app.service"),
        ("app.timer", f"{FOLDER}/app.timer"),
        ("app@", f"{FOLDER}/app@.service"),
        ("ssh.service.d/x.conf", f"{FOLDER}/ssh.service.d/x.conf"),
    ],
)
def test_a_unit_file_has_its_place(name: str, path: str) -> None:
    assert unit(name=name, content=NAP).path == path


def test_the_content_of_a_file_that_others_may_not_read_is_sensitive() -> None:
    assert unit(name="x", content=NAP).sensitive == frozenset()
    assert unit(name="x", content=NAP, mode="0600").sensitive == {"content"}
    assert unit(name="x", content=NAP, hide=True).sensitive == {"content"}
    assert unit(name="x", content=NAP).sensitive_beside({"mode": "0640"}) == {"content"}


@pytest.fixture(scope="module")
def host(machine_image: Path) -> Iterator[Machine]:
    """One host for all tests of this file; each has units of its own."""
    with Machine(machine_image) as machine:
        yield machine


def reloads(host: Machine) -> int:
    """Returns how often systemd has read its units again since the host booted."""
    told = "journalctl --boot --output=cat _PID=1 | grep -c '^Reloading' || true"
    return int(host.sh(f"journalctl --sync; {told}").stdout)


def told(host: Machine, name: str) -> list[str]:
    """Returns what systemctl says: whether the unit is active and enabled."""
    script = 'systemctl is-active "$1"; systemctl is-enabled "$1" 2>/dev/null'
    return host.sh(script, name, check=False).stdout.split()


def test_the_manager_reloads_when_it_must_and_only_then(host: Machine) -> None:
    begin = reloads(host)
    converge(host, "systemd.unit", name="nap", content=NAP)
    host.sh("systemctl start nap")
    assert host.read(f"{FOLDER}/nap.service") == NAP
    assert host.sh(f"stat -c '%a %U' {FOLDER}/nap.service").stdout == "644 root\n"
    assert reloads(host) == begin
    said = converge(host, "systemd.unit", name="nap.service", content=f"{NAP}#\n")
    assert said["changes"] == ["content"]
    assert reloads(host) == begin + 1
    assert host.sh("systemctl show -P NeedDaemonReload nap").stdout == "no\n"
    assert converge(host, "systemd.unit", name="nap", content=f"{NAP}#\n")["changes"] == []
    assert reloads(host) == begin + 1


def test_a_run_that_died_before_the_reload_is_repaired(host: Machine) -> None:
    converge(host, "systemd.unit", name="torn", content=NAP)
    host.sh("systemctl start torn")
    host.write(f"{FOLDER}/torn.service", f"{NAP}# new\n")
    said = converge(host, "systemd.unit", name="torn", content=f"{NAP}# new\n")
    assert said["changes"] == ["loaded"]
    assert host.sh("systemctl show -P NeedDaemonReload torn").stdout == "no\n"
    host.sh(f"rm {FOLDER}/torn.service")
    assert converge(host, "systemd.unit", name="torn", state="absent")["after"] is None
    assert host.sh("systemctl show -P LoadState torn").stdout == "not-found\n"


def test_a_part_of_a_unit_of_a_package_is_read_too(host: Machine) -> None:
    part = {"name": "cron.service.d/nice.conf", "content": "[Service]\nNice=5\n"}
    host.sh("systemctl is-active cron")
    converge(host, "systemd.unit", **part)
    assert host.sh("systemctl show -P Nice cron").stdout == "5\n"
    assert converge(host, "systemd.unit", **part)["changes"] == []
    converge(host, "systemd.unit", name=part["name"], state="absent")
    assert host.sh("systemctl show -P Nice cron").stdout == "0\n"
    assert host.sh(f"test -e {FOLDER}/cron.service.d", check=False).returncode == 1
    assert told(host, "cron") == ["active", "enabled"]


def test_a_part_may_come_before_the_package(host: Machine) -> None:
    said = converge(host, "systemd.unit", name="later.service.d/x.conf", content="[Service]\n")
    assert said["after"]["loaded"] is True


def test_running_instances_of_a_template_are_told(host: Machine) -> None:
    converge(host, "systemd.unit", name="app@.service", content=NAP)
    host.sh("systemctl enable --now app@one")
    converge(host, "systemd.unit", name="app@.service", content=f"{NAP}# new\n")
    assert host.sh("systemctl show -P NeedDaemonReload app@one").stdout == "no\n"
    said = converge(host, "systemd.unit", name="app@.service", state="absent")
    assert said["before"]["started"] == said["before"]["enabled"] == ["app@one.service"]
    assert told(host, "app@one") == ["inactive"]


def test_a_removed_unit_neither_runs_nor_leaves_links(host: Machine) -> None:
    converge(host, "systemd.unit", name="doomed", content=NAP)
    host.sh("systemctl enable --now doomed")
    converge(host, "systemd.unit", name="doomed", state="absent")
    assert told(host, "doomed") == ["inactive"]
    assert host.sh(f"find {FOLDER} -name 'doomed*'").stdout == ""
    assert converge(host, "systemd.unit", name="doomed", state="absent")["before"] is None


def test_a_unit_of_a_package_survives_the_file_that_overrode_it(host: Machine) -> None:
    converge(host, "systemd.unit", name="ssh", content=NAP)
    assert host.sh("systemctl show -P FragmentPath ssh").stdout == f"{FOLDER}/ssh.service\n"
    converge(host, "systemd.unit", name="ssh", state="absent")
    assert (
        host.sh("systemctl show -P FragmentPath ssh").stdout == "/lib/systemd/system/ssh.service\n"
    )
    assert told(host, "ssh") == ["active", "enabled"]


def test_a_unit_that_systemd_cannot_use_is_an_error_that_says_why(host: Machine) -> None:
    said = inside(host, "converge", "systemd.unit", name="bad", content="[Service]\nExecStrt=/x\n")
    assert "systemd cannot use /etc/systemd/system/bad.service" in said["error"]
    assert "ExecStrt" in said["facts"]["systemd-analyze verify"]
    assert converge(host, "systemd.unit", name="bad", content=NAP)["after"]["loaded"] is True


def test_a_masked_unit_is_refused(host: Machine) -> None:
    host.sh("systemctl mask shut")
    assert "masked = false" in refusal(host, "systemd.unit", name="shut", content=NAP)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("back", {"content": f"{NAP}# other\n", "mode": "0600"}),
        ("back", {"state": "absent"}),
        ("back@", {"state": "absent"}),
        ("cron.service.d/back.conf", {"state": "absent"}),
    ],
)
def test_what_was_there_before_comes_back(host: Machine, name: str, given: dict[str, Any]) -> None:
    host.sh(f"""
        mkdir -p {FOLDER}/cron.service.d
        echo '[Service]' >{FOLDER}/cron.service.d/back.conf
        printf '{NAP}' >{FOLDER}/back.service
        printf '{NAP}' >{FOLDER}/back@.service
        systemctl daemon-reload
        systemctl enable --now back back@one
    """)
    look = f"cd {FOLDER} && find . -path '*back*' -printf '%p %m %l\n' | sort; cat *back*.service"
    before = host.sh(look).stdout
    said = inside(host, "undo", "systemd.unit", name=name, **given)
    assert "error" not in said, said
    assert said["after"] != said["before"] == said["undone"]
    assert host.sh(look).stdout == before
    assert told(host, "back") == told(host, "back@one") == ["active", "enabled"]


def test_a_unit_that_was_made_goes(host: Machine) -> None:
    said = inside(host, "undo", "systemd.unit", name="brief", content=NAP)
    assert (said["before"], said["undone"]) == (None, None)
