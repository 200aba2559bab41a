"""``file_ops.blockinfile``."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.bench import Bench
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.block import Block

MADE = "# BEGIN sloth web\none\ntwo\n# END sloth web\n"


def block(path: Path | str = "/x", **params: Any) -> Block:
    given = {"path": str(path), "marker": "web", **params}
    made: Block = build(Block, given, function="file_ops.blockinfile")
    return made


def test_a_block_is_added_once_changed_and_removed(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_text("first\n")
    wanted = block(conf, block="one\ntwo\n")
    assert local.observe(wanted) is None
    local.converge(wanted)
    assert conf.read_text() == "first\n" + MADE
    assert local.changes(wanted) == []
    assert local.changes(block(conf, block="one\ntwo")) == []
    local.converge(block(conf, block="three"))
    assert conf.read_text() == "first\n# BEGIN sloth web\nthree\n# END sloth web\n"
    local.destroy(wanted)
    local.destroy(wanted)
    assert conf.read_text() == "first\n"


@pytest.mark.parametrize("before", [b"", b"a", b"a\n", b"a\r\nb\r\n", b"a\r\nb", b"\xff\n\n"])
def test_every_other_byte_stays(here: Path, local: Bench, before: bytes) -> None:
    conf = here / "hosts"
    conf.write_bytes(before)
    wanted = block(conf, block="one\ntwo")
    origin = local.converge(wanted)
    assert local.changes(wanted) == []
    assert conf.read_bytes().startswith(before)
    assert conf.read_bytes().endswith(b"\n") == (before == b"" or before.endswith(b"\n"))
    local.revert(wanted, origin)
    assert conf.read_bytes() == before


def test_windows_line_ends_are_kept_inside_the_block(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_bytes(b"a\r\n")
    local.converge(block(conf, block="one\ntwo"))
    assert conf.read_bytes() == b"a\r\n# BEGIN sloth web\r\none\r\ntwo\r\n# END sloth web\r\n"


def test_drift_names_the_block(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_text(MADE.replace("two", "2"))
    [change] = block(conf, block="one\ntwo").diff(local.observe(block(conf, block="x"))).changes
    assert (change.property, change.old) == ("block", "one\n2")


def test_the_old_block_comes_back_and_what_others_changed_stays(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_text("a\n" + MADE + "b\n")
    wanted = block(conf, block="new\nnew\nnew")
    origin = local.converge(wanted)
    conf.write_text("more\n" + conf.read_text())
    local.revert(wanted, origin)
    assert conf.read_text() == "more\na\n" + MADE + "b\n"


def test_a_removed_block_comes_back_where_it_stood(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_text("a\n" + MADE + "b")
    unwanted = block(conf, state="absent")
    origin = local.converge(unwanted)
    assert conf.read_text() == "a\nb"
    local.revert(unwanted, origin)
    assert conf.read_text() == "a\n" + MADE + "b"


def test_an_empty_block_is_not_an_absent_one(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_text("")
    local.converge(block(conf, block=""))
    assert local.observe(block(conf, block="")) == {"block": ""}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("# BEGIN sloth web\nx\n", "begin at line 1"),
        ("x\n# END sloth web\n", "end at line 2"),
        ("# END sloth web\n# BEGIN sloth web\n", "end at line 1, begin at line 2"),
        (MADE + MADE, "begin at line 1, end at line 4, begin at line 5, end at line 8"),
        (
            "# BEGIN sloth web\n" + MADE + "# END sloth web\n",
            "begin at line 1, begin at line 2, end at line 5, end at line 6",
        ),
    ],
)
def test_damaged_markers_are_an_error_with_their_lines(
    here: Path, local: Bench, text: str, places: str
) -> None:
    conf = here / "hosts"
    conf.write_text(text)
    with pytest.raises(Refused, match=f"damaged: {places}$"):
        local.observe(block(conf, block="x"))
    assert conf.read_text() == text


def test_blocks_with_other_markers_do_not_meet(here: Path, local: Bench) -> None:
    conf = here / "hosts"
    conf.write_text("")
    local.converge(block(conf, block="1"))
    local.converge(block(conf, block="2", marker="// {mark} two", insertbefore="BOF"))
    assert conf.read_text() == (
        "// BEGIN two\n2\n// END two\n# BEGIN sloth web\n1\n# END sloth web\n"
    )
    assert local.changes(block(conf, block="1")) == []


def test_a_missing_file_is_made_only_when_asked(here: Path, local: Bench) -> None:
    with pytest.raises(Refused, match="no file"):
        local.preview(block(here / "hosts", block="x"))
    wanted = block(here / "hosts", block="one\ntwo", create=True)
    local.converge(wanted)
    assert (here / "hosts").read_text() == MADE
    local.destroy(wanted)
    assert not (here / "hosts").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "'block' is required"),
        ({"block": "x", "marker": ""}, "marker"),
        ({"block": "x", "marker": "a\nb"}, "marker"),
        ({"block": "a\n# END sloth web\nb"}, "its own marker"),
        ({"block": "x", "insertafter": "("}, "regular expression"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError, match=message):
        block(**params)


@given(
    st.text(alphabet="ab\r\n#", max_size=20),
    st.text(alphabet="xy\n", max_size=10),
    st.sampled_from([{}, {"insertafter": "a"}, {"insertbefore": "BOF"}]),
)
@settings(max_examples=80, deadline=None)
def test_a_second_edit_changes_nothing_and_the_inverse_restores(
    text: str, content: str, place: dict[str, str]
) -> None:
    wanted = block(block=content, **place)
    once = wanted.edited(text)
    assert wanted.edited(once) == once
    assert not wanted.diff(wanted.part_of(once))
    assert wanted.without(once) == text
