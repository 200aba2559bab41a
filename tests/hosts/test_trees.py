"""Directories, links, removal, attributes of trees, and taking them along."""

import asyncio
import os
import socket
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hosts.asking import MALLORY, NOBODY, ask, leftovers, names_in, refusal
from sloth_runner.core.errors import HostError
from sloth_runner.core.host import Host


def mode_of(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def test_mkdir_makes_what_is_missing_and_is_content_with_what_is_there(
    host: Host, tmp_path: Path
) -> None:
    deep = tmp_path / "a/b/c"
    assert refusal(host, "mkdir", path=str(deep)).errno_name == "ENOENT"
    assert ask(host, "mkdir", path=str(deep), mode="2750", parents=True) == {"created": True}
    assert (mode_of(tmp_path / "a"), mode_of(deep)) == (0o755, 0o2750)
    assert ask(host, "mkdir", path=str(deep)) == {"created": False}
    assert mode_of(deep) == 0o2750
    ask(host, "mkdir", path=str(deep), mode="0700")
    assert mode_of(deep) == 0o700
    (tmp_path / "f").write_text("")
    assert refusal(host, "mkdir", path=str(tmp_path / "f")).errno_name == "EEXIST"


def test_symlink_replaces_links_and_files_only_by_force(host: Host, tmp_path: Path) -> None:
    link = tmp_path / "link"
    assert ask(host, "symlink", path=str(link), target="a b; $(x)") == {"replaced": False}
    assert str(link.readlink()) == "a b; $(x)"
    assert ask(host, "symlink", path=str(link), target="other") == {"replaced": True}
    assert str(link.readlink()) == "other"
    (tmp_path / "f").write_text("x")
    assert refusal(host, "symlink", path=str(tmp_path / "f"), target="x").errno_name == "EEXIST"
    assert (tmp_path / "f").read_text() == "x"
    ask(host, "symlink", path=str(tmp_path / "f"), target="x", force=True)
    assert str((tmp_path / "f").readlink()) == "x"
    (tmp_path / "d").mkdir()
    refused = refusal(host, "symlink", path=str(tmp_path / "d"), target="x", force=True)
    assert refused.errno_name == "EISDIR"
    assert refusal(host, "symlink", path=str(link), target="a\0b").errno_name == "EINVAL"
    assert leftovers(tmp_path) == []


def test_remove_takes_a_tree_only_when_asked_and_never_what_links_lead_to(
    host: Host, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "f").write_text("x")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/f").write_text("x")
    (tree / "out").symlink_to(kept)
    (tmp_path / "link").symlink_to(kept)

    assert refusal(host, "remove", path=str(tree)).errno_name == "ENOTEMPTY"
    assert (tree / "sub/f").exists()
    assert ask(host, "remove", path=str(tmp_path / "link"), tree=True) == {"removed": True}
    assert ask(host, "remove", path=str(tree), tree=True) == {"removed": True}
    assert ask(host, "remove", path=str(tree), tree=True) == {"removed": False}
    assert names_in(tmp_path) == ["kept"]
    assert names_in(kept) == ["f"]
    assert refusal(host, "remove", path="/", tree=True).errno_name == "EBUSY"
    assert refusal(host, "remove", path="//", tree=True).errno_name == "EBUSY"


def test_a_tree_too_deep_to_be_walked_safely_is_an_error(host: Host, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    refused = refusal(host, "remove", path=str(tmp_path / "d"), tree=True)
    assert "deeper" in refused.detail
    assert (tmp_path / "d").exists()


def test_attributes_touch_only_what_differs(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    file.chmod(0o600)
    before = file.stat().st_ctime_ns
    assert ask(host, "attributes", path=str(file), mode="0600") == {"changed": False}
    assert file.stat().st_ctime_ns == before
    assert ask(host, "attributes", path=str(file), mode="0640") == {"changed": True}
    assert mode_of(file) == 0o640
    assert (
        refusal(host, "attributes", path=str(tmp_path / "no"), mode="0600").errno_name == "ENOENT"
    )


@pytest.mark.root
def test_attributes_of_a_tree_stay_within_it(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("x")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/f").write_text("x")
    (tree / "out").symlink_to(outside)
    (tree / "file").symlink_to(outside / "f")
    untouched = [(p.stat().st_ctime_ns, p.stat().st_uid) for p in (outside, outside / "f")]

    arguments = {
        "mode": "0640",
        "directory_mode": "0750",
        "owner": str(MALLORY),
        "group": "nogroup",
    }
    answer = ask(host, "attributes_tree", path=str(tree), **arguments)

    assert answer == {"changed": 5}
    for path in (tree, tree / "sub", tree / "sub/f", tree / "out", tree / "file"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (MALLORY, NOBODY)
    assert (mode_of(tree), mode_of(tree / "sub"), mode_of(tree / "sub/f")) == (0o750, 0o750, 0o640)
    assert untouched == [(p.stat().st_ctime_ns, p.stat().st_uid) for p in (outside, outside / "f")]
    assert ask(host, "attributes_tree", path=str(tree), **arguments) == {"changed": 0}


@pytest.mark.root
def test_what_one_account_owns_of_a_tree_goes_to_another(host: Host, tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.write_text("x")
    (tree / "sub").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    for name in ("f", "sub/f", "spared", "root"):
        (tree / name).write_text("x")
    for name in ("", "f", "sub", "sub/f", "spared", "link", "../outside"):
        os.chown(tree / name, 4801, -1, follow_symlinks=False)
    inode = (tree / "spared").stat().st_ino

    def owners() -> dict[str, int]:
        return {path.name: path.lstat().st_uid for path in (outside, tree, *tree.rglob("*"))}

    def hand_over(old: int, new: int, **more: Any) -> Any:
        return ask(host, "hand_over", path=str(tree), old=old, new=new, **more)

    assert hand_over(4801, MALLORY, spare=[inode]) == {"changed": 5}
    assert owners() == {
        **dict.fromkeys(("tree", "f", "sub", "link"), MALLORY),
        **dict.fromkeys(("outside", "spared"), 4801),
        "root": 0,
    }
    assert hand_over(4801, 4802, only=[]) == {"changed": 0}
    assert hand_over(4801, 4802, only=[inode]) == {"changed": 1}
    assert hand_over(MALLORY, 4801) == {"changed": 5}
    assert (owners()["spared"], owners()["f"]) == (4802, 4801)


@pytest.mark.root
def test_owners_of_a_link_itself_can_be_set(host: Host, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "link").symlink_to("f")
    ask(host, "attributes", path=str(tmp_path / "link"), owner="nobody")
    assert (tmp_path / "link").lstat().st_uid == NOBODY
    assert (tmp_path / "f").stat().st_uid == 0


def test_fetch_takes_a_file_whole_and_private(host: Host, tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    (tmp_path / "f").write_bytes(data)
    into = tmp_path / "into"
    content = asyncio.run(host.fetch(str(tmp_path / "f"), str(into)))
    assert content is not None
    assert into.read_bytes() == data
    assert (content.size, content.path, mode_of(into)) == (len(data), str(into), 0o600)
    assert content.sha256 == ask(host, "stat", path=str(into), digest=True)["sha256"]


def test_fetch_of_nothing_of_a_link_or_of_too_much_leaves_nothing(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("f")
    into = str(tmp_path / "into")
    assert asyncio.run(host.fetch(str(tmp_path / "no"), into)) is None
    for path, limit, code in (
        ("f", 999, "EFBIG"),
        ("d", 99_999, "EFBIG"),
        ("link", None, "EINVAL"),
    ):
        with pytest.raises(HostError) as caught:
            asyncio.run(host.fetch(str(tmp_path / path), into, limit=limit))
        assert caught.value.errno_name == code
    assert names_in(tmp_path) == ["d", "f", "link"]


@pytest.mark.root
def test_a_fetched_tree_can_be_put_back_as_it_was(host: Host, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub/empty").mkdir(parents=True)
    name = b"bad\xff; $(x)\n"
    (tree / "sub/f").write_bytes(b"\0\xff")
    os.link(tree / "sub/f", tree / "twin")
    Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_text("odd")
    (tree / "out").symlink_to("/etc/passwd")
    (tree / "sub").chmod(0o2711)
    (tree / "sub/f").chmod(0o4755)
    os.chown(tree / "sub/f", MALLORY, NOBODY)
    (tree / "sub/f").chmod(0o4755)
    os.utime(tree / "sub/f", (1e9, 1e9))
    os.chown(tree, NOBODY, MALLORY)

    def shape() -> list[tuple[object, ...]]:
        walked = ask(host, "walk", path=str(tree), digest=True)
        keys = ("path", "kind", "mode", "uid", "gid", "target", "sha256", "links")
        top = tree.stat()
        return [(top.st_mode, top.st_uid, top.st_gid)] + [
            tuple(entry[key] for key in keys) for entry in walked
        ]

    before = shape()
    kept = tmp_path / "kept.tar"
    content = asyncio.run(host.fetch(str(tree), str(kept)))
    assert content is not None and tarfile.is_tarfile(kept)
    ask(host, "remove", path=str(tree), tree=True)
    ask(host, "mkdir", path=str(tree))
    ask(host, "unpack", path=str(kept), dest=str(tree), preserve=True)
    assert shape() == before
    assert (tree / "sub/f").stat().st_mtime == 1e9


def test_a_pipe_is_taken_along_and_a_socket_is_not(host: Host, tmp_path: Path) -> None:
    tree, kept = tmp_path / "d", tmp_path / "kept.tar"
    tree.mkdir()
    os.mkfifo(tree / "pipe", 0o640)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))
    asyncio.run(host.fetch(str(tree), str(kept)))
    ask(host, "remove", path=str(tree), tree=True)
    ask(host, "mkdir", path=str(tree))
    ask(host, "unpack", path=str(kept), dest=str(tree), preserve=True)
    assert names_in(tree) == ["pipe"]
    assert stat.filemode((tree / "pipe").stat().st_mode) == "prw-r-----"
