"""``file_ops.remove``."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from resources.bench import Bench, snapshot
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.remove import Absence


def absence(path: Path | str, **params: Any) -> Absence:
    given = {"path": str(path), **params}
    made: Absence = build(Absence, given, function="file_ops.remove")
    return made


def make_file(path: Path) -> None:
    path.write_bytes(b"\xff\0")
    os.chown(path, 12345, 12346)
    path.chmod(0o640)


def make_tree(path: Path) -> None:
    path.mkdir(mode=0o750)
    (path / "below").mkdir(mode=0o700)
    make_file(path / "below" / "file\udcff")
    (path / "link").symlink_to("nowhere")
    (path / "outward").symlink_to("/etc/hostname")
    (path / "upward").symlink_to("../../somewhere")
    os.link(path / "below" / "file\udcff", path / "twin")
    os.chown(path, 12345, 12346)


@pytest.mark.root
@pytest.mark.parametrize(
    "make",
    [make_file, make_tree, lambda p: p.symlink_to("there"), lambda p: p.mkdir(mode=0o711)],
)
def test_it_is_removed_once_and_comes_back(here: Path, local: Bench, make: Any) -> None:
    make(here / "x")
    before = snapshot(here)
    unwanted = absence(here / "x", force=True)
    origin = local.converge(unwanted)
    assert not os.path.lexists(here / "x")
    assert local.changes(unwanted) == []
    local.destroy(unwanted)
    local.revert(unwanted, origin)
    assert {k: v for k, v in snapshot(here).items() if k != str(here)} == {
        k: v for k, v in before.items() if k != str(here)
    }


def test_what_a_link_points_to_stays(here: Path, local: Bench) -> None:
    (here / "kept").mkdir()
    (here / "kept" / "file").touch()
    (here / "x").symlink_to("kept")
    local.converge(absence(here / "x", force=True))
    (here / "tree").mkdir()
    (here / "tree" / "x").symlink_to("../kept")
    local.converge(absence(here / "tree", force=True))
    assert (here / "kept" / "file").exists()
    assert [path.name for path in here.iterdir()] == ["kept"]


@pytest.mark.root
def test_a_directory_with_content_needs_force_in_the_preview_too(here: Path, local: Bench) -> None:
    make_tree(here / "x")
    with pytest.raises(
        Refused, match="is not empty: it contains 'below', 'link', 'outward', 'twin', 'upward'"
    ):
        local.preview(absence(here / "x"))
    with pytest.raises(Refused, match="is not empty"):
        local.destroy(absence(here / "x"))
    assert (here / "x" / "link").is_symlink()


def test_a_socket_can_be_removed(here: Path, local: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(here / "s"))
    local.converge(absence(here / "s"))
    assert list(here.iterdir()) == []


def test_what_came_again_is_not_overwritten_by_an_undo(here: Path, local: Bench) -> None:
    (here / "x").write_text("old")
    unwanted = absence(here / "x")
    origin = local.converge(unwanted)
    (here / "x").write_text("new")
    with pytest.raises(Refused, match="again"):
        local.revert(unwanted, origin)
    assert (here / "x").read_text() == "new"


@pytest.mark.parametrize("path", ["/", "//", "/etc", "/usr/../etc/", "/usr/lib", "/var", "/tmp/.."])
def test_directories_of_the_system_are_refused_at_once(path: str) -> None:
    with pytest.raises(ParamError, match="belongs to the system"):
        absence(path, force=True)


def test_a_directory_of_the_system_by_another_name_is_refused(here: Path, local: Bench) -> None:
    (here / "root").symlink_to("/")
    with pytest.raises(Refused, match="by another name"):
        local.preview(absence(here / "root" / "opt", force=True))


@pytest.mark.parametrize("path", ["/dev/shm", "/sys/fs"])
def test_mount_points_and_what_holds_one_are_refused(local: Bench, path: str) -> None:
    mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if not any(f"{mount}/".startswith(f"{path}/") for mount in mounts):
        pytest.skip(f"nothing is mounted at or below {path} here")
    with pytest.raises(Refused, match="is a mount point"):
        local.preview(absence(path, force=True))


@pytest.mark.root
@pytest.mark.parametrize(
    ("make", "sealed"), [(make_file, True), (make_tree, True), (lambda p: p.touch(0o644), False)]
)
def test_what_others_may_not_read_is_kept_encrypted(
    here: Path, local: Bench, make: Any, sealed: bool
) -> None:
    make(here / "x")
    unwanted = absence(here / "x", force=True)
    assert bool(unwanted.sensitive_beside(local.observe(unwanted))) == sealed


def test_what_is_no_file_goes_too_and_comes_back(here: Path, local: Bench) -> None:
    tree = here / "tree"
    tree.mkdir()
    os.mkfifo(tree / "pipe", 0o640)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))
    wanted = absence(tree, force=True)
    origin = local.converge(wanted)
    assert not tree.exists()
    local.revert(wanted, origin)
    assert [p.name for p in tree.iterdir()] == ["pipe"]
    assert stat.S_ISFIFO((tree / "pipe").stat().st_mode)
    assert oct((tree / "pipe").stat().st_mode)[-3:] == "640"
