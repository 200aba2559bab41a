"""Services on a real host: what ``systemd.*`` promises, looked at with systemctl."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Completed, Machine

DB = "/root/story.db"
NAP = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"


@pytest.fixture(scope="module")
def booted(machine_image: Path) -> Iterator[Machine]:
    """One host for all stories of this file."""
    with Machine(machine_image) as machine:
        yield machine


@pytest.fixture
def host(booted: Machine) -> Machine:
    """The host without a record of ours, with cron running and enabled, and no unit of ours."""
    booted.sh(f"""
        systemctl disable --now nap broken
        rm -rf {DB}* /etc/systemd/system/nap* /etc/systemd/system/broken* /root/story*
        systemctl unmask cron
        systemctl daemon-reload
        systemctl reset-failed
        systemctl enable --now cron
    """)
    return booted


def sloth(host: Machine, lua: str, *words: str, check: bool = True) -> Completed:
    """Runs a command of ours on a workflow."""
    host.write("/root/story.lua", lua)
    command, *options = words or ("run", "--yes")
    return host.sloth("--db", DB, command, "/root/story.lua", *options, check=check)


def events(host: Machine, lua: str, *words: str, check: bool = True) -> list[dict[str, Any]]:
    """Returns what a run or plan says, the last of it its summary."""
    command, *options = words or ("run", "--yes")
    done = sloth(host, lua, command, *options, "--json", check=check)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[-1]["type"] == "summary"
    return said


def summary(host: Machine, lua: str, *words: str, check: bool = True) -> dict[str, Any]:
    """Returns the counts that a run or plan ends with."""
    return events(host, lua, *words, check=check)[-1]


def told(host: Machine, unit: str) -> list[str]:
    """Returns what systemctl says: whether a unit is active, and enabled."""
    script = 'systemctl is-active "$1"; systemctl is-enabled "$1" 2>/dev/null'
    return host.sh(script, unit, check=False).stdout.split()


def began(host: Machine, unit: str) -> str:
    """Returns the moment at which a unit was last started."""
    return host.sh('systemctl show -P ExecMainStartTimestampMonotonic "$1"', unit).stdout


def test_what_runs_and_is_enabled_is_left_alone(host: Machine) -> None:
    lua = 'systemd.ensure({name = "cron", state = "started", enabled = true})'
    before = began(host, "cron")
    assert summary(host, lua)["unchanged"] == 1
    again = sloth(host, lua, "run", "--yes", "-q")
    assert (again.stdout, again.stderr) == ("", "")
    assert began(host, "cron") == before


def test_what_was_stopped_by_hand_is_drift_and_comes_back(host: Machine) -> None:
    lua = 'systemd.ensure({name = "cron", state = "started", enabled = true})'
    sloth(host, lua)
    host.sh("systemctl disable --now cron")
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json", check=False)
    [drifted] = json.loads(shown.stdout)["drifted"]
    assert drifted["address"] == "local/service:cron"
    assert {c["property"]: (c["recorded"], c["actual"]) for c in drifted["changes"]} == {
        "state": ("started", "stopped"),
        "enabled": (True, False),
    }
    assert told(host, "cron") == ["inactive", "disabled"]
    assert summary(host, lua)["changed"] == 1
    assert told(host, "cron") == ["active", "enabled"]


def test_a_unit_of_our_own_from_nothing_to_running(host: Machine) -> None:
    lua = f"""
        local unit = systemd.unit({{name = "nap", content = "{NAP}"}})
        systemd.enable("nap")
        systemd.start("nap")
        if unit.changed then systemd.restart("nap") end
    """
    planned = summary(host, lua, "plan")
    assert told(host, "nap") == ["inactive"]
    assert planned["failed"] == 0
    first = summary(host, lua)
    assert (first["failed"], first["ran"]) == (0, 1)
    assert told(host, "nap") == ["active", "enabled"]
    before = began(host, "nap")
    again = summary(host, lua)
    assert (again["created"], again["changed"], again["ran"]) == (0, 0, 0)
    assert began(host, "nap") == before


def test_a_changed_unit_is_read_and_restarted_once(host: Machine) -> None:
    lua = """
        local unit = systemd.unit({name = "nap", content = "%s"})
        systemd.ensure({name = "nap", state = "started"})
        if unit.changed then systemd.restart({name = "nap"}) end
    """
    sloth(host, lua % NAP)
    before = began(host, "nap")
    assert summary(host, lua % f"{NAP}# new\\n")["ran"] == 1
    assert host.sh("systemctl show -P NeedDaemonReload nap").stdout == "no\n"
    assert began(host, "nap") != before


def test_a_service_that_dies_at_once_is_a_failure_with_its_last_words(host: Machine) -> None:
    lua = """
        systemd.unit({
            name = "broken",
            content = "[Service]\\nExecStart=/bin/sh -c 'echo out of cheese; exit 3'\\n",
        })
        systemd.start("broken")
    """
    failed = sloth(host, lua, check=False)
    assert failed.returncode == 1
    assert "out of cheese" in failed.stdout + failed.stderr
    assert "story.lua:6" in failed.stdout + failed.stderr


def test_a_restart_that_fails_is_owed_until_it_succeeds(host: Machine) -> None:
    sloth(host, f'systemd.unit({{name = "nap", content = "{NAP}"}}) systemd.start("nap")')
    lua = """
        local unit = systemd.unit({name = "nap", content = "[Service]\\nExecStart=%s\\n"})
        if unit.changed then systemd.restart("nap") end
    """
    assert sloth(host, lua % "/root/story-daemon", check=False).returncode == 1
    assert told(host, "nap")[0] != "active"
    host.write("/root/story-daemon", "#!/bin/sh\nexec sleep infinity\n", 0o755)
    again = summary(host, lua % "/root/story-daemon")
    assert (again["carried"], again["ran"]) == (1, 1)
    assert told(host, "nap")[0] == "active"


def test_what_cannot_be_started_or_enabled_is_refused_in_the_preview(host: Machine) -> None:
    host.sh("systemctl mask --now cron")
    for call, why in (
        ('systemd.start("sssh")', "did you mean 'ssh'"),
        ('systemd.start("cron")', "masked = false"),
        ('systemd.enable("dbus.socket")', "static"),
    ):
        failed = sloth(host, call, "plan", check=False)
        assert failed.returncode == 1, call
        assert why in failed.stdout + failed.stderr


def test_two_lines_that_contradict_each_other_are_an_error(host: Machine) -> None:
    failed = sloth(host, 'systemd.stop("cron")\nsystemd.start("cron.service")', check=False)
    assert failed.returncode != 0
    assert "story.lua:1" in failed.stdout + failed.stderr


@pytest.mark.parametrize("names", [("ssh", "sshd"), ("sshd", "ssh"), ("sshd.service", "napper")])
def test_two_names_of_one_unit_cannot_be_declared_otherwise(
    host: Machine, names: tuple[str, str]
) -> None:
    host.sh("ln -s /lib/systemd/system/ssh.service /etc/systemd/system/napper.service")
    host.sh("systemctl daemon-reload")
    one, other = (f'systemd.ensure({{name = "{name}", %s}})' for name in names)
    clash = one % 'state = "started"' + "\n" + other % 'state = "stopped"'
    for words in (("plan",), ("run", "--yes")):
        failed = sloth(host, clash, *words, check=False)
        assert failed.returncode != 0
        assert "story.lua:1, are the same on this host" in failed.stderr
        assert told(host, "ssh") == ["active", "enabled"]
    agreed = one % 'state = "started"' + "\n" + other % "enabled = true"
    assert summary(host, agreed)["unchanged"] == 2


def test_stopping_what_was_removed_meanwhile_changes_nothing(host: Machine) -> None:
    lua = """
        systemd.ensure({name = "nap", state = "stopped", enabled = false})
        systemd.unit({name = "nap", state = "absent"})
    """
    sloth(host, f'systemd.unit({{name = "nap", content = "{NAP}"}}) systemd.start("nap")')
    assert summary(host, lua)["changed"] == 1
    again = summary(host, lua)
    assert (again["changed"], again["removed"], again["unchanged"]) == (0, 0, 2)


def test_what_runs_without_its_unit_file_is_not_enabled(host: Machine) -> None:
    host.sh(f"printf '{NAP}' >/etc/systemd/system/nap.service; systemctl daemon-reload")
    lua = 'systemd.ensure({name = "nap", state = "started", enabled = true})'
    sloth(host, lua)
    host.sh("rm /etc/systemd/system/nap.service; systemctl daemon-reload")
    for words in (("plan",), ("run", "--yes")):
        refused = sloth(host, lua, *words, check=False)
        assert "nap.service runs on" in refused.stderr and "has no unit file" in refused.stderr
    assert told(host, "nap")[0] == "active"
    assert summary(host, 'systemd.ensure({name = "nap", state = "started"})')["failed"] == 0
    assert summary(host, 'systemd.ensure({name = "nap", state = "stopped"})')["changed"] == 1


def test_another_name_of_a_unit_is_not_masked_in_its_place(host: Machine) -> None:
    lua = 'systemd.ensure({name = "sshd", masked = true})'
    for words in (("plan",), ("run", "--yes")):
        refused = sloth(host, lua, *words, check=False)
        assert "sshd is another name of ssh" in refused.stderr
    assert told(host, "ssh") == ["active", "enabled"]


def test_actions_say_what_they_cannot_do(host: Machine) -> None:
    for call, why in (
        ('systemd.reload("cron")', "ExecReload"),
        ('systemd.reload("nosuch")', "there is no unit nosuch.service"),
        ('systemd.restart("nosuch")', "there is no unit nosuch.service"),
    ):
        failed = sloth(host, call, check=False)
        assert failed.returncode == 1
        assert why in failed.stdout + failed.stderr


def test_a_reload_keeps_the_process_and_a_restart_replaces_it(host: Machine) -> None:
    before = began(host, "ssh")
    sloth(host, 'systemd.reload("ssh")')
    assert began(host, "ssh") == before
    sloth(host, 'systemd.restart({name = "ssh"}) systemd.daemon_reload()')
    assert began(host, "ssh") != before
    assert told(host, "ssh")[0] == "active"


def test_waits_end_when_the_service_answers(host: Machine) -> None:
    lua = """
        systemd.restart("ssh")
        wait.port({port = 22, timeout = "10s"})
        wait.file({path = "/run/sshd.pid", timeout = "10s"})
        local ok, err = pcall(wait.port, {port = 1, timeout = "300ms", interval = "50ms"})
        print(ok, err)
    """
    done = sloth(host, lua, "run", "--yes", "-v")
    assert "Connection refused" in done.stdout + done.stderr


def test_what_systemd_quotes_of_a_private_unit_is_not_shown(host: Machine) -> None:
    unit = "[Service]\nEnvironment=PASSWORD=correct horsebattery99\nExecStrat=/bin/false\n"
    host.write("/root/story.unit", unit)
    lua = """
        local content = io.open("/root/story.unit"):read("a")
        systemd.unit({name = "broken", mode = "0600", content = content})
    """
    failed = sloth(host, lua, check=False)
    assert failed.returncode == 1
    assert "broken.service:2: (sensitive)" in failed.stdout + failed.stderr
    host.write("/root/story.unit", unit.replace("ExecStrat", "ExecStart"))
    started = sloth(host, lua + ' systemd.start("broken")', check=False)
    assert started.returncode == 1
    shown = failed.stdout + failed.stderr + started.stdout + started.stderr
    kept = host.sloth("--db", DB, "stack", "export", "story").stdout
    assert "horsebattery99" not in shown + kept


def test_a_unit_that_cannot_be_declared_as_it_is_is_not_accepted(host: Machine) -> None:
    sloth(
        host,
        f"""
        systemd.unit({{name = "nap", content = "{NAP}"}})
        systemd.ensure({{name = "nap", state = "started"}})
    """,
    )
    host.sh("systemctl kill -s SEGV nap; sleep 0.5")
    refused = host.sloth("--db", DB, "stack", "accept", "story", "service:nap", check=False)
    assert refused.returncode == 2
    assert "cannot be accepted" in refused.stderr
    host.sloth("--db", DB, "stack", "drift", "story", "--fix")
    assert told(host, "nap")[0] == "active"


def test_what_is_nearer_to_an_instance_stands_for_the_template(host: Machine) -> None:
    lua = """
        systemd.unit({name = "nap@", content = "[Service]\\nExecStart=/bin/sleep infinity\\n"})
        systemd.unit({name = "nap@.service.d/nice.conf", content = "[Service]\\nNice=3\\n"})
        systemd.unit({name = "nap@big.service.d/nice.conf", content = "[Service]\\nNice=7\\n"})
        systemd.ensure({names = {"nap@big", "nap@small"}, state = "started"})
    """
    assert summary(host, lua)["failed"] == 0
    again = summary(host, lua)
    assert (again["failed"], again["changed"]) == (0, 0)
    host.sh("systemctl stop 'nap@*'")


def test_an_enabled_instance_goes_with_its_template(host: Machine) -> None:
    unit = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    sloth(
        host,
        f"""
        systemd.unit({{name = "nap@", content = "{unit}"}})
        systemd.enable("nap@one")
    """,
    )
    link = "/etc/systemd/system/multi-user.target.wants/nap@one.service"
    host.sh(f"test -L {link}")
    sloth(host, 'systemd.unit({name = "nap@", state = "absent"})')
    assert host.sh(f"test -L {link}", check=False).returncode == 1


def test_the_mask_of_what_is_not_installed_is_taken_away(host: Machine) -> None:
    host.sh("systemctl mask nosuch")
    lua = """
        systemd.ensure({name = "nosuch", masked = false, state = "stopped", enabled = false})
    """
    assert summary(host, lua)["failed"] == 0
    assert host.sh("test -e /etc/systemd/system/nosuch.service", check=False).returncode == 1
    assert summary(host, lua)["unchanged"] == 1


def test_a_stopped_service_that_ran_and_ended_is_no_drift(host: Machine) -> None:
    once = "[Service]\\nType=oneshot\\nExecStart=/bin/true\\n"
    sloth(
        host,
        f"""
        systemd.unit({{name = "nap", content = "{once}"}})
        systemd.ensure({{name = "nap", state = "stopped"}})
    """,
    )
    host.sh("systemctl start nap")
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json").stdout
    assert json.loads(shown)["drifted"] == []


def test_a_part_for_all_units_of_a_prefix_is_read_by_them(host: Machine) -> None:
    unit = (
        'systemd.unit({name = "nap-a", content = "[Service]\\nExecStart=/bin/sleep infinity\\n"})'
    )
    start = ' systemd.ensure({name = "nap-a", state = "started"})'
    sloth(host, unit + start)
    part = 'systemd.unit({name = "nap-.service.d/nice.conf", content = "[Service]\\nNice=4\\n"}) '
    assert summary(host, part + unit + start)["failed"] == 0
    assert host.sh("systemctl show -p Nice --value nap-a").stdout == "4\n"
    assert summary(host, part + unit + start)["changed"] == 0
    host.sh("systemctl stop nap-a")
