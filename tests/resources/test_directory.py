"""``file_ops.directory``."""

import os
from pathlib import Path
from typing import Any

import pytest

from resources.bench import GROUP, USER, Bench, snapshot
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.directory import Directory


def directory(path: Path | str, **params: Any) -> Directory:
    given = {"path": str(path), **params}
    made: Directory = build(Directory, given, function="file_ops.directory")
    return made


def mode_of(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


@pytest.fixture
def tree(here: Path) -> Path:
    top = here / "tree"
    (top / "below").mkdir(parents=True)
    (top / "run").write_text("1")
    (top / "run").chmod(0o744)
    (top / "below" / "data\udcff").write_text("2")
    (top / "link").symlink_to("/etc/hostname")
    return top


def test_a_directory_and_its_parents_are_made_once(here: Path, local: Bench) -> None:
    wanted = directory(here / "a" / "b" / "c", mode="0750")
    assert local.observe(wanted) is None
    local.converge(wanted)
    assert mode_of(here / "a" / "b" / "c") == "0750"
    assert mode_of(here / "a") == "0755"
    assert local.changes(wanted) == []
    assert local.changes(directory(here / "a")) == []


@pytest.mark.root
@pytest.mark.parametrize(
    ("disturb", "named"),
    [
        (lambda path: path.chmod(0o711), ["mode"]),
        (lambda path: os.chown(path, 12345, -1), ["owner"]),
        (lambda path: os.chown(path, -1, 12345), ["group"]),
        (lambda path: path.rmdir(), ["group", "kind", "mode", "owner"]),
    ],
)
def test_drift_names_exactly_what_was_disturbed(
    here: Path, local: Bench, disturb: Any, named: list[str]
) -> None:
    wanted = directory(here / "d", mode="1777", owner="root", group="root")
    local.converge(wanted)
    disturb(here / "d")
    assert local.changes(wanted) == named
    local.converge(wanted)
    assert mode_of(here / "d") == "1777"


@pytest.mark.root
def test_old_attributes_come_back(here: Path, local: Bench) -> None:
    (here / "d").mkdir(mode=0o700)
    os.chown(here / "d", 12345, 12346)
    before = snapshot(here)
    wanted = directory(here / "d", mode="0755", owner="root")
    origin = local.converge(wanted)
    local.revert(wanted, origin)
    assert snapshot(here) == before


@pytest.mark.parametrize("make", [lambda p: p.write_text(""), lambda p: p.symlink_to("/etc")])
def test_what_is_no_directory_is_refused_in_the_preview(
    here: Path, local: Bench, make: Any
) -> None:
    make(here / "d")
    with pytest.raises(Refused, match="not a directory"):
        local.preview(directory(here / "d"))
    with pytest.raises(Refused, match=r"not the directory"):
        local.destroy(directory(here / "d"))
    assert os.path.lexists(here / "d")


def test_everything_below_gets_its_mode_and_no_file_becomes_executable(
    tree: Path, local: Bench
) -> None:
    wanted = directory(tree, recurse=True, mode="0750", file_mode="0640")
    local.converge(wanted)
    assert (mode_of(tree), mode_of(tree / "below")) == ("0750", "0750")
    assert (mode_of(tree / "run"), mode_of(tree / "below" / "data\udcff")) == ("0640", "0640")
    assert mode_of(Path("/etc/hostname")) != "0640"


def test_modes_of_files_stay_where_only_directories_are_managed(tree: Path, local: Bench) -> None:
    local.converge(directory(tree, recurse=True, mode="0750"))
    assert (mode_of(tree / "below"), mode_of(tree / "run")) == ("0750", "0744")


def test_one_disturbed_file_below_is_drift_of_the_tree(tree: Path, local: Bench) -> None:
    wanted = directory(tree, recurse=True, file_mode="0640", owner=USER)
    local.converge(wanted)
    assert local.observe(wanted)["tree"] == "uniform"  # type: ignore[index]
    (tree / "run").chmod(0o600)
    assert local.changes(wanted) == ["tree"]
    assert local.observe(wanted)["tree"] == [["run", f"0600 {USER}:{GROUP}"]]  # type: ignore[index]
    assert "run" in local.preview(wanted)["tree"]
    local.converge(wanted)
    assert mode_of(tree / "run") == "0640"


@pytest.mark.root
def test_old_attributes_of_a_whole_tree_come_back(tree: Path, local: Bench) -> None:
    os.chown(tree / "link", 12345, 12345, follow_symlinks=False)
    os.chown(tree / "run", 12345, 12346)
    before = snapshot(tree)
    hostname = Path("/etc/hostname").stat()
    wanted = directory(tree, recurse=True, mode="0711", file_mode="0600", owner="0", group="0")
    origin = local.converge(wanted)
    assert (tree / "link").lstat().st_uid == 0
    local.revert(wanted, origin)
    assert snapshot(tree) == before
    assert Path("/etc/hostname").stat() == hostname


def test_a_directory_that_was_made_goes_only_when_it_is_empty(here: Path, local: Bench) -> None:
    wanted = directory(here / "d")
    origin = local.converge(wanted)
    for name in "fedcba":
        (here / "d" / name).touch()
    with pytest.raises(Refused, match="'a', 'b', 'c', 'd', 'e' and 1 more"):
        local.revert(wanted, origin)
    for name in "fedcba":
        (here / "d" / name).unlink()
    local.destroy(wanted)
    local.destroy(wanted)
    assert not (here / "d").exists()


def test_absent_removes_an_empty_one_and_brings_it_back(here: Path, local: Bench) -> None:
    (here / "d").mkdir(mode=0o700)
    before = snapshot(here)
    unwanted = directory(here / "d", state="absent")
    origin = local.converge(unwanted)
    assert not (here / "d").exists()
    assert local.changes(unwanted) == []
    local.revert(unwanted, origin)
    assert snapshot(here) == before


@pytest.mark.root
def test_absent_needs_force_for_content_and_brings_it_back(tree: Path, local: Bench) -> None:
    os.chown(tree / "run", 12345, 12346)
    before = snapshot(tree)
    with pytest.raises(Refused, match="is not empty"):
        local.preview(directory(tree, state="absent"))
    unwanted = directory(tree, state="absent", force=True)
    origin = local.converge(unwanted)
    assert not tree.exists()
    local.revert(unwanted, origin)
    assert snapshot(tree) == before


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"file_mode": "0644"}, "needs recurse"),
        ({"recurse": True}, "nothing to manage"),
        ({"path": "/etc", "state": "absent"}, "belongs to the system"),
        ({"mode": 644}, "expected text such as"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError, match=message):
        directory(**{"path": "/x", **params})
