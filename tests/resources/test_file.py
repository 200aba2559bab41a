"""``file_ops.content``, ``copy`` and ``template``: whole files."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from resources.bench import Bench, snapshot
from sloth_runner.core.errors import HostError, ParamError, Refused, SlothError
from sloth_runner.core.forms import build
from sloth_runner.core.host import ReadOnlyHost
from sloth_runner.core.registry import registry
from sloth_runner.core.schema import Content
from sloth_runner.core.values import sha256
from sloth_runner.resources.file import File


def file(path: Path | str = "/x", content: Any = "hello\n", **params: Any) -> File:
    given = {"path": str(path), "content": content, **params}
    made: File = build(File, given, function="file_ops.content")
    return made


def mode_of(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def test_a_new_file_is_made_once(here: Path, local: Bench) -> None:
    path = here / "motd"
    assert local.observe(file(path)) is None
    local.converge(file(path))
    assert path.read_bytes() == b"hello\n"
    assert mode_of(path) == "0644"
    assert local.changes(file(path)) == []


def test_the_default_mode_does_not_depend_on_the_umask(here: Path, local: Bench) -> None:
    old = os.umask(0o077)
    try:
        local.converge(file(here / "motd"))
    finally:
        os.umask(old)
    assert mode_of(here / "motd") == "0644"


@pytest.mark.parametrize("content", ["", "\0\udcff\udc80", "a\r\nb", "ü", "x" * 3_000_000])
def test_any_bytes_are_written_as_they_are(here: Path, local: Bench, content: str) -> None:
    path = here / "data"
    local.converge(file(path, content))
    assert path.read_bytes() == content.encode("utf-8", "surrogateescape")
    assert local.observe(file(path, content)) == local.observe(file(path, "other"))


@pytest.mark.parametrize(
    "name", ["a b", "-rf", "quote'\"", "new\nline", "$(id);`id`", "\udcff\udcfe", "ü"]
)
def test_any_name_is_only_a_name(here: Path, local: Bench, name: str) -> None:
    wanted = file(f"{here}/{name}")
    local.converge(wanted)
    assert [path.name for path in here.iterdir()] == [name]
    local.destroy(wanted)
    assert list(here.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize(
    ("disturb", "named"),
    [
        (lambda path: path.write_text("other"), ["content"]),
        (lambda path: path.chmod(0o600), ["mode"]),
        (lambda path: os.chown(path, 12345, -1), ["owner"]),
        (lambda path: os.chown(path, -1, 12345), ["group"]),
        (lambda path: path.unlink(), ["content", "group", "mode", "owner"]),
    ],
)
def test_drift_names_exactly_what_was_disturbed(
    here: Path, local: Bench, disturb: Any, named: list[str]
) -> None:
    wanted = file(here / "f", mode="0640", owner="root", group="0")
    local.converge(wanted)
    disturb(here / "f")
    assert local.changes(wanted) == named
    local.converge(wanted)
    assert local.changes(wanted) == []


@pytest.mark.root
def test_what_is_not_given_is_not_touched(here: Path, local: Bench) -> None:
    path = here / "f"
    path.write_text("old")
    os.chown(path, 12345, 12346)
    path.chmod(0o2711)
    local.converge(file(path))
    stat = path.stat()
    assert (mode_of(path), stat.st_uid, stat.st_gid) == ("2711", 12345, 12346)


@pytest.mark.root
def test_only_attributes_differ_and_the_file_itself_stays(here: Path, local: Bench) -> None:
    path = here / "f"
    path.write_text("hello\n")
    inode = path.stat().st_ino
    local.converge(file(path, mode="0600", owner="12345"))
    assert (path.stat().st_ino, mode_of(path), path.stat().st_uid) == (inode, "0600", 12345)


@pytest.mark.root
def test_owners_are_compared_by_name_or_by_number(here: Path, local: Bench) -> None:
    local.converge(file(here / "f"))
    assert local.changes(file(here / "f", owner="root", group="root")) == []
    assert local.changes(file(here / "f", owner="0", group="0")) == []
    assert local.changes(file(here / "f", owner="daemon", group=0)) == ["owner"]


@pytest.mark.root
def test_what_was_there_comes_back_byte_for_byte(here: Path, local: Bench) -> None:
    path = here / "f"
    path.write_bytes(b"old \xff\0")
    os.chown(path, 12345, 12346)
    path.chmod(0o4751)
    before = snapshot(here)
    wanted = file(path, mode="0600", owner="root", group="root")
    origin = local.converge(wanted)
    assert snapshot(here) != before
    local.revert(wanted, origin)
    assert snapshot(here) == before


def test_a_file_that_was_not_there_goes(here: Path, local: Bench) -> None:
    wanted = file(here / "f")
    origin = local.converge(wanted)
    local.revert(wanted, origin)
    local.destroy(wanted)
    assert snapshot(here) == {str(here): snapshot(here)[str(here)]}


def test_attributes_come_back_where_the_content_was_too_large_to_keep(
    here: Path, local: Bench
) -> None:
    from sloth_runner.core.resource import Origin

    path = here / "f"
    path.write_text("hello\n")
    before = snapshot(path)
    wanted = file(path, mode="0600")
    origin = local.converge(wanted)
    local.revert(wanted, Origin(actual=origin.actual))
    assert snapshot(path) == before
    path.write_text("other")
    with pytest.raises(Refused, match="was not kept"):
        local.revert(wanted, Origin(actual=origin.actual))


def test_a_directory_in_the_way_is_refused_in_the_preview(here: Path, local: Bench) -> None:
    (here / "d").mkdir()
    wanted = file(here / "d")
    assert local.changes(wanted) == ["content"]
    with pytest.raises(Refused, match="is a directory, not a file"):
        local.preview(wanted)
    with pytest.raises(Refused):
        local.destroy(wanted)


def test_a_link_is_refused_unless_it_is_to_be_followed(here: Path, local: Bench) -> None:
    (here / "real").write_text("old")
    (here / "link").symlink_to("real")
    with pytest.raises(Refused, match="is a link to real") as caught:
        local.preview(file(here / "link"))
    assert "follow = true" in caught.value.hint
    followed = file(here / "link", follow=True)
    origin = local.converge(followed)
    assert (here / "link").is_symlink()
    assert (here / "real").read_text() == "hello\n"
    local.revert(followed, origin)
    assert (here / "real").read_text() == "old"


def test_the_preview_shows_a_text_diff(here: Path, local: Bench) -> None:
    path = here / "f"
    path.write_text("a\nb\n")
    assert local.preview(file(path, "a\nc\n")) == {"content": "@@ -1,2 +1,2 @@\n a\n-b\n+c"}
    assert local.preview(file(here / "new", "a\n")) == {"content": "@@ -0,0 +1 @@\n+a"}


def test_the_diff_of_a_copy_reads_the_controllers_file(here: Path, local: Bench) -> None:
    (here / "src").write_text("new\n")
    source = Content(sha256=sha256("new\n"), size=4, path=str(here / "src"))
    wanted = file(here / "f", source)
    assert local.preview(wanted) == {"content": "@@ -0,0 +1 @@\n+new"}
    local.converge(wanted)
    assert (here / "f").read_text() == "new\n"


@pytest.mark.parametrize("old", [b"\0\0", b"\xff", b"x" * 300_000])
def test_what_is_no_short_text_has_no_diff(here: Path, local: Bench, old: bytes) -> None:
    path = here / "f"
    path.write_bytes(old)
    assert local.preview(file(path)) == {}


@pytest.mark.parametrize(
    ("params", "actual_mode", "hidden"),
    [
        ({}, None, False),
        ({}, "0644", False),
        ({}, "0600", True),
        ({"mode": "0640"}, None, True),
        ({"mode": "0644"}, "0640", True),
        ({"mode": "0600", "hide": False}, "0600", False),
        ({"hide": True}, "0644", True),
    ],
)
def test_content_that_others_may_not_read_is_sensitive(
    params: dict[str, Any], actual_mode: str | None, hidden: bool
) -> None:
    actual = None if actual_mode is None else {"content": "sha256:", "mode": actual_mode}
    assert ("content" in file(**params).sensitive_beside(actual)) == hidden


def test_a_rejected_file_stays_as_it_was(here: Path, local: Bench) -> None:
    path = here / "f"
    path.write_text("old")
    with pytest.raises(SlothError, match="validat"):
        local.converge(file(path, validate="false %s"))
    assert path.read_text() == "old"
    local.converge(file(path, validate="test -f %s"))
    assert path.read_text() == "hello\n"


def test_one_prefetched_look_serves_whatever_content_is_wanted() -> None:
    assert file(content="a").observation_key == file(content="b", mode="0600").observation_key
    assert file(owner="0").observation_key != file(owner="root").observation_key


def test_many_files_are_seen_in_one_question(here: Path, local: Bench) -> None:
    class Counting(ReadOnlyHost):
        questions = 0

        async def perform(self, requests: Any) -> Any:
            self.questions += 1
            return await super().perform(requests)

    wanted = [file(here / str(number)) for number in range(50)]
    for one in wanted[:25]:
        local.converge(one)
    host = Counting(local.host)
    seen = asyncio.run(File.observe_many(host, wanted))
    assert host.questions == 1
    assert [one.diff(state).kind for one, state in zip(wanted, seen, strict=True)] == (
        ["none"] * 25 + ["create"] * 25
    )


def test_a_missing_folder_is_the_hosts_error(here: Path, local: Bench) -> None:
    with pytest.raises(HostError):
        local.converge(file(here / "none" / "f"))


def test_the_functions_take_the_names_of_the_guide() -> None:
    functions = registry().functions
    cls, copy = functions["file_ops.copy"]
    made = build(
        cls,
        {"src": Content.of("x"), "dest": "/a//b", "mode": "644", "sensitive": True},
        function=copy.name,
        rename=copy.rename,
    )
    assert made == file("/a/b", "x", mode="0644", hide=True)
    assert functions["file_ops.template"][1].template
    with pytest.raises(ParamError, match="did you mean 'dest'"):
        build(cls, {"src": "x", "dst": "/a"}, function=copy.name, rename=copy.rename)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ParamError, match="absolute path"):
        file("etc/motd")
