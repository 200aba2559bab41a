"""Users: what is refused before any host is asked, and what becomes of a real one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Machine
from resources.inside import converge, inside, refusal
from sloth_runner.core import forms
from sloth_runner.core.errors import ParamError
from sloth_runner.resources._accounts import parse_shadow, secret_state
from sloth_runner.resources.user import User

HASH = "$6$saltsalt$" + "a1./" * 21 + "Zz"
OTHER_HASH = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"


def user(**given: Any) -> User:
    """Returns the user that a call with these fields declares."""
    built: User = forms.build(User, {"name": "ada", **given}, function="user")
    return built


@pytest.mark.parametrize(
    "name",
    ["", "-ada", "1ada", "a b", "a:b", "a/b", "..", "$(id)", "a;b", "a\nb", "ä", "a" * 33, "a$b"],
)
def test_a_name_that_useradd_would_stumble_over_is_refused(name: str) -> None:
    with pytest.raises(ParamError, match="is not a name for a user"):
        user(name=name)
    with pytest.raises(ParamError, match="is not a name for a group"):
        user(groups=[name])


@pytest.mark.parametrize("name", ["ada", "_apt", "Ada.Lovelace", "host$", "a" * 32, "a-1"])
def test_names_that_are_in_use_everywhere_are_taken(name: str) -> None:
    assert user(name=name).desired() == {"name": name}


@pytest.mark.parametrize(
    "password",
    ["secret", "", "abcdefghijklm", "$6$", "$6$salt$ha:sh", "$6$a\nroot", f"!{HASH}", "!!"],
)
def test_a_password_in_plain_text_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(ParamError) as refused:
        user(password=password)
    assert "refused" in refused.value.detail
    assert not password or f"{password}" not in refused.value.detail.replace("'password'", "")


@pytest.mark.parametrize("password", [HASH, OTHER_HASH, "$2b$12$abcdefghijklmnopqrstuv", "!", "*"])
def test_a_hash_is_taken_and_never_shown(password: str) -> None:
    declared = user(password=password)
    assert declared.sensitive == {"password"}
    assert password not in repr(declared).replace("password", "")


def test_a_line_of_passwd_cannot_be_broken() -> None:
    for given in ({"comment": "a:b"}, {"home": "/a:b"}, {"shell": "/bin/sh\n"}, {"comment": "\0"}):
        with pytest.raises(ParamError):
            user(**given)


def test_what_is_left_out_is_not_managed() -> None:
    there = {"name": "ada", "uid": 7, "groups": ["x"], "shell": "/bin/sh", "comment": "Ada"}
    assert not user().diff(there)
    assert [c.property for c in user(comment="", groups=[]).diff(there).changes] == [
        "comment",
        "groups",
    ]


def test_groups_are_compared_as_a_set() -> None:
    assert not user(groups=["b", "a", "b"]).diff({"name": "ada", "groups": ["a", "b"]})


def test_modify_lies_over_create_whichever_comes_first() -> None:
    create = user(shell="/bin/bash", groups=["web"])
    modify = user(must_exist=True, shell="/bin/zsh", comment="Ada")
    both = user(shell="/bin/zsh", groups=["web"], comment="Ada")
    assert modify.refine(create) == both
    assert create.refine(modify) == both
    assert create.refine(user(shell="/bin/sh")) is None
    assert user(state="absent").refine(create) is None


def test_modify_with_append_adds_to_the_groups_of_create() -> None:
    modify = user(must_exist=True, groups=["docker"], append=True)
    assert modify.refine(user(groups=["web"])).desired() == {
        "name": "ada",
        "groups": ["docker", "web"],
    }
    assert modify.refine(user()).append


@pytest.mark.parametrize(
    ("field", "password", "locked"),
    [
        ("!", "!", True),
        ("*", "*", False),
        ("!*", "*", True),
        ("", "", False),
        (HASH, HASH, False),
        (f"!{HASH}", HASH, True),
        (f"!!{HASH}", HASH, True),
    ],
)
def test_a_lock_is_apart_from_the_hash(field: str, password: str, locked: bool) -> None:
    [secret] = parse_shadow(f"ada:{field}:20000:0:99999:7:::\n").values()
    assert secret_state(secret) == {"password": password, "locked": locked}


@pytest.fixture(scope="module")
def host(machine_image: Path) -> Iterator[Machine]:
    """One host for all tests of this file; each has users of its own."""
    with Machine(machine_image) as machine:
        machine.sh("groupadd web; groupadd db; groupadd docker")
        yield machine


def entry(host: Machine, name: str) -> str:
    """Returns the lines of passwd and shadow, and the groups, of a user."""
    script = 'getent passwd "$1"; getent shadow "$1"; id -nG "$1" | tr " " "\n" | sort'
    return host.sh(script, name, check=False).stdout


def test_a_new_user_gets_a_home_and_a_group_of_its_own(host: Machine) -> None:
    converge(host, "user.create", name="new", shell="/bin/bash", comment="Ünï, c")
    assert host.sh("getent passwd new | cut -d: -f1,5-").stdout == (
        "new:Ünï, c:/home/new:/bin/bash\n"
    )
    assert host.sh("stat -c '%U:%G' /home/new; id -gn new").stdout == "new:new\nnew\n"
    assert host.sh("ls -A /home/new").stdout == host.sh("ls -A /etc/skel").stdout


def test_a_group_of_that_name_becomes_the_primary_group(host: Machine) -> None:
    host.sh("groupadd shared")
    converge(host, "user.create", name="shared")
    assert host.sh("id -gn shared").stdout == "shared\n"


def test_a_system_user_gets_no_home(host: Machine) -> None:
    converge(host, "user.create", name="daemonic", system=True, shell="/usr/sbin/nologin")
    assert host.sh("test -e /home/daemonic", check=False).returncode == 1
    assert int(host.sh("id -u daemonic").stdout) < 1000


def test_only_what_differs_is_changed(host: Machine) -> None:
    host.sh("useradd --shell /bin/sh --comment C --groups web some")
    before = host.sh("getent passwd some").stdout
    said = converge(host, "user.modify", name="some", shell="/bin/zsh")
    assert said["changes"] == ["shell"]
    assert host.sh("getent passwd some").stdout == before.replace("/bin/sh", "/bin/zsh")
    assert converge(host, "user.modify", name="some", shell="/bin/zsh")["changes"] == []


def test_groups_are_exact_and_with_append_only_added_to(host: Machine) -> None:
    host.sh("useradd --groups web,db grouped")
    converge(host, "user.create", name="grouped", groups=["docker"], append=True)
    assert host.sh("id -nG grouped").stdout.split()[1:] == ["web", "db", "docker"]
    converge(host, "user.create", name="grouped", groups=["db"])
    assert host.sh("id -nG grouped").stdout.split()[1:] == ["db"]
    converge(host, "user.create", name="grouped", groups=[])
    assert host.sh("id -nG grouped").stdout.split()[1:] == []


def test_a_group_may_be_given_by_its_number(host: Machine) -> None:
    said = converge(host, "user.create", name="numbered", group="100")
    assert said["after"]["group"] == "100"
    assert host.sh("id -gn numbered").stdout == "users\n"


def test_the_hash_goes_to_shadow_and_into_no_command_line(host: Machine) -> None:
    host.sh("""
        mkdir -p /root/seen
        for tool in useradd usermod chpasswd; do
            real=$(command -v $tool)
            printf '#!/bin/sh\\necho "$0 $*" >>/root/seen/argv\\nexec %s "$@"\\n' $real \\
                >/usr/local/sbin/$tool
            chmod +x /usr/local/sbin/$tool
        done
    """)
    converge(host, "user.create", name="hashed", password=HASH)
    assert host.sh("getent shadow hashed | cut -d: -f2").stdout == f"{HASH}\n"
    converge(host, "user.create", name="hashed", password=OTHER_HASH)
    host.sh("rm /usr/local/sbin/useradd /usr/local/sbin/usermod /usr/local/sbin/chpasswd")
    seen = host.read("/root/seen/argv")
    assert "useradd" in seen and "chpasswd" in seen
    assert HASH not in seen and OTHER_HASH not in seen
    assert host.sh("getent shadow hashed | cut -d: -f2").stdout == f"{OTHER_HASH}\n"


def test_a_new_password_does_not_unlock(host: Machine) -> None:
    host.sh("useradd lockable")
    shadow = "getent shadow lockable | cut -d: -f2"
    converge(host, "user.create", name="lockable", password=HASH)
    converge(host, "user.create", name="lockable", locked=True)
    assert host.sh(shadow).stdout == f"!{HASH}\n"
    converge(host, "user.create", name="lockable", password=OTHER_HASH)
    assert host.sh(shadow).stdout == f"!{OTHER_HASH}\n"
    converge(host, "user.create", name="lockable", locked=False)
    assert host.sh(shadow).stdout == f"{OTHER_HASH}\n"
    assert "no password" in refusal(host, "user.create", name="games2", locked=False)


def test_what_useradd_would_refuse_is_refused_in_the_preview(host: Machine) -> None:
    assert "there is no group nosuch" in refusal(host, "user.create", name="x", groups=["nosuch"])
    assert "there is no group nosuch" in refusal(host, "user.create", name="x", group="nosuch")
    assert "belongs to the user root" in refusal(host, "user.create", name="x", uid=0)
    assert "user.create makes" in refusal(host, "user.modify", name="x", shell="/bin/sh")
    assert "uid 0" in refusal(host, "user.remove", name="root")
    assert host.sh("getent passwd x", check=False).stdout == ""


def test_a_user_of_a_directory_service_is_not_ours(host: Machine) -> None:
    # The image has no directory service: getent answers here as it does beside one.
    answer = "ldapuser:*:44444:100::/home/ldapuser:/bin/sh"
    host.write(
        "/usr/local/sbin/getent",
        f'#!/bin/sh\n[ "$*" = "passwd ldapuser" ] && echo {answer} && exit\n/usr/bin/getent "$@"\n',
        0o755,
    )
    assert "directory service" in refusal(host, "user.create", name="ldapuser")
    assert "directory service" in refusal(host, "user.modify", name="ldapuser", shell="/bin/sh")
    host.sh("rm /usr/local/sbin/getent")


def test_nothing_is_done_through_a_link_in_place_of_a_home(host: Machine) -> None:
    host.sh("mkdir -m 700 /srv/precious; touch /srv/precious/file; ln -s /srv/precious /home/mal")
    owned = "stat -c '%n %U %G %a' /srv/precious /srv/precious/file; ls -A /srv/precious"
    before = host.sh(owned).stdout
    converge(host, "user.create", name="mal", create_home=True)
    converge(host, "user.create", name="mal", uid=4711)
    assert "not a directory" in refusal(host, "user.remove", name="mal", remove_home=True)
    converge(host, "user.remove", name="mal")
    assert host.sh(owned).stdout == before


def test_a_home_that_went_missing_comes_back_where_it_was_asked_for(host: Machine) -> None:
    converge(host, "user.create", name="housed", create_home=True)
    host.sh("rm -r /home/housed")
    assert converge(host, "user.create", name="housed")["changes"] == []
    assert converge(host, "user.create", name="housed", create_home=True)["changes"] == [
        "create_home"
    ]
    assert host.sh("stat -c %U /home/housed/.profile").stdout == "housed\n"


def test_a_removed_user_leaves_its_home(host: Machine) -> None:
    host.sh("useradd --create-home gone; echo mine >/home/gone/file")
    converge(host, "user.remove", name="gone")
    assert host.sh("getent passwd gone", check=False).returncode == 2
    assert host.read("/home/gone/file") == "mine\n"
    assert converge(host, "user.remove", name="gone")["before"] is None


def test_a_user_with_processes_is_left_alone(host: Machine) -> None:
    host.sh("useradd busy; setsid runuser -u busy sleep 60 >/dev/null 2>&1 & sleep 0.3")
    said = inside(host, "converge", "user.remove", name="busy")
    assert said["error"].startswith("InUse: busy is logged in")
    assert host.sh("id -un busy").stdout == "busy\n"
    host.sh("pkill -u busy")


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("user.modify", {"shell": "/bin/false", "comment": "else", "uid": 4999}),
        ("user.modify", {"groups": ["db"]}),
        ("user.modify", {"groups": ["db", "web"], "append": True}),
        ("user.modify", {"password": OTHER_HASH}),
        ("user.modify", {"password": OTHER_HASH, "locked": True}),
        ("user.modify", {"locked": True}),
        ("user.modify", {"home": "/srv/elsewhere"}),
        ("user.remove", {}),
        ("user.remove", {"remove_home": True}),
    ],
)
def test_what_was_there_before_comes_back(
    host: Machine, function: str, given: dict[str, Any]
) -> None:
    host.sh(
        f"id back 2>/dev/null || {{ useradd -m -s /bin/sh -G web,docker -c Back back; "
        f"echo 'back:{HASH}' | chpasswd -e; install -o back -m 600 /dev/null /home/back/key; "
        "install -o 4999 -m 600 /dev/null /home/back/theirs; }"
    )
    home = "cd /home/back && find . -printf '%p %U %G %m %s\n' | sort"
    before, files = entry(host, "back"), host.sh(home).stdout
    said = inside(host, "undo", function, name="back", **given)
    assert "error" not in said
    assert said["after"] != said["before"] == said["undone"]
    assert entry(host, "back") == before
    assert host.sh(home).stdout == files


def test_a_user_that_was_made_goes_and_its_home_stays(host: Machine) -> None:
    said = inside(host, "undo", "user.create", name="brief")
    assert (said["before"], said["undone"]) == (None, None)
    assert host.sh("ls -A /home/brief").stdout != ""
