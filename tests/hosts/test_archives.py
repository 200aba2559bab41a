"""Archives: hostile ones are refused whole, others arrive as they are."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hosts.asking import MALLORY, NOBODY, ask, leftovers, names_in, refusal
from sloth_runner.core.host import Host


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar(path: Path, *members: tarfile.TarInfo, mode: str = "w") -> str:
    """Makes an archive in which each file holds its own name; returns its path."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info in members:
            body = info.name.encode("utf-8", "surrogateescape") if info.isreg() else b""
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return str(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_arrives_as_it_is(host: Host, tmp_path: Path, mode: str) -> None:
    archive = tar(
        tmp_path / "a",
        member("./", tarfile.DIRTYPE),
        member("bin/", tarfile.DIRTYPE, mode=0o750),
        member("./bin/tool", mode=0o755),
        member("bin/alias", tarfile.SYMTYPE, linkname="tool"),
        member("bin/twin", tarfile.LNKTYPE, linkname="./bin/tool"),
        member("deep/er/$(x) \n'f"),
        member("deep/up", tarfile.SYMTYPE, linkname="../bin/tool"),
        mode=mode,
    )
    dest = tmp_path / "dest"
    dest.mkdir()

    listed = {entry["name"]: entry for entry in ask(host, "members", path=archive)}
    ask(host, "unpack", path=archive, dest=str(dest))

    walked = {entry["path"]: entry for entry in ask(host, "walk", path=str(dest), digest=True)}
    assert set(walked) == {*listed, "deep", "deep/er"}
    for name, entry in listed.items():
        keys = ("kind", "mode", *(("size", "sha256") if entry["kind"] == "file" else ()))
        assert {key: entry[key] for key in keys} == {key: walked[name][key] for key in keys}
        assert entry.get("target") == walked[name]["target"]
    assert listed["bin/tool"]["sha256"] == hashlib.sha256(b"./bin/tool").hexdigest()
    assert listed["bin/twin"]["hardlink"] == "bin/tool"
    assert walked["bin/twin"]["inode"] == walked["bin/tool"]["inode"]
    assert leftovers(dest / "bin") == []
    assert ask(host, "unpack", path=archive, dest=str(dest)) == {"members": 6}


HOSTILE: dict[str, Callable[[], list[tarfile.TarInfo]]] = {
    "absolute": lambda: [member("/etc/evil")],
    "above": lambda: [member("../evil")],
    "above within": lambda: [member("a/../../evil")],
    "absolute link": lambda: [member("l", tarfile.SYMTYPE, linkname="/etc")],
    "link above": lambda: [member("a/l", tarfile.SYMTYPE, linkname="../../x")],
    "link through a link": lambda: [
        member("a/b/c", tarfile.SYMTYPE, linkname="../../top"),
        member("l", tarfile.SYMTYPE, linkname="a/b/c/../../x"),
    ],
    "write through a link": lambda: [
        member("l", tarfile.SYMTYPE, linkname="d"),
        member("d", tarfile.DIRTYPE),
        member("l/evil"),
    ],
    "write through a file": lambda: [member("f"), member("f/evil")],
    "hard link above": lambda: [member("h", tarfile.LNKTYPE, linkname="../outside")],
    "absolute hard link": lambda: [member("h", tarfile.LNKTYPE, linkname="/etc/shadow")],
    "hard link to what is there": lambda: [member("h", tarfile.LNKTYPE, linkname="there")],
    "hard link to a link": lambda: [
        member("l", tarfile.SYMTYPE, linkname="there"),
        member("h", tarfile.LNKTYPE, linkname="l"),
    ],
    "device": lambda: [member("dev", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "a file for the root": lambda: [member("./")],
    "pipe": lambda: [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_whole(host: Host, tmp_path: Path, case: str) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "there").write_text("x")
    (tmp_path / "outside").write_text("x")
    archive = tar(tmp_path / "a.tar", member("innocent"), *HOSTILE[case]())

    refused = refusal(host, "unpack", path=archive, dest=str(dest))

    assert refused.errno_name == "EPERM"
    assert refused.effects == ("nothing was unpacked",)
    assert names_in(dest) == ["there"]
    assert names_in(tmp_path) == ["a.tar", "dest", "outside"]
    assert refusal(host, "members", path=archive).detail == refused.detail


def test_a_link_that_was_there_before_is_not_gone_through(host: Host, tmp_path: Path) -> None:
    outside, dest = tmp_path / "outside", tmp_path / "dest"
    outside.mkdir()
    dest.mkdir()
    (dest / "sub").symlink_to(outside)
    (dest / "f").symlink_to(outside / "f")
    refused = refusal(host, "unpack", path=tar(tmp_path / "a.tar", member("sub/f")), dest=str(dest))
    assert refused.errno_name == "ELOOP"
    ask(host, "unpack", path=tar(tmp_path / "b.tar", member("f")), dest=str(dest))
    assert names_in(outside) == []
    assert not (dest / "f").is_symlink()


@pytest.mark.root
def test_members_lose_special_bits_and_belong_to_whom_is_asked(host: Host, tmp_path: Path) -> None:
    archive = tar(
        tmp_path / "a.tar",
        member("tool", mode=0o6755, uid=MALLORY, gid=MALLORY),
        member("d/f", mode=0o4711, uid=MALLORY),
    )
    dest = tmp_path / "dest"
    dest.mkdir()
    assert [entry["mode"] for entry in ask(host, "members", path=archive)] == ["0755", "0711"]
    ask(host, "unpack", path=archive, dest=str(dest))
    assert (dest / "tool").stat().st_mode & 0o7777 == 0o755
    assert (dest / "tool").stat().st_uid == 0
    ask(host, "unpack", path=archive, dest=str(dest), owner="nobody", group="nogroup")
    for path in (dest / "tool", dest / "d/f"):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
        assert path.stat().st_mode & 0o7000 == 0


def test_a_damaged_archive_is_a_clear_error(host: Host, tmp_path: Path) -> None:
    whole = gzip.compress(
        (Path(tar(tmp_path / "a.tar", *[member(f"f{n}") for n in range(50)]))).read_bytes()
    )
    for name, content in {
        "cut": whole[:-40],
        "flipped": whole[:200] + bytes([whole[200] ^ 0xFF]) + whole[201:],
        "text": b"this is no archive",
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        refused = refusal(host, "members", path=str(tmp_path / name))
        assert (refused.errno_name, str(tmp_path / name) in refused.detail) == ("EBADMSG", True)
    assert refusal(host, "members", path=str(tmp_path / "no")).errno_name == "ENOENT"
    assert refusal(host, "members", path=str(tmp_path)).errno_name == "EINVAL"


def test_odd_times_and_names_do_not_matter(host: Host, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    archive = tar(
        tmp_path / "a.tar",
        member("past", mtime=-5),
        member("future", mtime=1 << 60),
        member("bad\udcff"),
        member("l" * 200),
    )
    ask(host, "unpack", path=archive, dest=str(dest))
    assert set(names_in(dest)) == {"past", "future", "bad\udcff", "l" * 200}
