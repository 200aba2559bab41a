"""Values on their way through: what Lua sends is what arrives, and the other way round."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lua.conftest import Bench, Recorder, short
from sloth_runner.core import values
from sloth_runner.core.errors import LuaFailure
from sloth_runner.engine.program import Answer

TEXT = st.binary(max_size=40).map(values.text) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=300
)
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(TEXT, inner, max_size=20),
    max_leaves=40,
)


def echo(bench: Bench, items: list[Any]) -> list[Any]:
    """Sends values to Lua, and returns them as they came back in the arguments of a call."""
    seen: list[Any] = []
    waiting = list(items)

    def give(arguments: object, location: object) -> Answer:
        return Answer(value=waiting.pop(0))

    def take(arguments: list[Any], location: object) -> None:
        seen.extend(arguments)

    bench.context = Recorder({"test.give": give, "test.take": take})
    bench.main(f"for i = 1, {len(items)} do test.take(test.give()) end")
    return seen


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_every_canonical_value_survives_the_way_into_lua_and_back(
    bench: Bench, items: list[Any]
) -> None:
    expected = [values.canonical(item) for item in items]
    got = echo(bench, items)
    assert [values.encode(item) for item in got] == [values.encode(item) for item in expected]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(VALUES)
def test_the_json_of_lua_and_its_checksum_are_those_of_the_record(bench: Bench, item: Any) -> None:
    bench.context = Recorder({"test.give": lambda arguments, location: item})
    result = bench.main(
        "local v = test.give() local text = json.encode(v) return { text = text, "
        "sum = sha256(text), again = json.encode(json.decode(text)) }"
    ).value
    assert result["text"] == values.encode(item)
    assert result["sum"] == values.checksum(item)
    assert result["again"] == result["text"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{}", {}),
        ("json.array()", []),
        ("json.array({ 1 })", [1]),
        ("{ 1, 2, 3 }", [1, 2, 3]),
        ("{ a = 1, b = { 'x' } }", {"a": 1, "b": ["x"]}),
        ("10 / 2", 5),
        ("-0.0", 0),
        ("1.5", 1.5),
        ("2 ^ 53", 2**53),
        ("2 ^ 63", 2**63),
        ("json.decode('12345678901234567890')", int(float(12345678901234567890))),
        ("1e300", int(1e300)),
        ("math.mininteger", -(2**63)),
        ("{ json.null, 1 }", [None, 1]),
        ("json.null", None),
        ("'\\xff\\0'", "\udcff\0"),
        ("{ ['\\xff'] = 1 }", {"\udcff": 1}),
        ("setmetatable({ 1 }, { __index = function() return 9 end })", [1]),
        ("values.list", [1, {"deep": "x"}]),
        ("values", {"list": [1, {"deep": "x"}]}),
    ],
)
def test_a_lua_value_becomes(bench: Bench, expression: str, expected: object) -> None:
    bench.context.values = {"list": [1, {"deep": "x"}]}
    bench.context.handlers["test.take"] = lambda arguments, location: None
    bench.main(f"test.take({expression})")
    [(_, arguments, _)] = bench.context.called
    assert arguments == [expected]
    assert type(arguments[0]) is type(expected)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("{ a = { b = print } }", "a.b is a function, which is not data"),
        ("{ a = { 1, io.stdin } }", "a[2] is a userdata, which is not data"),
        ("{ a = coroutine.create(print) }", "a is a thread, which is not data"),
        ("{ 1, x = 2 }", 'has the key "x" beside a list of 1'),
        ("{ a = { 1, nil, 3, y = 1 } }", "a has the key"),
        ("{ [3] = 1 }", "has the key 3 (a number)"),
        ("{ [true] = 1 }", "has the key true (a boolean)"),
        ("{ [1.5] = 1 }", "has the key 1.5 (a number)"),
        ("{ n = 0 / 0 }", "n is not a finite number"),
        ("{ n = math.huge }", "n is not a finite number"),
        ("(function() local t = {} t.t = { t } return t end)()", "t[1] contains itself"),
        (
            "(function() local t = {} for i = 1, 200 do t = { t } end return t end)()",
            "is nested deeper than 100",
        ),
    ],
)
def test_what_is_not_data_is_refused_with_its_place_in_the_value(
    bench: Bench, expression: str, words: str
) -> None:
    error = bench.failure(f"local x = 1\npkg.install({expression})")
    assert type(error) is LuaFailure
    assert error.detail.startswith(("pkg.install: parameter ", "pkg.install: a parameter "))
    assert "parameter it" not in error.detail
    assert words in error.detail
    assert short(error.location) == "deploy.lua:2"
    assert bench.context.called == []


def test_the_same_table_twice_is_not_a_cycle(bench: Bench) -> None:
    bench.main("local t = { 1 } pkg.install({ a = t, b = t, c = { t, t } })")
    assert bench.context.called[0][1] == [{"a": [1], "b": [1], "c": [[1], [1]]}]


def test_keys_arrive_in_one_order(bench: Bench) -> None:
    bench.main("pkg.install({ d = 1, b = { z = 1, y = 2 }, a = 3, c = 4 })")
    [given_] = bench.context.called[0][1]
    assert list(given_) == ["a", "b", "c", "d"]
    assert list(given_["b"]) == ["y", "z"]


def test_arguments_keep_their_places_and_lose_only_the_nils_at_the_end(bench: Bench) -> None:
    bench.main("pkg.install(nil, 'b', nil, nil) pkg.install() pkg.install('a', false, nil, 0)")
    assert [arguments for _, arguments, _ in bench.context.called] == [
        [None, "b"],
        [],
        ["a", False, None, 0],
    ]


def test_what_is_nothing_in_an_answer_is_nil_in_a_table_and_null_in_a_list(bench: Bench) -> None:
    bench.context.handlers["test.give"] = lambda a, b: {"gone": None, "list": [None, 2, None]}
    bench.main("""
        local got = test.give()
        print(got.gone, #got.list, got.list[1] == json.null, got.list[2], got.list[3])
    """)
    assert bench.context.lines == ["nil\t3\ttrue\t2\tnull"]


def test_an_answer_can_be_spread_over_several_results(bench: Bench) -> None:
    bench.context.handlers["test.give"] = lambda a, b: Answer(
        value=["created", {"n": 1}, None, 4], spread=True
    )
    bench.main("local s, r, n, f = test.give() print(s, r.n, n, f, select('#', test.give()))")
    assert bench.context.lines == ["created\t1\tnil\t4\t4"]


def test_an_answer_shows_as_its_text_without_the_last_newline(bench: Bench) -> None:
    bench.context.handlers["exec.run"] = lambda a, b: Answer(
        value={"stdout": "v1.2\n\n", "changed": True}, text="v1.2\n\n"
    )
    result = bench.main(r"""
        local r = exec.run("x")
        print(tostring(r) == "v1.2\n", r .. "x" == "v1.2\nx", "x" .. r == "xv1.2\n", r .. r ~= "")
        print(r:match("v(%d)"), r:upper():sub(1, 2), r.stdout == "v1.2\n\n", r.changed, r.nothing)
        return r
    """)
    assert bench.context.lines == ["true\ttrue\ttrue\ttrue", "1\tV1\ttrue\ttrue\tnil"]
    assert result.value == {"stdout": "v1.2\n\n", "changed": True}
