"""Users and groups on a real host: what ``user.*`` and ``group.*`` promise, asked of getent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Completed, Machine

DB = "/root/story.db"
HASH = "$6$saltsalt$" + "hunter2./" * 9 + "abcde"


@pytest.fixture(scope="module")
def booted(machine_image: Path) -> Iterator[Machine]:
    """One host for all stories of this file."""
    with Machine(machine_image) as machine:
        yield machine


@pytest.fixture
def host(booted: Machine) -> Machine:
    """The host without a record of ours and without the accounts that the stories make."""
    booted.sh(
        f"""
        rm -rf {DB}*
        for name in appuser ada; do
            pkill -KILL -u $name; while pgrep -u $name; do sleep 0.02; done
            userdel --remove $name
        done
        for name in appuser ada web db; do groupdel $name; done
        rm -rf /home/appuser /home/ada
        """,
        check=False,
    )
    return booted


def sloth(host: Machine, lua: str, *words: str, check: bool = True) -> Completed:
    """Runs a command of ours on a workflow."""
    host.write("/root/story.lua", lua)
    command, *options = words or ("run", "--yes")
    return host.sloth("--db", DB, command, "/root/story.lua", *options, check=check)


def summary(host: Machine, lua: str, *words: str, check: bool = True) -> dict[str, Any]:
    """Returns the counts that a run or plan ends with."""
    command, *options = words or ("run", "--yes")
    done = sloth(host, lua, command, *options, "--json", check=check)
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "summary"
    return last


def test_create_and_modify_of_one_user_change_nothing_the_second_time(host: Machine) -> None:
    lua = """
        user.create({name = "appuser", shell = "/bin/bash", home = "/home/appuser"})
        user.modify({name = "appuser", shell = "/bin/zsh"})
    """
    assert summary(host, lua, "plan")["failed"] == 0
    assert host.sh("getent passwd appuser", check=False).returncode == 2
    first = summary(host, lua)
    assert (first["created"], first["changed"]) == (1, 1)
    assert host.sh("getent passwd appuser | cut -d: -f6-").stdout == "/home/appuser:/bin/zsh\n"
    assert host.sh("stat -c %U /home/appuser").stdout == "appuser\n"
    again = summary(host, lua)
    assert (again["created"], again["changed"], again["failed"]) == (0, 0, 0)
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json").stdout
    assert json.loads(shown)["drifted"] == []


def test_an_edited_modify_is_applied_and_a_dropped_one_is_forgotten(host: Machine) -> None:
    create = 'user.create({name = "appuser", shell = "/bin/bash"})\n'
    modify = 'user.modify({name = "appuser", shell = "%s"})\n'
    shell = "getent passwd appuser | cut -d: -f7"
    sloth(host, create + modify % "/bin/zsh")
    assert summary(host, create + modify % "/bin/dash")["changed"] == 1
    assert host.sh(shell).stdout == "/bin/dash\n"
    assert summary(host, create + modify % "/bin/dash")["changed"] == 0
    sloth(host, create)
    sloth(host, create)
    assert host.sh(shell).stdout == "/bin/bash\n"


def test_several_modifies_of_one_user_do_not_undo_each_other(host: Machine) -> None:
    lua = """
        user.create({name = "appuser", groups = {"users", "games"}, shell = "/bin/bash"})
        user.modify({name = "appuser", shell = "/bin/sh"})
        user.modify({name = "appuser", groups = {"tape"}, append = true})
    """
    assert summary(host, lua)["created"] == 1
    again = summary(host, lua)
    assert (again["changed"], again["unchanged"]) == (0, 3)
    assert host.sh("id -nG appuser").stdout == "appuser tape games users\n"
    assert host.sh("getent passwd appuser | cut -d: -f7").stdout == "/bin/sh\n"


def test_groups_and_their_users_in_one_workflow(host: Machine) -> None:
    lua = """
        group.create({names = {"web", "db"}})
        user.create({name = "ada", groups = {"web", "db"}, comment = "Ada Lovelace"})
    """
    planned = summary(host, lua, "plan")
    assert (planned["created"], planned["failed"]) == (3, 0)
    assert summary(host, lua)["created"] == 3
    assert host.sh("id -nG ada").stdout == "ada web db\n"
    assert summary(host, lua)["unchanged"] == 3


def test_a_group_that_somebody_was_taken_out_of_is_drift(host: Machine) -> None:
    lua = """
        group.create({names = {"web", "db"}})
        user.create({name = "ada", groups = {"web", "db"}, append = true})
    """
    sloth(host, lua)
    host.sh("gpasswd --delete ada db; usermod --append --groups games ada")
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json", check=False)
    [drifted] = json.loads(shown.stdout)["drifted"]
    assert drifted["address"] == "local/user:ada"
    assert [(c["property"], c["recorded"], c["actual"]) for c in drifted["changes"]] == [
        ("groups", ["db", "web"], ["web"])
    ]
    assert summary(host, lua)["changed"] == 1
    assert set(host.sh("id -nG ada").stdout.split()) == {"ada", "web", "db", "games"}


def test_what_was_changed_by_hand_is_put_back(host: Machine) -> None:
    lua = 'user.create({name = "ada", shell = "/bin/sh", comment = "Ada"})'
    sloth(host, lua)
    host.sh("usermod --shell /bin/false --comment Eve ada")
    shown = host.sloth("--db", DB, "stack", "drift", "story", "--json", check=False)
    [drifted] = json.loads(shown.stdout)["drifted"]
    assert [c["property"] for c in drifted["changes"]] == ["comment", "shell"]
    host.sloth("--db", DB, "--yes", "stack", "drift", "story", "--fix")
    assert host.sh("getent passwd ada | cut -d: -f5,7").stdout == "Ada:/bin/sh\n"


def test_the_hash_of_a_password_lands_in_shadow_and_nowhere_else(host: Machine) -> None:
    lua = f'user.create({{name = "ada", password = "{HASH}"}})'
    said = ""
    for words in (("plan", "-v"), ("run", "--yes", "-v"), ("run", "--yes", "--json")):
        done = sloth(host, lua, *words)
        said += done.stdout + done.stderr
    assert host.sh("getent shadow ada | cut -d: -f2").stdout == f"{HASH}\n"
    host.sh("usermod --lock ada; echo 'ada:$6$other$' | chpasswd -e")
    for words in (("stack", "drift", "story"), ("stack", "export", "story")):
        done = host.sloth("--db", DB, *words, check=False)
        said += done.stdout + done.stderr
    sloth(host, lua)
    # Not in what is mounted there: it is the checkout, perhaps.
    places = "/root/story.db* /var/log /tmp -xdev -type f"
    found = host.sh(f"find {places} -exec grep -laF hunter2 {{}} + || true").stdout
    assert found == ""
    assert "hunter2" not in said


def test_a_plain_password_is_refused_before_anything_is_touched(host: Machine) -> None:
    lua = """
        local secret = "hunter2"



        -- Far from where it is written: a failure shows the lines of the workflow around it.
        user.create({name = "ada", password = secret})
    """
    failed = sloth(host, lua, check=False)
    assert failed.returncode != 0
    assert "plain text is refused" in failed.stdout + failed.stderr
    assert "hunter2" not in failed.stdout + failed.stderr
    assert host.sh("getent passwd ada", check=False).returncode == 2


def test_what_useradd_would_refuse_is_refused_in_the_preview(host: Machine) -> None:
    for call, why in (
        ('user.create({name = "ada", groups = {"nosuch"}})', "there is no group nosuch"),
        ('user.create({name = "ada", uid = 0})', "belongs to the user root"),
        ('user.modify({name = "ada", shell = "/bin/sh"})', "does not exist"),
        ('user.remove("root")', "uid 0"),
        ('user.modify({name = "root", uid = 4801})', "uid 0"),
        ('group.create({name = "root", gid = 4801})', "group of root"),
        ('group.remove("nogroup")', "primary group of"),
    ):
        failed = sloth(host, call, "plan", check=False)
        assert failed.returncode == 1, call
        assert why in failed.stdout + failed.stderr
    assert host.sh("getent passwd ada", check=False).returncode == 2


def test_a_removed_user_leaves_its_home(host: Machine) -> None:
    host.sh("useradd --create-home ada; echo mine >/home/ada/file")
    assert summary(host, 'user.remove("ada")')["removed"] == 1
    assert host.read("/home/ada/file") == "mine\n"
    assert summary(host, 'user.remove({name = "ada"})')["unchanged"] == 1


def test_a_user_is_made_once_by_many_goroutines(host: Machine) -> None:
    lua = """
        goroutine.map({1, 2, 3, 4, 5}, function(n)
            group.create("g" .. n)
            user.create({name = "u" .. n, group = "g" .. n, system = true})
        end)
    """
    assert summary(host, lua)["created"] == 10
    assert host.sh("for n in 1 2 3 4 5; do id -gn u$n; done").stdout.split() == [
        f"g{n}" for n in range(1, 6)
    ]
    assert summary(host, lua)["unchanged"] == 10
    host.sh("for n in 1 2 3 4 5; do userdel u$n; groupdel g$n 2>/dev/null; done; true")


def test_an_ordinary_user_is_told_that_root_is_needed(host: Machine) -> None:
    host.sh("useradd --create-home ada")
    calls = (
        'user.create("appuser")',
        'systemd.restart("cron")',
        'pkg.install("hello")',
        'file_ops.content({ path = "/etc/mine", content = "" })',
        'exec.run({ cmd = "id", user = "root" })',
    )
    for call in calls:
        host.write("/home/ada/one.lua", call)
        done = host.sloth("run", "one.lua", "--yes", user="ada", cwd="/home/ada", check=False)
        assert done.returncode == 1
        assert "run as root" in done.stderr
        assert "effect" in done.stderr


def test_a_home_that_could_not_be_made_is_made_by_the_next_run(host: Machine) -> None:
    lua = 'user.create({name = "ada", home = "/srv/homes/ada"})'
    host.sh("mkdir -p /srv/homes; mount -t tmpfs -o ro none /srv/homes")
    try:
        assert summary(host, lua, check=False)["failed"] == 1
        host.sh("mount -o remount,rw /srv/homes")
        assert summary(host, lua)["changed"] == 1
        assert host.sh("stat -c %U /srv/homes/ada/.profile").stdout == "ada\n"
        assert sloth(host, lua, "run", "--yes", "-q").stdout == ""
    finally:
        host.sh("umount /srv/homes; rmdir /srv/homes")


def test_a_home_that_could_not_be_filled_is_filled_by_the_next_run(host: Machine) -> None:
    lua = 'user.create({name = "ada", home = "/srv/homes/ada"})'
    host.sh("""
        mkdir -p /srv/homes /etc/skel/.config/app; mount -t tmpfs -o size=128k none /srv/homes
        echo x >/etc/skel/.config/app/rc; ln -s .profile /etc/skel/.zprofile
        head -c 300000 /dev/urandom >/etc/skel/.config/big; chmod 640 /etc/skel/.config/big
    """)
    try:
        failed = sloth(host, lua, check=False)
        assert "No space left" in failed.stderr, failed
        host.sh("mount -o remount,size=8m /srv/homes; echo mine >/srv/homes/ada/.bashrc")
        assert summary(host, lua)["changed"] == 1
        same = "diff -r --no-dereference --exclude=.bashrc /etc/skel /srv/homes/ada"
        assert host.sh(same).stdout == ""
        assert host.sh("find /srv/homes/ada ! -user ada -o ! -group ada").stdout == ""
        assert host.sh("stat -c %a /srv/homes/ada/.config/big").stdout == "640\n"
        assert host.read("/srv/homes/ada/.bashrc") == "mine\n"
        assert sloth(host, lua, "run", "--yes", "-q").stdout == ""
    finally:
        host.sh("umount /srv/homes; rmdir /srv/homes; rm -r /etc/skel/.config /etc/skel/.zprofile")


def test_a_home_that_was_not_made_whole_is_not_there(host: Machine) -> None:
    lua = 'user.create({name = "ada", home = "/srv/homes/ada", create_home = true})'
    host.sh("""
        mkdir -p /srv/homes; mount -t tmpfs -o size=128k none /srv/homes
        useradd --no-create-home -d /srv/homes/ada ada
        head -c 300000 /dev/urandom >/etc/skel/big
    """)
    try:
        assert summary(host, lua, check=False)["failed"] == 1
        host.sh("mount -o remount,size=8m /srv/homes")
        assert summary(host, lua)["changed"] == 1
        assert host.sh("cmp /etc/skel/big /srv/homes/ada/big").stdout == ""
        assert host.sh("find /srv/homes/ada ! -user ada").stdout == ""
    finally:
        host.sh("umount /srv/homes; rmdir /srv/homes; rm /etc/skel/big")


def test_a_home_that_was_there_before_its_user_stays_as_it_is(host: Machine) -> None:
    host.sh("mkdir -p /home/ada && chown 4801 /home/ada")
    assert summary(host, 'user.create({name = "ada", uid = 4801})')["created"] == 1
    assert host.sh("ls -A /home/ada").stdout == ""


def test_a_user_that_was_there_without_a_home_gets_none(host: Machine) -> None:
    host.sh("useradd --no-create-home ada")
    assert summary(host, 'user.create({name = "ada", comment = "Ada"})')["changed"] == 1
    assert host.sh("test -e /home/ada", check=False).returncode == 1


def test_what_goes_with_a_user_is_in_the_plan(host: Machine) -> None:
    host.sh("useradd --create-home ada")
    lua = 'user.remove({name = "ada", remove_home = true})'
    told = "also removes its group ada and its home /home/ada"
    assert told in sloth(host, lua, "plan").stdout
    assert told in sloth(host, lua).stdout
    assert host.sh("getent group ada", check=False).returncode == 2


def test_a_home_that_holds_more_than_its_user_is_not_removed(host: Machine) -> None:
    host.sh("""
        useradd --create-home ada; useradd --no-create-home -d /home/ada/shared appuser
        mkdir -p /home/ada/mount /srv/precious; touch /srv/precious/file
        mount --bind /srv/precious /home/ada/mount
    """)
    lua = 'user.remove({name = "ada", remove_home = true})'
    try:
        for words in (("plan",), ("run", "--yes")):
            done = sloth(host, lua, *words, check=False)
            assert "/home/ada/mount is a mount point" in done.stdout + done.stderr
    finally:
        host.sh("umount /home/ada/mount")
    assert "/home/ada/shared is the home of appuser too" in sloth(host, lua, check=False).stderr
    assert host.sh("id -un ada && ls /srv/precious").stdout == "ada\nfile\n"


def test_an_interrupted_change_of_a_number_is_finished(host: Machine) -> None:
    # A run that died on the way: the files are handed over before the number changes.
    host.sh("""
        useradd --create-home --uid 4801 ada; touch /home/ada/one /home/ada/two
        chown ada /home/ada/two
        ln -s /etc/hostname /home/ada/link; chown -h ada /home/ada/link
        touch /home/ada/other; chown 4805 /home/ada/other
        chown 4802 /home/ada /home/ada/one
    """)
    assert summary(host, 'user.create({name = "ada", uid = 4802})')["changed"] == 1
    owners = host.sh("cd /home/ada && stat -c '%n %u' . one two link other").stdout
    assert owners == ". 4802\none 4802\ntwo 4802\nlink 4802\nother 4805\n"
    assert host.sh("stat -c %u /etc/hostname").stdout == "0\n"


def test_a_number_that_cannot_change_leaves_the_files_where_they_are(host: Machine) -> None:
    host.sh("useradd --create-home --uid 4801 ada; touch /home/ada/other")
    host.sh("chown 4802 /home/ada/other; chmod 4755 /home/ada/other")
    host.sh("setsid runuser -u ada sleep 60 >/dev/null 2>&1 & sleep 0.3")
    lua = 'user.create({name = "ada", uid = 4802})'
    assert "has processes" in sloth(host, lua, check=False).stderr
    assert host.sh("stat -c %u /home/ada/.profile; id -u ada").stdout == "4801\n4801\n"
    # Whose number it would have been keeps what it has, to the last bit.
    assert host.sh("stat -c '%u %a' /home/ada/other").stdout == "4802 4755\n"
    host.sh("pkill -u ada")


def test_a_user_is_declared_twice_with_a_group_that_is_made_before(host: Machine) -> None:
    lua = """
        group.create("web")
        user.create({name = "ada", group = "web", shell = "/bin/bash"})
        user.modify({name = "ada", shell = "/bin/zsh", groups = {"web"}})
    """
    assert summary(host, lua, "plan")["failed"] == 0
    assert summary(host, lua)["failed"] == 0
    assert summary(host, lua)["changed"] == 0


@pytest.mark.parametrize("settling", [("drift", "story", "--fix"), ("accept", "story", "user:ada")])
def test_what_was_put_back_or_accepted_is_not_undone_and_done_again(
    host: Machine, settling: tuple[str, ...]
) -> None:
    lua = """
        user.create({name = "ada", shell = "/bin/bash"})
        user.modify({name = "ada", shell = "/bin/zsh"})
    """
    sloth(host, lua)
    host.sh("usermod -s /bin/sh ada")
    host.sloth("--db", DB, "stack", *settling)
    expected = 0 if "--fix" in settling else 1  # accepted is what the workflow does not want
    assert summary(host, lua)["changed"] == expected
    assert host.sh("getent passwd ada | cut -d: -f7").stdout == "/bin/zsh\n"
    assert summary(host, lua)["changed"] == 0


def test_what_is_declared_absent_is_not_accepted_as_there(host: Machine) -> None:
    sloth(host, 'user.create("ada")')
    sloth(host, 'user.remove({name = "ada", remove_home = true})')
    host.sh("useradd -m ada")
    refused = host.sloth("--db", DB, "stack", "accept", "story", "user:ada", check=False)
    assert refused.returncode == 2
    assert "declared to be absent, and is there" in refused.stderr
    assert host.sh("id -un ada").stdout == "ada\n"


def test_a_home_that_moves_is_made_where_it_goes(host: Machine) -> None:
    lua = 'user.create({name = "ada", create_home = true, home = "/home/%s"})'
    sloth(host, lua % "ada")
    moved = lua % "ada2"
    assert summary(host, moved, "plan")["changed"] == 1
    assert summary(host, moved)["failed"] == 0
    assert host.sh("stat -c %U /home/ada2").stdout == "ada\n"
    assert summary(host, moved)["unchanged"] == 1
    host.sh("rm -r /home/ada2")


def test_what_cannot_change_hands_keeps_the_number_from_changing(host: Machine) -> None:
    host.sh("""
        useradd --create-home --uid 4801 ada; mkdir /home/ada/old; touch /home/ada/old/f
        chown -R ada: /home/ada/old; mount --bind /home/ada/old /home/ada/old
        mount -o remount,bind,ro /home/ada/old
    """)
    try:
        lua = 'user.create({name = "ada", uid = 4802})'
        assert "Read-only file system" in sloth(host, lua, check=False).stderr
        assert host.sh("id -u ada; find /home/ada ! -user ada").stdout == "4801\n"
    finally:
        host.sh("umount /home/ada/old")
    assert summary(host, lua)["changed"] == 1
    assert host.sh("id -u ada; find /home/ada ! -user ada").stdout == "4802\n"


def test_nobody_is_said_to_have_touched_what_is_declared_otherwise(host: Machine) -> None:
    sloth(host, 'group.create("web") user.create("ada")')
    removal = 'user.remove("ada") group.remove("web")'
    assert "differs from what" not in sloth(host, removal, "plan").stdout
    assert "Corrected" not in sloth(host, removal).stdout


def test_users_with_one_number_are_refused_before_one_of_them_is_made(host: Machine) -> None:
    lua = 'user.create({names = {"ada", "appuser"}, uid = 4801})'
    refused = sloth(host, lua, check=False)
    assert (refused.returncode, "both have uid 4801" in refused.stderr) == (2, True)
    assert host.sh("getent passwd ada appuser", check=False).stdout == ""


def test_every_group_that_is_missing_is_named(host: Machine) -> None:
    lua = 'user.create({name = "ada", group = "web", groups = {"users", "db"}})'
    assert "there is no group web, db for ada" in sloth(host, lua, "plan", check=False).stderr
