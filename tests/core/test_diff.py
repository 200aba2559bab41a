"""The difference of two states, and what a property that is left out means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sloth_runner.core.diff import Change, diff
from sloth_runner.core.values import State, Value

STATES = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2))


def test_absent_and_not_wanted_is_nothing_to_do() -> None:
    assert not diff(None, None)
    assert diff(None, None).kind == "none"


def test_creating_lists_every_wanted_property() -> None:
    found = diff({"mode": "0644", "content": "x"}, None)
    assert found.kind == "create"
    assert found.changes == (Change("content", None, "x"), Change("mode", None, "0644"))


def test_creating_something_without_properties_is_still_a_creation() -> None:
    assert diff({}, None).kind == "create"
    assert diff({}, None)


def test_removing_lists_what_is_there() -> None:
    found = diff(None, {"mode": "0644"})
    assert (found.kind, found.changes) == ("remove", (Change("mode", "0644", None),))


def test_a_property_that_is_left_out_is_not_compared() -> None:
    assert not diff({"mode": "0644"}, {"mode": "0644", "owner": "root"})


def test_a_property_that_the_machine_does_not_have_differs() -> None:
    assert diff({"a": 1}, {}).changes == (Change("a", None, 1),)


def test_only_what_differs_is_a_change() -> None:
    found = diff({"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert found.changes == (Change("b", 3, 2),)
    assert "b" in found
    assert "a" not in found


def test_a_type_may_take_other_values_for_equal() -> None:
    def upstream(name: str, desired: Value, actual: Value) -> bool:
        return str(actual).startswith(desired)

    assert not diff({"version": "1.2"}, {"version": "1.2-3"}, upstream)
    assert diff({"version": "1.2"}, {"version": "2.0"}, upstream)


@given(st.none() | STATES, st.none() | STATES)
def test_carrying_out_the_changes_leaves_nothing_to_do(
    desired: State | None, actual: State | None
) -> None:
    found = diff(desired, actual)
    after: State | None = dict(actual or {})
    assert after is not None
    for change in found.changes:
        after[change.property] = change.new
    if desired is None or (actual is None and found.kind == "none"):
        after = None
    assert not diff(desired, after)


@given(STATES, STATES)
def test_a_diff_names_exactly_the_properties_that_differ(desired: State, actual: State) -> None:
    named = [change.property for change in diff(desired, actual).changes]
    assert named == sorted(key for key in desired if actual.get(key) != desired[key])


@pytest.mark.parametrize(
    ("desired", "actual", "kind"),
    [({}, {}, "none"), ({}, {"a": 1}, "none"), ({"a": 1}, {"a": 2}, "change")],
)
def test_the_kind_says_what_has_to_be_done(desired: State, actual: State, kind: str) -> None:
    assert diff(desired, actual).kind == kind
