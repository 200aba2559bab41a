"""Packages on a real Debian host: what ``pkg.*`` promises, looked at with apt and dpkg."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Completed, Machine

OURS = "hello jq tree sloth-pin sloth-conf sloth-conflict"
LIST = "deb [trusted=yes] file:/opt/repo ./\n"
DB = "/root/story.db"
# Takes a lock as apt and dpkg do, says so, and keeps it for some seconds.
LOCK = """
import fcntl, sys, time
lock = open(sys.argv[1], "a")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def booted(machine_image: Path) -> Iterator[Machine]:
    """One host for all stories of this file, since each of them can be wiped away."""
    with Machine(machine_image) as machine:
        yield machine


@pytest.fixture
def host(booted: Machine) -> Machine:
    """The host without any package of ours, with its own repository as the only source."""
    booted.sh(f"apt-mark unhold {OURS}; rm -rf {DB}* /etc/apt/apt.conf.d/99story", check=False)
    booted.sh("rm -f /etc/apt/sources.list.d/* /etc/apt/keyrings/* /etc/apt/preferences.d/*")
    booted.write("/etc/apt/sources.list", LIST)
    booted.sh("apt-get -q update")
    booted.sh(f"DEBIAN_FRONTEND=noninteractive apt-get -qy purge {OURS}")
    booted.sh("rm -f /etc/sloth-conf.conf /var/lib/apt/periodic/update-success-stamp")
    return booted


def sloth(host: Machine, lua: str, *words: str, check: bool = True) -> Completed:
    """Runs a command of ours on a workflow."""
    host.write("/root/story.lua", lua)
    command, *options = words or ("run", "--yes")
    return host.sloth("--db", DB, command, "/root/story.lua", *options, check=check)


def summary(host: Machine, lua: str, *words: str, check: bool = True) -> dict[str, Any]:
    """Returns the counts that a run ends with."""
    command, *options = words or ("run", "--yes")
    done = sloth(host, lua, command, *options, "--json", check=check)
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "summary"
    return last


def version(host: Machine, package: str) -> str:
    """Returns the version that is installed, or what dpkg calls its state otherwise."""
    shown = host.sh(
        "dpkg-query -W -f '${db:Status-Status} ${Version}' -- \"$1\"", package, check=False
    )
    status, _, installed = shown.stdout.partition(" ")
    return installed if status == "installed" else status or "unknown"


def transactions(host: Machine) -> int:
    """Returns how many transactions apt has noted so far."""
    return int(host.sh("grep -c ^Commandline: /var/log/apt/history.log || true").stdout or "0")


def traces(host: Machine) -> str:
    """Returns name, times, size and mode of everything on the host that is not of the story."""
    ours = "-path /root -o -path /tmp -o -path /var/log/journal"
    disk = host.sh(f"find / -xdev \\( {ours} \\) -prune -o -printf '%p %T@ %C@ %s %m\\n' | sort")
    return disk.stdout + host.sh("stat -c '%n %a' /dev/null").stdout


def locked(host: Machine, path: str, seconds: float) -> subprocess.Popen[bytes]:
    """Has somebody else hold a lock on the host."""
    argv = ["python3", "-c", LOCK, path, str(seconds)]
    holder = host.popen(argv, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    return holder


def test_many_names_are_one_transaction_and_the_second_run_changes_nothing(host: Machine) -> None:
    lua = 'pkg.install({names = {"hello", "tree", "jq"}})'
    before = transactions(host)
    assert summary(host, lua)["created"] == 3
    assert transactions(host) == before + 1
    assert "unknown" not in {version(host, name) for name in ("hello", "tree", "jq")}
    again = summary(host, lua)
    assert (again["created"], again["changed"], again["unchanged"]) == (0, 0, 3)
    assert transactions(host) == before + 1
    quiet = sloth(host, lua, "run", "--yes", "-q")
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_what_was_removed_by_hand_is_installed_again(host: Machine) -> None:
    lua = 'pkg.install("hello")'
    sloth(host, lua)
    host.sh("apt-get -qy remove hello")
    assert summary(host, lua)["created"] == 1
    assert version(host, "hello") == "2.10-3+sloth1"


def test_a_preview_changes_nothing_and_says_what_the_run_would(host: Machine) -> None:
    sloth(host, 'pkg.install({name = "sloth-pin", version = "1.0"})')
    lua = """
        pkg.latest("sloth-pin")
        pkg.install("hello")
    """
    before = traces(host)
    planned = summary(host, lua, "plan")
    assert traces(host) == before
    assert (planned["created"], planned["changed"]) == (1, 1)
    done = summary(host, lua)
    assert (done["created"], done["changed"]) == (1, 1)
    assert version(host, "sloth-pin") == "1:2.0-1"


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [("1.0-1", "1.0-1"), ("1.1", "1.1-1"), ("1.*", "1.1-1"), ("2.0", "1:2.0-1")],
)
def test_a_version_is_chosen_in_full_by_its_upstream_part_or_as_a_glob(
    host: Machine, wanted: str, reached: str
) -> None:
    lua = f'pkg.install({{name = "sloth-pin", version = "{wanted}"}})'
    sloth(host, lua)
    assert version(host, "sloth-pin") == reached
    assert summary(host, lua)["unchanged"] == 1


def test_a_plan_and_a_run_show_which_version_a_wish_comes_to(host: Machine) -> None:
    lua = 'pkg.install({name = "sloth-pin", version = "1.*"})'
    assert '       version     (absent) -> "1.1-1"\n' in sloth(host, lua, "plan").stdout
    assert "package:sloth-pin state present, version 1.1-1" in sloth(host, lua).stdout
    newest = 'pkg.latest({name = "sloth-pin"})'
    assert '       latest      "1.1-1" -> "1:2.0-1"\n' in sloth(host, newest, "plan").stdout
    assert "package:sloth-pin latest 1.1-1 -> 1:2.0-1" in sloth(host, newest).stdout


def test_asking_for_an_older_version_downgrades(host: Machine) -> None:
    sloth(host, 'pkg.install("sloth-pin")')
    assert version(host, "sloth-pin") == "1:2.0-1"
    assert summary(host, 'pkg.install({name = "sloth-pin", version = "1.0"})')["changed"] == 1
    assert version(host, "sloth-pin") == "1.0-1"


def test_a_version_that_is_not_there_is_answered_with_those_that_are(host: Machine) -> None:
    lua = 'pkg.install({name = "sloth-pin", version = "9.*"})'
    for command in (("plan",), ("run", "--yes")):
        failed = sloth(host, lua, *command, check=False)
        assert failed.returncode == 1
        assert "1:2.0-1, 1.1-1, 1.0-1" in failed.stdout + failed.stderr
    assert version(host, "sloth-pin") == "unknown"


def test_any_installed_version_will_do_where_none_is_asked_for(host: Machine) -> None:
    host.sh("apt-get -qy install sloth-pin=1.0-1")
    assert summary(host, 'pkg.install("sloth-pin")')["unchanged"] == 1
    assert version(host, "sloth-pin") == "1.0-1"


def test_latest_follows_the_index_and_drift_compares_with_what_was_reached(host: Machine) -> None:
    lua = 'pkg.latest("sloth-pin")'
    sloth(host, lua)
    assert version(host, "sloth-pin") == "1:2.0-1"
    host.sh("apt-get -qy --allow-downgrades install sloth-pin=1.1-1")
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json", check=False)
    [drifted] = json.loads(shown.stdout)["drifted"]
    assert drifted["address"] == "local/package:sloth-pin"
    moved = {c["property"]: (c["recorded"], c["actual"]) for c in drifted["changes"]}
    assert moved["version"] == ("1:2.0-1", "1.1-1")
    assert summary(host, lua)["changed"] == 1
    assert version(host, "sloth-pin") == "1:2.0-1"


def test_latest_respects_a_pin_and_a_newer_candidate_is_no_drift(host: Machine) -> None:
    host.write(
        "/etc/apt/preferences.d/story",
        "Package: sloth-pin\nPin: version 1.1-1\nPin-Priority: 1001\n",
    )
    lua = 'pkg.latest("sloth-pin")'
    sloth(host, lua)
    assert version(host, "sloth-pin") == "1.1-1"
    assert summary(host, lua)["unchanged"] == 1
    host.sh("rm /etc/apt/preferences.d/story")
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json", check=False)
    assert json.loads(shown.stdout)["drifted"] == []
    assert summary(host, lua)["changed"] == 1
    assert version(host, "sloth-pin") == "1:2.0-1"


def test_other_packages_are_removed_only_where_that_is_allowed(host: Machine) -> None:
    host.sh("apt-get -qy install hello")
    lua = 'pkg.install({name = "sloth-conflict"})'
    for command in (("plan",), ("run", "--yes")):
        refused = sloth(host, lua, *command, check=False)
        assert refused.returncode == 1
        said = refused.stdout + refused.stderr
        assert "would also remove hello" in said
        assert "allow_removal" in said
    assert version(host, "hello") == "2.10-3+sloth1"
    assert version(host, "sloth-conflict") == "unknown"
    sloth(host, 'pkg.install({name = "sloth-conflict", allow_removal = true})')
    assert version(host, "sloth-conflict") == "1.0-1"
    assert version(host, "hello") in ("unknown", "config-files", "not-installed")


def test_removing_what_others_need_names_them(host: Machine) -> None:
    refused = sloth(host, 'pkg.remove("python3-minimal")', check=False)
    assert refused.returncode == 1
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "python3-apt" in said
    assert version(host, "python3-minimal") != "unknown"


def test_essential_packages_are_never_removed(host: Machine) -> None:
    refused = sloth(host, 'pkg.remove({name = "bash", allow_removal = true})', check=False)
    assert refused.returncode == 1
    assert version(host, "bash")[0].isdigit()


def test_an_unknown_name_fails_with_advice_and_the_others_are_installed(host: Machine) -> None:
    failed = sloth(host, 'pkg.install({names = {"helo", "tree"}})', check=False)
    assert failed.returncode == 1
    said = failed.stdout + failed.stderr
    assert "no package named helo" in said
    assert "hello" in said
    assert version(host, "tree")[0].isdigit()


def test_a_virtual_package_is_answered_with_its_providers(host: Machine) -> None:
    failed = sloth(host, 'pkg.install("awk")', check=False)
    assert failed.returncode == 1
    assert "mawk" in failed.stdout + failed.stderr


def test_a_changed_configuration_file_survives_an_upgrade(host: Machine) -> None:
    sloth(host, 'pkg.install({name = "sloth-conf", version = "1.0"})')
    host.write("/etc/sloth-conf.conf", "mine\n")
    sloth(host, 'pkg.latest("sloth-conf")')
    assert version(host, "sloth-conf") == "2.0-1"
    assert host.read("/etc/sloth-conf.conf") == "mine\n"


def test_removing_leaves_the_configuration_and_purging_takes_it(host: Machine) -> None:
    sloth(host, 'pkg.install("sloth-conf")')
    remove = 'pkg.remove("sloth-conf")'
    assert summary(host, remove)["removed"] == 1
    assert version(host, "sloth-conf") == "config-files"
    assert summary(host, remove)["unchanged"] == 1
    host.sh("test -e /etc/sloth-conf.conf")

    purge = 'pkg.remove({name = "sloth-conf", purge = true})'
    assert summary(host, purge)["removed"] == 1
    assert version(host, "sloth-conf") in ("unknown", "not-installed")
    assert host.sh("test -e /etc/sloth-conf.conf", check=False).returncode == 1
    assert summary(host, purge)["unchanged"] == 1


def test_removed_but_configured_is_not_installed(host: Machine) -> None:
    host.sh("apt-get -qy install sloth-conf && apt-get -qy remove sloth-conf")
    assert version(host, "sloth-conf") == "config-files"
    assert summary(host, 'pkg.install("sloth-conf")')["created"] == 1
    assert version(host, "sloth-conf") == "2.0-1"


def test_dependencies_stay_when_a_package_goes(host: Machine) -> None:
    sloth(host, 'pkg.install("jq")')
    needed = host.sh("dpkg-query -W -f '${Depends}' jq | grep -o 'libjq[0-9]*'").stdout.strip()
    host.write("/etc/apt/apt.conf.d/99story", 'APT::Get::AutomaticRemove "true";\n')
    sloth(host, 'pkg.remove("jq")')
    assert version(host, "jq") != "installed"
    assert version(host, needed)[0].isdigit()


@pytest.mark.parametrize("lock", ["/var/lib/dpkg/lock-frontend", "/var/cache/apt/archives/lock"])
def test_a_run_waits_for_whoever_uses_the_package_system(host: Machine, lock: str) -> None:
    with locked(host, lock, 3):
        began = time.monotonic()
        sloth(host, 'pkg.install("tree")')
        assert time.monotonic() - began > 1
    assert version(host, "tree")[0].isdigit()


def test_a_run_gives_up_at_the_deadline_and_says_who_holds_the_lock(host: Machine) -> None:
    with locked(host, "/var/cache/apt/archives/lock", 30) as holder:
        lua = 'pkg.install({name = "tree", lock_timeout = "1s"})'
        failed = sloth(host, lua, check=False)
        holder.kill()
    assert failed.returncode == 1
    assert "is locked by process" in " ".join((failed.stdout + failed.stderr).split())
    assert version(host, "tree") == "unknown"


def test_what_a_killed_dpkg_left_half_done_is_finished(host: Machine) -> None:
    host.sh("dpkg --unpack /opt/repo/hello_2.10-3_*.deb; touch /var/lib/dpkg/updates/0000")
    assert version(host, "hello") == "unpacked"
    assert summary(host, 'pkg.install("hello")')["changed"] == 1
    assert version(host, "hello") == "2.10-3"


def test_what_was_killed_while_it_was_unpacked_is_unpacked_again(host: Machine) -> None:
    host.sh("apt-get -qy install tree; rm /usr/bin/tree")
    status = host.read("/var/lib/dpkg/status")
    head, at, rest = status.partition("Package: tree\n")
    broken = rest.replace("install ok installed", "install reinstreq half-installed", 1)
    host.write("/var/lib/dpkg/status", head + at + broken)
    assert version(host, "tree") == "half-installed"
    ran = summary(host, 'pkg.install({names = {"tree", "hello"}})')
    assert (ran["created"], ran["changed"]) == (1, 1)
    assert host.sh("tree --version").returncode == 0
    assert version(host, "tree")[0].isdigit()


def test_what_happens_to_packages_that_nobody_named_is_in_the_plan_and_in_the_history(
    host: Machine,
) -> None:
    host.sh("apt-get -qy purge libjq1 libonig5")
    lua = 'pkg.install({names = {"jq", "tree"}})'
    told = "also installs libjq1, libonig5"
    assert told in sloth(host, lua, "plan").stdout
    assert told in sloth(host, lua).stdout
    assert told in host.sloth("--db", DB, "stack", "history", "story", "1").stdout
    host.sh("apt-get -qy install hello")
    lua = 'pkg.install({name = "sloth-conflict", allow_removal = true})'
    assert "also removes hello" in sloth(host, lua, "plan").stdout
    assert "also removes hello" in sloth(host, lua).stdout
    assert version(host, "hello") == "unknown" or not version(host, "hello")[0].isdigit()


def test_a_package_whose_script_fails_is_explained_and_finished_later(host: Machine) -> None:
    host.sh("""
        mkdir -p /opt/fussy/DEBIAN && cd /opt/fussy
        printf 'Package: fussy\nVersion: 1\nArchitecture: all\n' >DEBIAN/control
        printf 'Maintainer: A <a@example.org>\nDescription: fussy\n' >>DEBIAN/control
        printf '#!/bin/sh\ntest -e /opt/content || exit 7\n' >DEBIAN/postinst
        chmod 755 DEBIAN/postinst && dpkg-deb -b . /opt/fussy_1_all.deb && mv /opt/fussy_* .
        {
        cat DEBIAN/control; echo Filename: ./fussy_1_all.deb
        echo Size: $(stat -c %s fussy_1_all.deb)
        echo SHA256: $(sha256sum <fussy_1_all.deb | cut -c-64); } >Packages
        echo 'deb [trusted=yes] file:/opt/fussy ./' >/etc/apt/sources.list.d/fussy.list
        apt-get -q update
    """)
    try:
        failed = " ".join(sloth(host, 'pkg.install("fussy")', check=False).stderr.split())
        assert "dpkg could not finish fussy: installed fussy package post-installation" in failed
        host.sh("touch /opt/content")
        assert summary(host, 'pkg.install("fussy")')["changed"] == 1
        assert version(host, "fussy") == "1"
    finally:
        host.sh("dpkg --purge fussy; rm -rf /opt/fussy /opt/content")


def test_every_name_that_fails_is_explained(host: Machine) -> None:
    lua = 'pkg.install({names = {"nonesuch-a", "helo", "tree"}})'
    done = sloth(host, lua, check=False)
    assert "no package named nonesuch-a" in done.stderr
    assert "no package named helo" in done.stderr
    assert "similar: hello" in done.stderr


def test_what_is_on_hold_is_not_changed(host: Machine) -> None:
    host.sh("apt-get -qy install sloth-pin=1.0-1")
    held = 'pkg.hold({names = {"sloth-pin", "tree"}})'
    assert summary(host, held)["created"] == 2
    assert host.sh("apt-mark showhold").stdout.split() == ["sloth-pin", "tree"]
    assert summary(host, held)["unchanged"] == 2
    refused = sloth(host, 'pkg.latest("sloth-pin")', check=False)
    assert refused.returncode == 1
    assert "on hold: sloth-pin" in " ".join((refused.stdout + refused.stderr).split())
    assert version(host, "sloth-pin") == "1.0-1"
    freed = """
        pkg.hold({name = "sloth-pin", state = "absent"})
        pkg.latest("sloth-pin")
    """
    sloth(host, freed)
    assert version(host, "sloth-pin") == "1:2.0-1"
    assert host.sh("apt-mark showhold").stdout.split() == ["tree"]


@pytest.mark.parametrize("hold_first", [True, False])
def test_a_pinned_version_that_is_on_hold_moves_where_that_is_allowed(
    host: Machine, hold_first: bool
) -> None:
    def pinned(version: str) -> str:
        lines = [
            'pkg.hold("sloth-pin")',
            f'pkg.install({{name = "sloth-pin", version = "{version}", allow_held = true}})',
        ]
        return "\n".join(lines if hold_first else lines[::-1])

    def holds() -> list[str]:
        return host.sh("apt-mark showhold").stdout.split()

    sloth(host, pinned("1.0"))
    assert sloth(host, pinned("1.0"), "run", "--yes", "-q").stdout == ""
    assert summary(host, pinned("1.1"), "plan")["failed"] == 0
    assert (version(host, "sloth-pin"), holds()) == ("1.0-1", ["sloth-pin"])
    sloth(host, pinned("1.1"))
    assert (version(host, "sloth-pin"), holds()) == ("1.1-1", ["sloth-pin"])
    assert sloth(host, pinned("1.1"), "run", "--yes", "-q").stdout == ""
    sloth(host, 'pkg.remove({name = "sloth-pin", allow_held = true})')
    assert holds() == ["sloth-pin"]
    assert version(host, "sloth-pin") in ("config-files", "unknown", "not-installed")


def test_only_the_named_packages_may_change_although_they_are_on_hold(host: Machine) -> None:
    host.sh("apt-get -qy install jq; apt-mark hold jq")
    lua = 'pkg.remove({name = "libjq1", allow_held = true, allow_removal = true})'
    for words in (("plan",), ("run", "--yes")):
        refused = sloth(host, lua, *words, check=False)
        assert "jq : Depends: libjq1" in refused.stderr
    assert host.sh("apt-mark showhold").stdout.split() == ["jq"]


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize(
    ("lua", "refused"),
    [
        ('pkg.hold("tree") pkg.install("tree")', [False]),
        ('pkg.hold("tree") pkg.remove("tree")', [True]),
        ('pkg.install("tree") pkg.hold("tree")', []),
        ('pkg.hold("tree:OWN") pkg.install("tree")', [False]),
        ('pkg.hold("tree") pkg.remove("tree:OWN")', [True]),
        ('pkg.hold("tree") pkg.hold("hello") pkg.install({names = {"jq", "tree"}})', [False]),
        ('pkg.hold("tree") exec.run("apt-mark unhold tree") pkg.install("tree")', []),
    ],
    ids=[
        *("install", "remove", "install before", "held by another name", "by another name"),
        *("among others", "free again"),
    ],
)
def test_a_hold_that_will_be_there_is_respected_by_the_plan_as_by_the_run(
    host: Machine, lua: str, refused: list[bool], installed: bool
) -> None:
    lua = lua.replace("OWN", host.sh("dpkg --print-architecture").stdout.strip())
    if installed:
        host.sh("apt-get -qy install tree")
    planned, ran = summary(host, lua, "plan", check=False), summary(host, lua, check=False)
    assert (planned["failed"] > 0) is (ran["failed"] > 0) is (installed in refused)


@pytest.mark.parametrize(
    ("clash", "agreed"),
    [
        (
            'pkg.install("tree:amd64")\npkg.remove("tree")',
            'pkg.install("tree:amd64")\npkg.install({name = "tree", state = "installed"})',
        ),
        (
            'pkg.install("tree")\npkg.install({name = "tree:amd64", version = "1"})',
            'pkg.install("tree")\npkg.install("tree:amd64")',
        ),
        (
            'pkg.hold("tree")\npkg.hold({name = "tree:amd64", state = "absent"})',
            'pkg.hold("tree")\npkg.hold("tree:amd64")',
        ),
    ],
    ids=["there or not", "a version", "a hold"],
)
def test_two_names_of_one_package_cannot_be_declared_otherwise(
    host: Machine, clash: str, agreed: str
) -> None:
    own = host.sh("dpkg --print-architecture").stdout.strip()
    clash, agreed = clash.replace("amd64", own), agreed.replace("amd64", own)
    refused = sloth(host, clash, "plan", check=False)
    assert refused.returncode == 2
    assert "story.lua:1, are the same on this host" in refused.stderr
    assert sloth(host, clash, check=False).returncode == 1
    sloth(host, agreed)
    assert summary(host, agreed)["unchanged"] == 2


def test_another_architecture_is_another_package(host: Machine) -> None:
    host.sh("dpkg --add-architecture riscv64")
    try:
        lua = 'pkg.remove("tree:riscv64")\npkg.install("tree")'
        assert summary(host, lua)["created"] == 1
    finally:
        host.sh("dpkg --remove-architecture riscv64")


def test_the_index_is_refreshed_once_in_a_run_and_never_in_a_preview(host: Machine) -> None:
    host.write(
        "/etc/apt/apt.conf.d/99story", 'APT::Update::Pre-Invoke {"echo x >>/root/updates";};\n'
    )
    host.sh("rm -f /root/updates")
    lua = "pkg.update({}) pkg.update({})"
    sloth(host, lua, "plan")
    assert host.sh("cat /root/updates", check=False).stdout == ""
    counts = summary(host, lua)
    assert (counts["ran"], counts["changed"]) == (1, 0)
    assert host.read("/root/updates") == "x\n"
    young = 'pkg.update({cache_valid_time = "1h"})'
    assert summary(host, young)["ran"] == 0
    assert host.read("/root/updates") == "x\n"
    host.write("/etc/apt/sources.list.d/more.list", LIST)
    assert summary(host, young)["ran"] == 1
    assert host.read("/root/updates") == "x\nx\n"


def test_an_empty_index_is_filled_before_the_package_is_looked_for(host: Machine) -> None:
    host.sh("rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin")
    lua = 'pkg.update({cache_valid_time = "1h"}) pkg.install("hello")'
    assert sloth(host, lua, "plan").returncode == 0
    sloth(host, lua)
    assert version(host, "hello")[0].isdigit()


def test_a_source_that_does_not_answer_fails_the_refresh(host: Machine) -> None:
    host.write("/etc/apt/sources.list.d/bad.list", "deb [trusted=yes] file:/nowhere ./\n")
    failed = sloth(host, "pkg.update({})", check=False)
    assert failed.returncode == 1
    assert "file:/nowhere" in failed.stdout + failed.stderr


def test_a_repository_is_added_used_and_taken_away(host: Machine) -> None:
    host.sh("rm /etc/apt/sources.list && apt-get -q update")
    lua = """
        pkg.repository({name = "own", uris = {"file:/opt/repo"}, suites = {"./"}, trusted = true})
        pkg.install("hello")
    """
    assert sloth(host, lua, "plan").returncode == 0
    assert summary(host, lua)["created"] == 2
    assert version(host, "hello")[0].isdigit()
    assert host.read("/etc/apt/sources.list.d/own.sources") == (
        "Types: deb\nURIs: file:/opt/repo\nSuites: ./\nTrusted: yes\n"
    )
    assert summary(host, lua)["unchanged"] == 2
    spoil = "s/^Trusted.*/Enabled: no\\nLanguages: none/"
    host.sh('sed -i "$1" /etc/apt/sources.list.d/own.sources', spoil)
    assert summary(host, lua)["changed"] == 1
    # What was broken is mended, and what nobody manages is left alone.
    assert host.read("/etc/apt/sources.list.d/own.sources") == (
        "Types: deb\nURIs: file:/opt/repo\nSuites: ./\nTrusted: yes\nLanguages: none\n"
    )
    assert summary(host, 'pkg.repository({name = "own", state = "absent"})')["removed"] == 1
    assert host.sh("ls /etc/apt/sources.list.d").stdout == ""


def test_a_repository_that_does_not_answer_is_not_left_behind(host: Machine) -> None:
    source = 'uris = {"file:/nowhere"}, suites = {"./"}, trusted = true'
    lua = f'pkg.repository({{name = "bad", {source}}})'
    failed = sloth(host, lua, check=False)
    assert failed.returncode == 1
    assert host.sh("ls /etc/apt/sources.list.d").stdout == ""
    host.sh("apt-get -q update && apt-get -qy install hello")


@pytest.mark.needs("gpg")
def test_only_an_index_signed_with_the_given_key_is_taken(host: Machine, tmp_path: Path) -> None:
    stranger, owner = (signed_repository(host, tmp_path / name) for name in ("stranger", "owner"))
    host.write("/root/stranger.asc", stranger)
    host.write("/root/owner.asc", owner)
    lua = """
        local key = io.open("/root/%s.asc"):read("a")
        pkg.repository({name = "own", uris = {"file:/opt/signed"}, suites = {"./"}, key = key})
    """
    failed = sloth(host, lua % "stranger", check=False)
    assert failed.returncode == 1
    assert host.sh("ls -A /etc/apt/sources.list.d /etc/apt/keyrings").stdout.split() == [
        "/etc/apt/keyrings:",
        "/etc/apt/sources.list.d:",
    ]
    assert summary(host, lua % "owner")["created"] == 1
    assert host.read("/etc/apt/keyrings/own.asc") == owner
    assert summary(host, lua % "owner")["unchanged"] == 1
    assert "file:/opt/signed" in host.sh("apt-cache policy hello").stdout

    host.write("/etc/apt/keyrings/own.asc", stranger)
    assert summary(host, lua % "owner")["changed"] == 1
    assert host.read("/etc/apt/keyrings/own.asc") == owner


@pytest.mark.needs("gpg")
def test_a_key_is_fetched_only_with_its_checksum(host: Machine, tmp_path: Path) -> None:
    key = signed_repository(host, tmp_path / "owner")
    host.write("/srv/key", key)
    lua = """
        pkg.repository({
            name = "own", uris = {"file:/opt/signed"}, suites = {"./"},
            key_url = "http://127.0.0.1:8099/key", key_sha256 = "%s",
        })
    """
    server = host.popen(["python3", "-m", "http.server", "--directory", "/srv", "8099"])
    try:
        host.sh("bash -c 'until echo >/dev/tcp/127.0.0.1/8099; do sleep 0.05; done' 2>/dev/null")
        assert sloth(host, lua % ("0" * 64), check=False).returncode == 1
        places = host.sh("ls -A /etc/apt/sources.list.d /etc/apt/keyrings").stdout
        assert "own" not in places
        digest = hashlib.sha256(key.encode()).hexdigest()
        assert summary(host, lua % digest)["created"] == 1
    finally:
        server.kill()
        server.wait()
    assert host.read("/etc/apt/keyrings/own.asc") == key
    # The key is here: nobody has to be asked for it again.
    assert summary(host, lua % digest)["unchanged"] == 1


@pytest.mark.needs("gpg")
def test_a_key_that_is_on_the_host_is_used_where_it_is(host: Machine, tmp_path: Path) -> None:
    host.write("/usr/share/keyrings/story.asc", signed_repository(host, tmp_path / "owner"))
    lua = """
        pkg.repository({
            name = "own", uris = {"file:/opt/signed"}, suites = {"./"},
            key_path = "/usr/share/keyrings/story.asc",
        })
    """
    assert summary(host, lua)["created"] == 1
    assert host.sh("ls /etc/apt/keyrings").stdout == ""
    assert summary(host, lua)["unchanged"] == 1


def signed_repository(host: Machine, home: Path) -> str:
    """Puts a repository signed with a new key at /opt/signed and returns the public key."""
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    subprocess.run(
        [*gpg, "--quick-gen-key", "story@example.org", "ed25519", "sign", "never"],
        check=True,
        capture_output=True,
    )
    release = host.sh(
        "rm -rf /opt/signed && cp -r /opt/repo /opt/signed && cd /opt/signed && "
        "echo Suite: story && LC_ALL=C date -u '+Date: %a, %d %b %Y %H:%M:%S UTC' && "
        "echo SHA256: && echo \" $(sha256sum <Packages | cut -d' ' -f1) $(stat -c %s Packages) "
        'Packages"'
    ).stdout
    signed = subprocess.run(
        [*gpg, "--clearsign"], input=release, text=True, check=True, capture_output=True
    )
    host.write("/opt/signed/InRelease", signed.stdout)
    exported = subprocess.run(
        [*gpg, "--armor", "--export"], text=True, check=True, capture_output=True
    )
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    return exported.stdout


@pytest.mark.parametrize(
    "lua",
    [
        'pkg.remove("hello") pkg.install("sloth-conflict")',
        'group.create("anything") pkg.remove({names = {"jq", "libjq1"}})',
    ],
    ids=["what stands in the way goes before", "one call with several names"],
)
def test_a_plan_refuses_nothing_that_its_run_does(host: Machine, lua: str) -> None:
    sloth(host, 'pkg.install({names = {"hello", "jq"}})')
    planned = summary(host, lua, "plan")
    assert planned["failed"] == 0
    ran = summary(host, lua)
    assert (ran["failed"], ran["removed"]) == (0, planned["removed"])
    host.sh("groupdel anything", check=False)


def test_a_refresh_that_was_not_needed_does_not_stand_for_one_that_is(host: Machine) -> None:
    host.sh("cp -r /opt/repo /opt/other")
    lua = """
        pkg.update({cache_valid_time = "1h"})
        file_ops.content({path = "/etc/apt/sources.list.d/other.list",
            content = "deb [trusted=yes] file:/opt/other ./\\n"})
        pkg.update()
    """
    sloth(host, "pkg.update()")
    assert summary(host, lua)["ran"] == 1
    assert "/opt/other" in host.sh("apt-cache policy").stdout
    host.sh("rm -r /opt/other")


def test_the_same_wish_in_other_words_is_one_resource(host: Machine) -> None:
    lua = 'pkg.install("hello") pkg.install({name = "hello", state = "installed"})'
    assert summary(host, lua)["created"] == 1
    assert summary(host, lua)["unchanged"] == 2


def test_what_was_installed_is_not_owed_where_it_is_to_be_removed(host: Machine) -> None:
    sloth(host, 'pkg.install("hello") error("broken off")', check=False)
    host.sh("apt-get -qy purge hello")
    lua = 'print((pkg.remove("hello")).status)'
    assert summary(host, lua, "plan")["carried"] == 0
    ran = summary(host, lua)
    assert (ran["carried"], ran["unchanged"]) == (0, 1)
