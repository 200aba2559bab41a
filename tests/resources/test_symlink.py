"""``file_ops.symlink``."""

from pathlib import Path
from typing import Any

import pytest

from resources.bench import Bench, snapshot
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.symlink import Symlink


def link(path: Path, target: str = "releases/2", **params: Any) -> Symlink:
    given = {"path": str(path), "target": target, **params}
    made: Symlink = build(Symlink, given, function="file_ops.symlink")
    return made


@pytest.mark.parametrize("target", ["a", "/nowhere", "..", "-x", "a b\n'\udcff"])
def test_a_link_is_made_once_and_removed(here: Path, local: Bench, target: str) -> None:
    wanted = link(here / "l", target)
    assert local.observe(wanted) is None
    local.converge(wanted)
    assert str((here / "l").readlink()) == target
    assert local.changes(wanted) == []
    local.destroy(wanted)
    local.destroy(wanted)
    assert list(here.iterdir()) == []


def test_another_target_is_named_replaced_and_put_back(here: Path, local: Bench) -> None:
    (here / "l").symlink_to("releases/1")
    before = snapshot(here)
    wanted = link(here / "l")
    assert local.changes(wanted) == ["target"]
    origin = local.converge(wanted)
    local.revert(wanted, origin)
    assert snapshot(here) == before


def test_a_file_is_replaced_only_by_force_and_comes_back(here: Path, local: Bench) -> None:
    (here / "l").write_bytes(b"\xff")
    (here / "l").chmod(0o600)
    before = snapshot(here)
    with pytest.raises(Refused, match="is a file, not a link"):
        local.preview(link(here / "l"))
    forced = link(here / "l", force=True)
    assert forced.sensitive_beside(local.observe(forced))
    origin = local.converge(forced)
    assert (here / "l").is_symlink()
    local.revert(forced, origin)
    assert snapshot(here) == before


def test_a_directory_is_never_replaced(here: Path, local: Bench) -> None:
    (here / "l").mkdir()
    with pytest.raises(Refused, match="is a directory"):
        local.preview(link(here / "l", force=True))
    with pytest.raises(Refused, match="is a directory"):
        local.destroy(link(here / "l"))


def test_what_a_link_points_to_is_never_touched(here: Path, local: Bench) -> None:
    (here / "dir").mkdir(mode=0o700)
    (here / "l").symlink_to("dir")
    local.converge(link(here / "l", "elsewhere"))
    local.destroy(link(here / "l", "elsewhere"))
    assert oct((here / "dir").stat().st_mode)[-3:] == "700"


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(ParamError, match="empty"):
        link(Path("/x"), "")
