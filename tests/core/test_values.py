"""Values: one canonical JSON form, and every byte round-trips."""

import base64
import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sloth_runner.core import values

TEXTS = st.one_of(st.text(), st.binary(max_size=20).map(values.text)).filter(
    lambda text: values.text(values.raw(text)) == text
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def test_bytes_that_are_not_utf8_survive_as_text() -> None:
    every_byte = bytes(range(256))
    assert values.raw(values.text(every_byte)) == every_byte
    assert values.text("grüße".encode()) == "grüße"


def test_keys_are_sorted_and_nothing_is_padded() -> None:
    assert values.encode({"b": [1, 2], "a": {"d": None, "c": True}}) == (
        '{"a":{"c":true,"d":null},"b":[1,2]}'
    )


def test_text_stays_readable() -> None:
    assert values.encode({"name": "grüße ☃"}) == '{"name":"grüße ☃"}'


def test_integral_floats_are_integers() -> None:
    assert values.encode([1.0, -3.0, 2.5, 1e20]) == "[1,-3,2.5,100000000000000000000]"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_hold_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not a number that JSON can hold"):
        values.encode({"deep": [number]})


@pytest.mark.parametrize("wrong", [{1: "x"}, {"ok": {None: 1}}, [b"bytes"], {1, 2}, object()])
def test_what_is_no_value_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"key must be text|cannot be kept"):
        values.encode(wrong)


def test_text_that_is_not_utf8_is_base64_in_json() -> None:
    written = json.loads(values.encode({"content": values.text(b"\xff\x00a"), "plain": "x"}))
    assert base64.b64decode(written["content"]["$bytes"]) == b"\xff\x00a"
    assert written["plain"] == "x"


def test_a_table_that_looks_like_bytes_stays_a_table() -> None:
    tables: list[dict[str, Any]] = [
        {"$bytes": "aGVsbG8="},
        {"$bytes": "not base64!"},
        {"$bytes": "/w==", "more": 1},
        {"$entries": [["a", 1]]},
        {"$entries": []},
    ]
    for table in tables:
        assert values.decode(values.encode(table)) == table


def test_a_key_that_is_not_utf8_keeps_its_value() -> None:
    table = {values.text(b"\xfe"): 1, "b": values.text(b"\xff"), "a": {"x": 2}}
    assert values.decode(values.encode(table)) == table
    values.encode(table).encode()  # and the JSON itself is UTF-8


@given(VALUES)
def test_every_value_comes_back_from_its_json(value: Any) -> None:
    assert values.decode(values.encode(value)) == value


@given(VALUES)
def test_json_of_equal_values_is_equal_and_always_utf8(value: Any) -> None:
    written = values.encode(value)
    written.encode("utf-8")
    json.loads(written)
    assert values.encode(values.decode(written)) == written


@given(st.dictionaries(TEXTS, SCALARS, max_size=5))
def test_the_checksum_is_sha256_of_the_json_whatever_the_order(table: dict[str, Any]) -> None:
    written = values.encode(table)
    assert values.checksum(table) == hashlib.sha256(written.encode()).hexdigest()
    assert values.checksum(dict(reversed(table.items()))) == values.checksum(table)


def test_sha256_is_of_the_bytes_that_a_text_stands_for() -> None:
    assert values.sha256(values.text(b"\xff\xfe")) == hashlib.sha256(b"\xff\xfe").hexdigest()


@given(VALUES)
def test_jsonable_is_what_encode_writes(value: Any) -> None:
    written = json.dumps(
        values.jsonable(values.canonical(value)), sort_keys=True, separators=(",", ":")
    )
    assert json.loads(written) == json.loads(values.encode(value))
