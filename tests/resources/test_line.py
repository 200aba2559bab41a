"""``file_ops.lineinfile``."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.bench import Bench, snapshot
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.line import Line


def line(path: Path | str = "/x", **params: Any) -> Line:
    made: Line = build(Line, {"path": str(path), **params}, function="file_ops.lineinfile")
    return made


def test_a_missing_line_is_added_once_and_taken_out_again(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_bytes(b"a\nb\n")
    wanted = line(conf, line="c")
    assert local.observe(wanted) is None
    local.converge(wanted)
    assert conf.read_bytes() == b"a\nb\nc\n"
    assert local.changes(wanted) == []
    local.destroy(wanted)
    local.destroy(wanted)
    assert conf.read_bytes() == b"a\nb\n"
    assert local.observe(wanted) is None


def test_the_last_line_that_matches_is_replaced_and_put_back(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_bytes(b"port=1\nx\nport=2\n")
    conf.chmod(0o604)
    before = snapshot(conf)
    wanted = line(conf, regexp="^port=", line="port=8080")
    assert local.observe(wanted) == {"line": "port=2"}
    origin = local.converge(wanted)
    assert conf.read_bytes() == b"port=1\nx\nport=8080\n"
    local.revert(wanted, origin)
    assert snapshot(conf) == before


def test_drift_names_the_line(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("port=1\n")
    wanted = line(conf, regexp="^port=", line="port=8080")
    local.converge(wanted)
    conf.write_text("port=9\n# more\n")
    [change] = wanted.diff(local.observe(wanted)).changes
    assert (change.property, change.old, change.new) == ("line", "port=9", "port=8080")


def test_what_others_changed_since_stays_when_it_is_taken_back(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("a\nport=1\n")
    wanted = line(conf, regexp="^port=", line="port=8080")
    origin = local.converge(wanted)
    conf.write_text("new\na\nport=8080\nend\n")
    local.revert(wanted, origin)
    assert conf.read_text() == "new\na\nport=1\nend\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"port=2\n"),
        (b"port=1", b"port=2"),
        (b"port=1\n", b"port=2\n"),
        (b"a\r\nport=1\r\nb", b"a\r\nport=2\r\nb"),
        (b"a\r\nb", b"a\r\nb\r\nport=2"),
        (b"\xff\n\x80port=1 \xfe\n", b"\xff\n\x80port=1 \xfe\nport=2\n"),
        (b"a\n\n\n", b"a\n\n\nport=2\n"),
        (b"x" * 1_000_000 + b"\nport=1\n", b"x" * 1_000_000 + b"\nport=2\n"),
    ],
)
def test_every_other_byte_stays(here: Path, local: Bench, before: bytes, after: bytes) -> None:
    conf = here / "conf"
    conf.write_bytes(before)
    wanted = line(conf, regexp="^port=", line="port=2")
    origin = local.converge(wanted)
    assert conf.read_bytes() == after
    assert local.changes(wanted) == []
    local.revert(wanted, origin)
    assert conf.read_bytes() == before


@pytest.mark.parametrize(("given", "after"), [({}, b"a\nb\n\n"), ({"regexp": "^b?$"}, b"a\n\n")])
def test_an_empty_line_is_kept_in_a_file_without_a_final_newline(
    here: Path, local: Bench, given: dict[str, Any], after: bytes
) -> None:
    conf = here / "conf"
    conf.write_bytes(b"a\nb")
    before = snapshot(conf)
    wanted = line(conf, line="", **given)
    origin = local.converge(wanted)
    assert conf.read_bytes() == after
    assert local.changes(wanted) == []
    local.revert(wanted, origin)
    assert snapshot(conf) == before


@pytest.mark.parametrize("special", ["a.b*c", "[x", "$(rm -rf /)", "\\1 \\g<0>", "(", "^$"])
def test_a_line_without_a_regexp_is_only_text(here: Path, local: Bench, special: str) -> None:
    conf = here / "conf"
    conf.write_text("axbbc\n\n")
    local.converge(line(conf, line=special))
    assert conf.read_text() == f"axbbc\n\n{special}\n"
    assert local.changes(line(conf, line=special)) == []


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"insertafter": "^b"}, "a\nb1\nb2\nnew\nc\n"),
        ({"insertbefore": "^b"}, "a\nb1\nnew\nb2\nc\n"),
        ({"insertbefore": "BOF"}, "new\na\nb1\nb2\nc\n"),
        ({"insertafter": "EOF"}, "a\nb1\nb2\nc\nnew\n"),
        ({"insertafter": "^nowhere"}, "a\nb1\nb2\nc\nnew\n"),
        ({"insertbefore": "^nowhere"}, "a\nb1\nb2\nc\nnew\n"),
        ({}, "a\nb1\nb2\nc\nnew\n"),
    ],
)
def test_a_new_line_goes_to_its_place(
    here: Path, local: Bench, place: dict[str, str], expected: str
) -> None:
    conf = here / "conf"
    conf.write_text("a\nb1\nb2\nc\n")
    local.converge(line(conf, line="new", **place))
    assert conf.read_text() == expected


def test_absent_takes_all_matching_lines_out_and_brings_them_back(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_bytes(b"user=a\r\nx\r\nuser=b")
    unwanted = line(conf, regexp="^user=", state="absent")
    assert local.observe(unwanted) == {"line": "user=a\nuser=b"}
    origin = local.converge(unwanted)
    assert conf.read_bytes() == b"x"
    assert local.observe(unwanted) is None
    local.revert(unwanted, origin)
    assert conf.read_bytes() == b"user=a\r\nx\r\nuser=b"


def test_the_only_line_can_go_and_come_back(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_bytes(b"alone")
    unwanted = line(conf, line="alone", state="absent")
    origin = local.converge(unwanted)
    assert conf.read_bytes() == b""
    local.revert(unwanted, origin)
    assert conf.read_bytes() == b"alone"


def test_absent_from_a_missing_file_is_already_so(here: Path, local: Bench) -> None:
    assert local.changes(line(here / "none", line="x", state="absent")) == []


def test_a_missing_file_is_made_only_when_asked(here: Path, local: Bench) -> None:
    conf = here / "conf"
    with pytest.raises(Refused, match="no file") as caught:
        local.preview(line(conf, line="x"))
    assert "create = true" in caught.value.hint
    wanted = line(conf, line="x", create=True, mode="0664")
    origin = local.converge(wanted)
    assert conf.read_text() == "x\n"
    assert oct(conf.stat().st_mode)[-4:] == "0664"
    local.revert(wanted, origin)
    assert not conf.exists()


def test_an_empty_file_that_was_there_stays_when_the_line_is_taken_back(
    here: Path, local: Bench
) -> None:
    conf = here / "conf"
    conf.touch()
    wanted = line(conf, line="x", create=True)
    origin = local.converge(wanted)
    local.revert(wanted, origin)
    assert conf.read_bytes() == b""


def test_a_regexp_that_does_not_find_its_line_is_refused_before_anything_runs() -> None:
    with pytest.raises(ParamError, match="every run would add that line again"):
        line(regexp="^port = ", line="port=1")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"line": "a", "regexp": "("}, "not a regular expression"),
        ({"line": "a", "insertafter": "["}, "not a regular expression"),
        ({"line": "a", "insertafter": "x", "insertbefore": "y"}, "not both"),
        ({"line": "a\nb"}, "line end"),
        ({"line": "a\r"}, "line end"),
        ({}, "'line' is required"),
        ({"state": "absent"}, "'line' or the 'regexp'"),
        ({"line": "a", "hide": True}, "stand in the resource's name"),
        ({"line": "a", "create": True, "mode": "0640"}, "stand in the resource's name"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError, match=message):
        line(**params)


def test_the_name_is_the_id_or_the_regexp_or_the_line() -> None:
    assert line(line="ab").name == "/x#ab"
    assert line(line="ab", regexp="a.").name == "/x#a."
    assert line(line="ab", regexp="a.", id="first").name == "/x#first"


def test_a_link_is_edited_only_when_asked(here: Path, local: Bench) -> None:
    (here / "real").write_text("a\n")
    (here / "link").symlink_to("real")
    with pytest.raises(Refused, match="is a link to real"):
        local.observe(line(here / "link", line="b"))
    for params, after in (({"line": "b"}, "a\nb\n"), ({"line": "A", "regexp": "(?i)a"}, "A\n")):
        followed = line(here / "link", follow=True, **params)
        origin = local.converge(followed)
        assert (here / "link").is_symlink()
        assert (here / "real").read_text() == after
        local.revert(followed, origin)
        assert (here / "real").read_text() == "a\n"


def test_a_directory_is_refused(here: Path, local: Bench) -> None:
    with pytest.raises(Refused, match="directory"):
        local.observe(line(here, line="b"))


def test_mode_and_owner_of_the_file_stay(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("a\n")
    conf.chmod(0o754)
    local.converge(line(conf, line="b"))
    assert oct(conf.stat().st_mode)[-3:] == "754"


def test_lines_of_one_file_are_made_one_after_another_and_seen_in_one_look(
    here: Path, local: Bench
) -> None:
    conf = here / "conf"
    conf.write_text("")
    wanted = [line(conf, line=str(number)) for number in range(20)]
    for one in wanted:
        local.converge(one)
    assert conf.read_text().split() == [str(number) for number in range(20)]


def test_text_of_a_private_file_is_sensitive_without_being_told(here: Path, local: Bench) -> None:
    conf = here / "secret"
    conf.write_text("key=1\n")
    conf.chmod(0o600)
    wanted = line(conf, regexp="^key=", line="key=2")
    seen = local.observe(wanted)
    assert "line" in wanted.sensitive_beside(seen)
    shown = line(conf, regexp="^key=", line="key=2", hide=False)
    assert "line" not in shown.sensitive_beside(seen)


def test_a_line_that_a_private_file_lacks_is_added_and_is_sensitive(
    here: Path, local: Bench
) -> None:
    conf = here / "secret"
    conf.write_text("other\n")
    conf.chmod(0o640)
    wanted = line(conf, regexp="^key=", line="key=2")
    seen = local.observe(wanted)
    assert wanted.diff(seen).kind == "create"
    assert "line" in wanted.sensitive_beside(seen)
    local.converge(wanted)
    assert conf.read_text() == "other\nkey=2\n"


def test_a_line_of_a_private_file_is_not_named_by_itself_before_someone_says(
    here: Path, local: Bench
) -> None:
    conf = here / "secret"
    conf.write_text("other\n")
    conf.chmod(0o640)
    with pytest.raises(Refused, match="may be a secret"):
        local.observe(line(conf, line="other"))
    hidden = line(conf, regexp="^key=", line="key=2", hide=True)
    assert "line" in hidden.sensitive
    local.converge(hidden)
    local.converge(line(conf, line="open", hide=False))
    assert conf.read_text() == "other\nkey=2\nopen\n"


def test_the_preview_shows_the_lines_around(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("a\nport=1\nb\n")
    shown = local.preview(line(conf, regexp="^port", line="port=2"))
    assert shown == {"line": "@@ -1,3 +1,3 @@\n a\n-port=1\n+port=2\n b"}


def test_a_rejected_file_stays_as_it_was(here: Path, local: Bench) -> None:
    conf = here / "conf"
    conf.write_text("a\n")
    with pytest.raises(Exception, match="validat"):
        local.converge(line(conf, line="b", validate="false %s"))
    assert conf.read_text() == "a\n"


contents = st.lists(st.sampled_from(["k=1", "k=2", " k=3", "x", "", "\udcff"]), max_size=6).flatmap(
    lambda lines: st.tuples(st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
        lambda ends: ends[0].join(lines) + (ends[0] if ends[1] and lines else "")
    )
)
edits = st.fixed_dictionaries(
    {"line": st.sampled_from(["k=1", "k=9", "y k=5"])},
    optional={
        "regexp": st.sampled_from(["k=", "k=\\d"]),
        "insertafter": st.sampled_from(["EOF", "^x", "k"]),
    },
)


@given(contents, edits)
@settings(max_examples=80, deadline=None)
def test_a_second_edit_changes_nothing_and_the_inverse_restores(
    text: str, params: dict[str, str]
) -> None:
    wanted = line(**params)
    once = wanted.edited(text)
    assert wanted.edited(once) == once
    assert not wanted.diff(wanted.part_of(once))
    if wanted.part_of(text) is None:
        assert wanted.without(once) == text
    unwanted = line(**params, state="absent")
    assert unwanted.part_of(unwanted.without(text)) is None


@given(contents, st.sampled_from([{}, {"regexp": "^(k=.)?$"}, {"insertafter": "^x"}]))
@settings(max_examples=80, deadline=None)
def test_an_empty_line_is_found_where_it_was_put(text: str, params: dict[str, str]) -> None:
    wanted = line(line="", **params)
    once = wanted.edited(text)
    assert wanted.edited(once) == once
    assert not wanted.diff(wanted.part_of(once))
    unwanted = line(line="", **params, state="absent")
    assert unwanted.part_of(unwanted.without(text)) is None
