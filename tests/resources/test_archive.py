"""``file_ops.unarchive``."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources.bench import GROUP, USER, Bench, snapshot
from sloth_runner.core.errors import HostError, ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.core.schema import Content
from sloth_runner.resources.archive import Archive


def archive(dest: Path, **params: Any) -> Archive:
    given = {"dest": str(dest), **params}
    made: Archive = build(Archive, given, function="file_ops.unarchive")
    return made


def add(tar: tarfile.TarFile, name: str, body: bytes = b"", **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(body))


def pack(path: Path, fill: Callable[[tarfile.TarFile], None], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        fill(tar)
    return path


def app(tar: tarfile.TarFile) -> None:
    add(tar, "./app", type=tarfile.DIRTYPE, mode=0o755)
    add(tar, "./app/bin/run", b"#!/bin/sh\n", mode=0o4755)
    add(tar, "./app/data\udcff", b"\xff\0", mode=0o644)
    add(tar, "./app/now", type=tarfile.SYMTYPE, linkname="bin/run")


@pytest.fixture
def packed(here: Path) -> Path:
    return pack(here / "app.tar.gz", app)


@pytest.fixture
def dest(here: Path) -> Path:
    folder = here / "dest"
    folder.mkdir()
    (folder / "other").write_text("stays")
    return folder


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_it_is_unpacked_once_and_taken_away(
    here: Path, dest: Path, local: Bench, mode: str
) -> None:
    before = snapshot(dest)
    wanted = archive(dest, archive=str(pack(here / "a", app, mode)))
    assert local.observe(wanted) is None
    local.converge(wanted)
    assert (dest / "app" / "bin" / "run").read_text() == "#!/bin/sh\n"
    assert oct((dest / "app" / "bin" / "run").stat().st_mode)[-4:] == "0755"
    assert str((dest / "app" / "now").readlink()) == "bin/run"
    assert local.changes(wanted) == []
    local.destroy(wanted)
    local.destroy(wanted)
    assert snapshot(dest) == before


@pytest.mark.root
def test_a_file_of_the_controller_is_unpacked(packed: Path, dest: Path, local: Bench) -> None:
    body = packed.read_bytes()
    source = Content(sha256=hashlib.sha256(body).hexdigest(), size=len(body), path=str(packed))
    wanted = archive(dest, src=source, owner="12345")
    local.converge(wanted)
    assert (dest / "app" / "bin" / "run").stat().st_uid == 12345
    assert (dest / "other").stat().st_uid == os.getuid()
    assert local.changes(wanted) == []


@pytest.mark.parametrize(
    ("disturb", "seen"),
    [
        (lambda app: (app / "bin" / "run").unlink(), {"missing": ["app/bin/run"]}),
        (
            lambda app: (app / "bin" / "run").write_text("x"),
            {"changed": [["app/bin/run", f"0755 {USER}:{GROUP}"]]},
        ),
        (
            lambda app: (app / "bin" / "run").chmod(0o700),
            {"changed": [["app/bin/run", f"0700 {USER}:{GROUP}"]]},
        ),
    ],
)
def test_drift_names_the_members(
    packed: Path, dest: Path, local: Bench, disturb: Any, seen: Any
) -> None:
    wanted = archive(dest, archive=str(packed))
    local.converge(wanted)
    disturb(dest / "app")
    assert local.changes(wanted) == ["members"]
    assert local.observe(wanted) == {"members": seen}
    local.converge(wanted)
    assert local.changes(wanted) == []


@pytest.mark.root
def test_what_it_overwrote_comes_back(packed: Path, dest: Path, local: Bench) -> None:
    (dest / "app" / "bin").mkdir(parents=True)
    (dest / "app" / "bin" / "run").write_text("old")
    (dest / "app" / "bin" / "run").chmod(0o600)
    os.chown(dest / "app" / "bin" / "run", 12345, 12346)
    (dest / "app" / "now").symlink_to("elsewhere")
    before = snapshot(dest)
    wanted = archive(dest, archive=str(packed))
    origin = local.converge(wanted)
    assert wanted.sensitive_beside(origin.actual)
    local.revert(wanted, origin)
    assert snapshot(dest) == before


def test_with_creates_nothing_is_unpacked_once_that_exists(dest: Path, local: Bench) -> None:
    there = archive(dest, archive="/none.tar", creates=str(dest / "other"))
    assert local.changes(there) == []


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("/etc/evil", {}),
        ("../evil", {}),
        ("a/../../evil", {}),
        ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
        ("link", {"type": tarfile.SYMTYPE, "linkname": "../.."}),
        ("link", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("device", {"type": tarfile.CHRTYPE}),
    ],
)
def test_a_hostile_archive_is_refused_in_the_preview(
    here: Path, dest: Path, local: Bench, name: str, fields: dict[str, Any]
) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "good", b"x")
        add(tar, name, **fields)

    before = snapshot(here.parent)
    hostile = archive(dest, archive=str(pack(here / "a.tar", fill)))
    packed = {str(here / "a.tar"), str(here)}
    with pytest.raises(HostError, match="archive's member"):
        local.preview(hostile)
    assert {k: v for k, v in snapshot(here.parent).items() if k not in packed} == {
        k: v for k, v in before.items() if k not in packed
    }


@pytest.mark.parametrize("make", [lambda p: p.write_text(""), lambda p: p.symlink_to("/tmp")])
def test_what_stands_in_the_way_is_refused_in_the_preview(
    packed: Path, dest: Path, local: Bench, make: Any
) -> None:
    make(dest / "app")
    (dest / "x").touch()
    wanted = archive(dest, archive=str(packed))
    with pytest.raises(Refused, match="in the way"):
        local.converge(wanted)
    assert list(Path("/tmp").glob("bin/run")) == []


def test_a_missing_destination_or_archive_is_refused(
    packed: Path, here: Path, dest: Path, local: Bench
) -> None:
    with pytest.raises(Refused, match="not there"):
        local.preview(archive(here / "none", archive=str(packed)))
    with pytest.raises(HostError):
        local.preview(archive(dest, archive=str(here / "none.tar")))


def test_exactly_one_source_is_given() -> None:
    with pytest.raises(ParamError, match="'src'"):
        archive(Path("/x"))
    with pytest.raises(ParamError, match="'src'"):
        archive(Path("/x"), archive="/a", src=Content(sha256="", size=0, path="/b"))


def test_only_what_differs_is_unpacked_again(packed: Path, dest: Path, local: Bench) -> None:
    wanted = archive(dest, archive=str(packed))
    local.converge(wanted)
    (dest / "app").chmod(0o700)
    (dest / "app/bin/run").unlink()
    kept = (dest / os.fsdecode(b"app/data\xff")).stat().st_ino
    local.converge(wanted)
    assert (dest / "app/bin/run").exists()
    assert (dest / os.fsdecode(b"app/data\xff")).stat().st_ino == kept
    assert oct((dest / "app").stat().st_mode)[-3:] == "700"
    assert local.changes(wanted) == []


def test_a_directory_that_the_archive_does_not_name_keeps_its_owner(
    here: Path, dest: Path, local: Bench
) -> None:
    (dest / "app").mkdir()
    packed = pack(here / "run.tar", lambda tar: add(tar, "app/run", b"x"), "w")
    owner = str(os.geteuid() + 4000)
    wanted = archive(dest, archive=str(packed), owner=owner) if os.geteuid() == 0 else None
    if wanted is not None:  # only root gives files away
        local.converge(wanted)
        assert (dest / "app/run").stat().st_uid == int(owner)
        assert local.changes(wanted) == []


def test_it_is_unpacked_where_a_link_leads(
    here: Path, packed: Path, dest: Path, local: Bench
) -> None:
    (here / "current").symlink_to(dest)
    wanted = archive(here / "current", archive=str(packed))
    local.converge(wanted)
    assert (dest / "app/bin/run").exists()
    assert (here / "current").is_symlink()
    assert local.changes(wanted) == []


def test_what_another_line_declares_is_neither_unpacked_nor_taken_away(
    packed: Path, dest: Path, local: Bench
) -> None:
    run = dest / "app/bin/run"
    whole = {str(run): {"whole": True, "below": True}}
    wanted = archive(dest, archive=str(packed), others=whole)
    local.converge(wanted)
    assert not run.parent.exists()
    run.parent.mkdir()
    run.write_text("another's")
    assert local.changes(wanted) == []
    local.destroy(wanted)
    assert [p.name for p in sorted(dest.rglob("*"))] == ["app", "bin", "run", "other"]


def test_what_it_unpacked_before_another_line_replaced_it_is_taken_away(
    packed: Path, dest: Path, local: Bench
) -> None:
    before = snapshot(dest)
    local.converge(archive(dest, archive=str(packed)))
    link = {str(dest / "app/now"): {"whole": True, "below": True}}
    local.destroy(archive(dest, archive=str(packed), others=link))
    assert snapshot(dest) == before
