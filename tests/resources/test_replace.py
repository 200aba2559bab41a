"""``file_ops.replace``."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.bench import Bench
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.replace import Replace


def replace(path: Path | str = "/x", **params: Any) -> Replace:
    made: Replace = build(Replace, {"path": str(path), **params}, function="file_ops.replace")
    return made


def test_every_match_is_replaced_once_and_put_back(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("host=old\nx\nhost=older\n")
    wanted = replace(conf, regexp=r"^(host)=\w+$", replace=r"\1=new")
    assert local.observe(wanted) == {"pending": 2}
    origin = local.converge(wanted)
    assert conf.read_text() == "host=new\nx\nhost=new\n"
    assert local.changes(wanted) == []
    local.revert(wanted, origin)
    assert conf.read_text() == "host=old\nx\nhost=older\n"


def test_what_others_changed_since_stays_when_it_is_taken_back(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("a=1\nb=1\n")
    wanted = replace(conf, regexp="=1$", replace="=2")
    origin = local.converge(wanted)
    conf.write_text("top\na=2\nb=2\nend\n")
    local.revert(wanted, origin)
    assert conf.read_text() == "top\na=1\nb=1\nend\n"


def test_drift_counts_what_is_left_to_replace(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("old\n")
    wanted = replace(conf, regexp="old", replace="new")
    local.converge(wanted)
    conf.write_text("new old old\n")
    [change] = wanted.diff(local.observe(wanted)).changes
    assert (change.property, change.old, change.new) == ("pending", 2, 0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a=1\r\nb=2\r\n", b"a=0\r\nb=2\r\n"),
        (b"\xff a=1", b"\xff a=0"),
        (b"a=1\r\nb\na=1", b"a=0\r\nb\na=0"),
        (b"x" * 1_000_000 + b"\na=1", b"x" * 1_000_000 + b"\na=0"),
    ],
)
def test_every_other_byte_stays(here: Path, local: Bench, before: bytes, after: bytes) -> None:
    conf = here / "conf"
    conf.write_bytes(before)
    wanted = replace(conf, regexp="a=1", replace="a=0")
    origin = local.converge(wanted)
    assert conf.read_bytes() == after
    local.revert(wanted, origin)
    assert conf.read_bytes() == before


def test_the_end_of_a_windows_line_is_an_end(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_bytes(b"a=1\r\nb=1\r\n")
    local.converge(replace(conf, regexp="^a=1$", replace="a=0\nmore"))
    assert conf.read_bytes() == b"a=0\r\nmore\r\nb=1\r\n"


def test_a_replacement_that_matches_again_is_refused_in_the_preview(
    here: Path, local: Bench
) -> None:
    conf = here / "conf"
    conf.write_text("a\n")
    with pytest.raises(Refused, match="every run would change the file"):
        local.preview(replace(conf, regexp="a", replace="aa"))
    assert conf.read_text() == "a\n"


def test_a_missing_file_is_refused_in_the_preview(here: Path, local: Bench) -> None:
    with pytest.raises(Refused, match="no file"):
        local.preview(replace(here / "none", regexp="a", replace="b"))


def test_text_of_a_private_file_is_not_shown(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("key=1\n")
    conf.chmod(0o600)
    wanted = replace(conf, regexp="key=1", replace="key=2")
    assert {"pending", "replace"} <= wanted.sensitive_beside(local.observe(wanted))
    local.converge(wanted)
    assert conf.read_text() == "key=2\n"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"regexp": "("}, "not a regular expression"),
        ({"regexp": ""}, "empty"),
        ({"regexp": "a", "replace": "\\1"}, "'replace': invalid group"),
        ({"regexp": "a", "replace": "\\g<x>"}, "'replace': unknown group"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError, match=message):
        replace(**params)


@given(
    st.text(alphabet="ab \r\n", max_size=20),
    st.sampled_from(["a", "a+", "^a", "b$", "(a)(b)?", "a|b", "^.*$"]),
    st.sampled_from(["", "c", "b", r"\g<0>", "c\nd"]),
)
@settings(max_examples=80, deadline=None)
def test_nothing_is_pending_exactly_when_nothing_would_change(
    text: str, regexp: str, replacement: str
) -> None:
    wanted = replace(regexp=regexp, replace=replacement)
    seen = wanted.part_of(text)
    assert (wanted.edited(text) == text) == (seen == {"pending": 0})
