"""Where is written: never through what another account could have put on the way."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from hosts.asking import (
    MALLORY,
    NOBODY,
    ask,
    leftovers,
    let_everybody_in,
    names_in,
    python_as_nobody,
    refusal,
)
from resources.bench import snapshot
from sloth_runner.core.errors import HostError
from sloth_runner.core.host import Host, Request


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that nobody may be led to."""
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc/passwd"
    file.write_text("precious")
    return file


def owned(path: Path, uid: int) -> Path:
    os.chown(path, uid, uid, follow_symlinks=False)
    return path


def test_a_link_at_the_end_is_refused_unless_followed(host: Host, secret: Path) -> None:
    link = secret.parent.parent / "link"
    link.symlink_to("etc/passwd")
    refused = refusal(host, "write", path=str(link), data="x")
    assert (refused.errno_name, "follow" in refused.hint) == ("ELOOP", True)
    assert refusal(host, "attributes", path=str(link), mode="0600").errno_name == "ELOOP"
    assert refusal(host, "mkdir", path=str(link)).errno_name == "ELOOP"
    assert secret.read_text() == "precious"

    answer = ask(host, "write", path=str(link), data="followed", follow=True)
    assert answer["path"] == str(secret)
    assert link.is_symlink()
    assert secret.read_text() == "followed"
    ask(host, "attributes", path=str(link), mode="0604", follow=True)
    assert secret.stat().st_mode & 0o777 == 0o604


def test_a_dangling_link_is_followed_to_a_new_file(host: Host, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    assert refusal(host, "write", path=str(tmp_path / "link"), data="x").errno_name == "ELOOP"
    assert names_in(tmp_path) == ["link"]
    ask(host, "write", path=str(tmp_path / "link"), data="x", follow=True)
    assert (tmp_path / "new").read_text() == "x"
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "loop").symlink_to("loop")
    assert (
        refusal(host, "write", path=str(tmp_path / "loop"), data="x", follow=True).errno_name
        == "ELOOP"
    )


def test_links_of_ours_on_the_way_are_gone_through(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "real/relative").symlink_to("../absolute/deep")
    answer = ask(host, "write", path=str(tmp_path / "absolute/relative/f"), data="x")
    assert answer["path"] == str(tmp_path / "real/deep/f")
    assert (tmp_path / "real/deep/f").read_text() == "x"


@pytest.mark.parametrize("verb", ["write", "mkdir", "symlink", "attributes"])
def test_a_parent_that_everybody_may_write_is_refused_by_name(
    host: Host, tmp_path: Path, verb: str
) -> None:
    shared = tmp_path / "shared"
    (shared / "below").mkdir(parents=True)
    shared.chmod(0o777)
    more = {"write": {"data": "x"}, "symlink": {"target": "x"}}.get(verb, {})
    for path in (shared / "f", shared / "below/f"):
        refused = refusal(host, verb, path=str(path), **more)
        assert refused.errno_name == "EPERM"
        assert f"everybody may write to {shared}," in refused.detail
    assert names_in(shared) == ["below"]
    shared.chmod(0o1777)
    if verb != "attributes":
        ask(host, verb, path=str(shared / "f"), **more)
        assert (shared / "f").exists() or (shared / "f").is_symlink()


@pytest.mark.root
def test_a_directory_of_somebody_in_a_sticky_one_may_be_a_trap(host: Host, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    trap = tmp_path / "app"
    trap.mkdir()
    owned(trap, MALLORY)
    refused = refusal(host, "write", path=str(trap / "f"), data="x")
    assert (refused.errno_name, str(trap) in refused.detail) == ("EPERM", True)
    assert names_in(trap) == []
    ask(host, "write", path=str(trap / "f"), data="x", owner=str(MALLORY))
    assert (trap / "f").read_text() == "x"

    file = tmp_path / "file"
    file.write_text("of mallory")
    owned(file, MALLORY)
    for more in ({}, {"owner": "root"}, {"mode": "0600"}, {"in_place": True}):
        assert "may be a trap" in refusal(host, "write", path=str(file), data="x", **more).detail
    assert file.read_text() == "of mallory"
    ask(host, "write", path=str(file), data="mine", owner="root", mode="0600")
    assert (file.read_text(), file.stat().st_uid) == ("mine", 0)


@pytest.mark.root
def test_a_home_can_be_written_for_its_owner(host: Host, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    owned(home, NOBODY)
    ask(host, "mkdir", path=str(home / ".config/app"), owner="nobody", parents=True)
    ask(host, "write", path=str(home / ".config/app/rc"), data="x", owner="nobody", mode="0600")
    for path in (home / ".config", home / ".config/app", home / ".config/app/rc"):
        assert path.stat().st_uid == NOBODY
    ask(host, "write", path=str(home / "of-root"), data="x")
    assert (home / "of-root").stat().st_uid == 0


@pytest.mark.root
@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("write", {"data": "x"}),
        ("write", {"data": "x", "owner": str(MALLORY)}),
        ("mkdir", {}),
        ("mkdir", {"parents": True}),
        ("symlink", {"target": "x", "force": True}),
        ("attributes", {"mode": "0666"}),
        ("attributes", {"owner": str(MALLORY)}),
        ("remove", {}),
        ("remove", {"tree": True}),
    ],
)
def test_a_link_in_a_home_does_not_lead_out_of_it(
    host: Host, secret: Path, verb: str, more: dict[str, object]
) -> None:
    home = secret.parent.parent / "home"
    home.mkdir()
    owned(home, MALLORY)
    (home / ".ssh").symlink_to(secret.parent)
    owned(home / ".ssh", MALLORY)

    before = (secret.stat().st_mode, secret.stat().st_uid, secret.stat().st_ctime_ns)
    name = "passwd" if verb != "mkdir" else "new"
    refused = refusal(host, verb, path=str(home / ".ssh" / name), **more)

    assert refused.errno_name == "ELOOP"
    assert str(home / ".ssh") in refused.detail
    assert secret.read_text() == "precious"
    assert (secret.stat().st_mode, secret.stat().st_uid, secret.stat().st_ctime_ns) == before
    assert names_in(secret.parent) == ["passwd"]


@pytest.mark.root
def test_a_link_of_roots_that_a_user_could_replace_does_not_lead_out_either(
    host: Host, secret: Path
) -> None:
    home = secret.parent.parent / "home"
    home.mkdir()
    (home / "link").symlink_to(secret.parent)
    owned(home, MALLORY)
    assert refusal(host, "write", path=str(home / "link/f"), data="x").errno_name == "ELOOP"
    owned(home, 0)
    home.chmod(0o775)
    os.chown(home, 0, MALLORY)
    assert refusal(host, "write", path=str(home / "link/f"), data="x").errno_name == "ELOOP"
    home.chmod(0o755)
    ask(host, "write", path=str(home / "link/f"), data="x")
    assert (secret.parent / "f").exists()


@pytest.mark.root
def test_a_users_link_within_the_users_own_directories_is_fine(host: Host, tmp_path: Path) -> None:
    (tmp_path / "srv/releases/7").mkdir(parents=True)
    (tmp_path / "srv/current").symlink_to("releases/7")
    for path in ("srv", "srv/releases", "srv/releases/7", "srv/current"):
        owned(tmp_path / path, MALLORY)
    ask(host, "write", path=str(tmp_path / "srv/current/config"), data="x")
    assert (tmp_path / "srv/releases/7/config").read_text() == "x"


@pytest.mark.root
def test_a_hard_link_in_a_home_does_not_give_away_a_file(host: Host, secret: Path) -> None:
    home = secret.parent.parent / "home"
    home.mkdir()
    owned(home, MALLORY)
    os.link(secret, home / "mine")
    for verb, more in (
        ("attributes", {"owner": str(MALLORY)}),
        ("attributes", {"mode": "0666"}),
        ("write", {"data": "x", "in_place": True}),
    ):
        assert refusal(host, verb, path=str(home / "mine"), **more).errno_name == "EMLINK"
    refused = refusal(host, "attributes_tree", path=str(home), owner=str(MALLORY))
    assert refused.errno_name == "EMLINK"
    assert secret.stat().st_uid == 0
    assert secret.read_text() == "precious"
    ask(host, "write", path=str(home / "mine"), data="new")
    assert secret.read_text() == "precious"


@pytest.mark.root
def test_an_ordinary_account_writes_in_its_own_directories(tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    home = tmp_path / "home"
    (home / "real").mkdir(parents=True)
    (home / "link").symlink_to("real")
    for path in (home, home / "real", home / "link"):
        owned(path, NOBODY)
    home.chmod(0o775)
    code = "home = sys.argv[1]\n"
    code += "print(perform([('write', {'path': home + '/link/f', 'data': 'x'}),"
    code += " ('write', {'path': home + '/f', 'data': 'x', 'owner': 'root'}),"
    code += " ('attributes', {'path': home, 'mode': '0700'})]))"
    said = python_as_nobody(code, str(home))
    assert (home / "real/f").read_text() == "x"
    assert (home / "real/f").stat().st_uid == NOBODY
    assert home.stat().st_mode & 0o777 == 0o700
    assert "'EPERM'" in said
    assert not (home / "f").exists()
    assert leftovers(home) == []


REHEARSED: dict[str, dict[str, Any]] = {
    "write": {},
    "download": {"url": "http://127.0.0.1:9/"},
    "mkdir": {"parents": True},
    "symlink": {"target": "x", "force": True},
    "remove": {"tree": True},
    "attributes": {"mode": "0600"},
    "attributes_tree": {"mode": "0600"},
}


def rehearsed(host: Host, verb: str, arguments: dict[str, Any]) -> HostError | None:
    """Returns what a verb would be refused for, or None."""
    request = Request("rehearse", {"verb": verb, "arguments": arguments})
    [answer] = asyncio.run(host.perform([request]))
    assert answer is None or isinstance(answer, HostError)
    return answer


@pytest.mark.parametrize("verb", REHEARSED)
def test_a_rehearsal_refuses_what_its_verb_refuses_and_writes_nothing(
    host: Host, tmp_path: Path, verb: str
) -> None:
    shared = tmp_path / "shared"
    (shared / "old").mkdir(parents=True)
    (shared / "old/f").write_text("x")
    path = shared / "old" if verb in ("mkdir", "attributes_tree") else shared / "old/f"
    arguments = {"path": str(path), **REHEARSED[verb]}
    before = snapshot(shared)
    assert rehearsed(host, verb, arguments) is None
    assert snapshot(shared) == before
    if verb == "remove":  # it may be done anywhere
        return
    missing = {**arguments, "path": str(shared / "new/new"), "owner": "no-such-user"}
    assert rehearsed(host, verb, missing) is None
    shared.chmod(0o777)
    before = snapshot(shared)
    refused = rehearsed(host, verb, arguments)
    assert snapshot(shared) == before
    assert refused and refused.errno_name == "EPERM"
    assert refused.detail == refusal(host, verb, **arguments).detail


def test_of_other_verbs_a_rehearsal_can_say_nothing(host: Host, tmp_path: Path) -> None:
    arguments = {"path": str(tmp_path / "no.tar"), "dest": str(tmp_path)}
    assert rehearsed(host, "unpack", arguments) is None
    assert rehearsed(host, "nonesuch", {}) is None
