"""``file_ops.fetch``."""

from pathlib import Path
from typing import Any

import pytest

from resources.bench import Bench, snapshot
from sloth_runner.core.errors import HostError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.fetch import Fetch


def fetch(src: Path, dest: Path, **params: Any) -> Fetch:
    given = {"src": str(src), "dest": str(dest), **params}
    made: Fetch = build(Fetch, given, function="file_ops.fetch")
    return made


def test_a_copy_is_made_once_and_is_private(here: Path, local: Bench) -> None:
    (here / "src").write_bytes(b"\xff\0")
    wanted = fetch(here / "src", here / "copy")
    assert local.observe(wanted) is None
    local.converge(wanted)
    assert (here / "copy").read_bytes() == b"\xff\0"
    assert oct((here / "copy").stat().st_mode)[-4:] == "0600"
    assert local.changes(wanted) == []
    assert sorted(p.name for p in here.iterdir()) == ["copy", "src"]


@pytest.mark.parametrize("changed", ["src", "copy"])
def test_either_side_makes_it_outdated(here: Path, local: Bench, changed: str) -> None:
    (here / "src").write_text("1")
    wanted = fetch(here / "src", here / "copy")
    local.converge(wanted)
    (here / changed).write_text("2")
    assert local.changes(wanted) == ["copy"]
    local.converge(wanted)
    assert (here / "copy").read_text() == (here / "src").read_text()


def test_the_old_copy_comes_back_and_a_new_one_goes(here: Path, local: Bench) -> None:
    (here / "src").write_text("new")
    (here / "copy").write_text("old")
    (here / "copy").chmod(0o644)
    before = snapshot(here)
    wanted = fetch(here / "src", here / "copy", mode="0600")
    origin = local.converge(wanted)
    local.revert(wanted, origin)
    assert snapshot(here / "copy") == {k: v for k, v in before.items() if k.endswith("copy")}
    other = fetch(here / "src", here / "other")
    local.revert(other, local.converge(other))
    local.destroy(other)
    assert not (here / "other").exists()


def test_a_missing_file_is_refused_in_the_preview(here: Path, local: Bench) -> None:
    with pytest.raises(Refused, match="no file to fetch"):
        local.preview(fetch(here / "src", here / "copy"))


def test_a_directory_is_no_destination(here: Path, local: Bench) -> None:
    (here / "src").touch()
    with pytest.raises(Refused, match="a directory, not a file"):
        local.preview(fetch(here / "src", here))


def test_what_a_link_leads_to_is_fetched(here: Path, local: Bench) -> None:
    (here / "real").write_text("x")
    (here / "link").symlink_to("real")
    wanted = fetch(here / "link", here / "copy")
    local.preview(wanted)
    local.converge(wanted)
    assert (here / "copy").read_text() == "x"


@pytest.mark.parametrize("name", ["no/such/copy", "n" * 250])
def test_a_place_that_cannot_be_written_is_an_error_of_the_host(
    here: Path, local: Bench, name: str
) -> None:
    (here / "src").write_text("x")
    if len(name) < 250:
        with pytest.raises(HostError, match="cannot be written"):
            local.converge(fetch(here / "src", here / name))
    else:
        local.converge(fetch(here / "src", here / name))
        assert (here / name).read_text() == "x"
    assert [p.name for p in here.iterdir() if ".sloth-" in p.name] == []
