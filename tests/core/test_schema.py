"""Parameters of a call: what each kind takes, and that every mistake is named at once."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from sloth_runner.core import forms, schema, values
from sloth_runner.core.errors import Location, ParamError
from sloth_runner.core.schema import Account, Content, Doc, Mode, Path, Seconds


class Thing(Struct, frozen=True, kw_only=True):
    """One parameter of every kind."""

    path: Annotated[Path, Doc("Where.", key=True)]
    content: Annotated[Content | None, Doc("What.", sensitive=True)] = None
    mode: Annotated[Mode | None, Doc("Bits.")] = None
    owner: Annotated[Account | None, Doc("Who.")] = None
    wait: Annotated[Seconds | None, Doc("How long.")] = None
    count: Annotated[int, Doc("How many.")] = 1
    force: Annotated[bool, Doc("Whether.")] = False
    state: Annotated[Literal["present", "absent"], Doc("Which.")] = "present"
    groups: Annotated[tuple[str, ...], Doc("Several.")] = ()
    vars: Annotated[dict[str, Any] | None, Doc("Anything.")] = None

    def check(self) -> None:
        if self.state == "absent" and self.content is not None:
            raise ParamError("'content' has no sense with state \"absent\"", hint="leave it out")


def build(given: dict[str, Any], **rest: Any) -> Any:
    return forms.build(Thing, {"path": "/x", **given}, function="file_ops.thing", **rest)


def refusal(given: dict[str, Any], **rest: Any) -> ParamError:
    with pytest.raises(ParamError) as caught:
        build(given, **rest)
    return caught.value


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ({"path": "/etc//a/./b/../c/"}, {"path": "/etc/a/c"}),
        ({"path": "//etc/x"}, {"path": "/etc/x"}),
        ({"path": values.text(b"/etc/\xff")}, {"path": values.text(b"/etc/\xff")}),
        ({"mode": "644"}, {"mode": "0644"}),
        ({"mode": "04755"}, {"mode": "4755"}),
        ({"mode": "0000"}, {"mode": "0000"}),
        ({"owner": "www-data"}, {"owner": "www-data"}),
        ({"owner": 1000}, {"owner": "1000"}),
        ({"count": 3.0}, {"count": 3}),
        ({"force": True}, {"force": True}),
        ({"state": "absent"}, {"state": "absent"}),
        ({"groups": ["a", "b"]}, {"groups": ("a", "b")}),
        ({"groups": "alone"}, {"groups": ("alone",)}),
        ({"groups": {}}, {"groups": ()}),
        ({"vars": {"a": [1]}}, {"vars": {"a": [1]}}),
        ({"vars": []}, {"vars": {}}),
    ],
)
def test_a_good_value_is_kept_in_its_one_form(
    written: dict[str, Any], kept: dict[str, Any]
) -> None:
    built = build(written)
    assert {name: getattr(built, name) for name in kept} == kept


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"path": "etc/x"}, 'expected an absolute path, got the text "etc/x"'),
        ({"path": "/a\0b"}, "without a NUL byte"),
        ({"path": 7}, "expected text, got the number 7"),
        ({"mode": 644}, 'expected text such as "0644", got the number 644'),
        ({"mode": 1.5}, "expected text, got the number 1.5"),
        ({"mode": "rw-r--r--"}, "expected octal digits"),
        ({"mode": "99"}, "expected octal digits"),
        ({"mode": "77777"}, "expected octal digits"),
        ({"owner": ""}, "expected a user or group name"),
        ({"owner": "a:b"}, "expected a user or group name"),
        ({"owner": "-rf"}, "expected a user or group name"),
        ({"owner": -1}, "expected text"),
        ({"owner": True}, "expected text, got the boolean true"),
        ({"count": 1.5}, "expected a whole number"),
        ({"count": True}, "expected a whole number, got the boolean true"),
        ({"count": "3"}, "expected a whole number"),
        ({"force": "yes"}, "expected true or false"),
        ({"force": 1}, "expected true or false"),
        ({"groups": 3}, "expected a list"),
        ({"groups": ["a", 3]}, "expected text, got the number 3"),
        ({"vars": [1]}, "expected a table"),
        ({"content": True}, "expected text"),
        ({"wait": "soon"}, 'expected seconds or text such as "5m"'),
        ({"wait": -1}, "expected seconds"),
        ({"state": "presnt"}, 'did you mean "present"?'),
        ({"state": "gone"}, 'expected one of "present", "absent", got the text "gone"'),
    ],
)
def test_a_wrong_value_is_refused_in_words(written: dict[str, Any], words: str) -> None:
    error = refusal(written)
    [name] = written
    assert f"parameter {name!r}: " in error.detail
    assert words in error.detail


def test_a_name_that_does_not_exist_is_answered_with_the_nearest_one() -> None:
    error = refusal({"contnet": "x"})
    assert "unknown parameter 'contnet'; did you mean 'content'?" in error.detail
    assert "did you mean" not in refusal({"zzzz": 1}).detail


def test_all_problems_are_told_at_once_at_the_line_of_the_call() -> None:
    error = refusal({"modee": "1", "mode": 644, "force": 3}, location=Location("web.lua", 12))
    assert error.detail.startswith("file_ops.thing: ")
    for words in ("'modee'", "parameter 'mode'", "parameter 'force'"):
        assert words in error.detail
    assert str(error).startswith("web.lua:12: ")
    assert "path, content, mode" in error.hint
    assert error.exit_code == 2


def test_a_required_parameter_is_asked_for_by_its_written_name() -> None:
    with pytest.raises(ParamError, match="parameter 'dest' is required"):
        forms.build(Thing, {}, function="file_ops.copy", rename={"dest": "path"})


def test_a_rule_across_parameters_names_the_function_and_the_line() -> None:
    error = refusal({"state": "absent", "content": "x"}, location=Location("web.lua", 3))
    assert error.detail.startswith("file_ops.thing: 'content' has no sense")
    assert error.location == Location("web.lua", 3)
    assert error.hint == "leave it out"


def test_a_renamed_parameter_has_its_written_name_only() -> None:
    built = forms.build(
        Thing, {"dest": "/y"}, function="f", rename={"dest": "path"}, preset={"state": "present"}
    )
    assert built.path == "/y"
    with pytest.raises(ParamError, match="unknown parameter 'path'"):
        forms.build(Thing, {"path": "/y"}, function="f", rename={"dest": "path"})


def test_what_a_function_decides_itself_cannot_be_written() -> None:
    assert build({}, preset={"state": "absent"}).state == "absent"
    assert "unknown parameter 'state'" in refusal({"state": "x"}, preset={"state": "absent"}).detail


def test_a_function_takes_no_more_than_it_accepts() -> None:
    error = refusal({"mode": "0644", "force": True}, accepts=("path", "mode"))
    assert "unknown parameter 'force'" in error.detail
    assert "unknown parameter 'mode'" not in error.detail
    assert error.hint == "file_ops.thing takes: path, mode"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0.0),
        (2.5, 2.5),
        ("300ms", 0.3),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("1.5h", 5400.0),
        ("90", 90.0),
        ("1m1s1ms", 61.001),
    ],
)
def test_durations_are_seconds_or_written_with_units(written: Any, expected: float) -> None:
    assert schema.seconds(written) == pytest.approx(expected)


@pytest.mark.parametrize("written", ["", "5 m", "m", "5x", "-5m", "5m garbage", -1, True, None, []])
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(schema.WrongValue):
        schema.seconds(written)


def test_a_content_is_what_its_bytes_are() -> None:
    body = values.text(b"\xff" * 10)
    content = Content.of(body)
    assert content.size == 10
    assert content == Content(sha256=content.sha256, size=10, path="/elsewhere")
    assert content != Content.of("other")


def test_only_what_was_set_is_given_again() -> None:
    built = build({"mode": "0644", "groups": ["a"], "content": "x"})
    assert schema.given_params(built) == {
        "path": "/x",
        "content": {"$content": {"sha256": values.sha256("x"), "size": 1, "data": "x"}},
        "mode": "0644",
        "groups": ["a"],
    }


GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.integers(0, 0o7777).map(lambda bits: f"{bits:04o}"),
        "owner": st.sampled_from(["root", "1000"]),
        "count": st.integers(),
        "force": st.booleans(),
        "groups": st.lists(st.text(alphabet="abc", min_size=1), max_size=3),
        "content": st.binary(max_size=8).map(values.text),
        "wait": st.floats(0, 1e6),
    },
)


@given(GIVEN)
def test_what_is_given_again_builds_the_same(parameters: dict[str, Any]) -> None:
    built = build(parameters)
    again = values.decode(values.encode(schema.given_params(built)))
    assert build(again) == built


def test_a_kind_of_parameter_that_does_not_exist_is_refused() -> None:
    class Wrong(Struct):
        when: Annotated[complex, Doc("No.")]

    class Wider(Struct):
        either: Annotated[int | str, Doc("No.")]

    for cls in (Wrong, Wider):
        with pytest.raises(TypeError):
            schema.params_of(cls)


def test_parameters_know_their_kind_in_words() -> None:
    kinds = {name: param.kind for name, param in schema.params_of(Thing).items()}
    assert kinds["groups"] == "list of text"
    assert kinds["state"] == '"present" | "absent"'
    assert kinds["mode"] == "octal mode"
    params = schema.params_of(Thing)
    assert params["path"].required and params["path"].doc.key
    assert not params["mode"].required
    assert params["content"].doc.sensitive
