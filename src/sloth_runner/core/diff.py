"""The difference between what is wanted and what is there: a pure function of two states."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from sloth_runner.core.values import State, Value

Kind = Literal["create", "change", "remove", "none"]


class Change(Struct, frozen=True):
    """One property: its value before (``None``: absent) and the value that is wanted."""

    property: str
    old: Value
    new: Value


class Diff(Struct, frozen=True):
    """What has to be done (``kind``) and, property by property, why."""

    kind: Kind
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return self.kind != "none"

    def __contains__(self, name: str) -> bool:
        return any(change.property == name for change in self.changes)


NOTHING = Diff("none")

Matches = Callable[[str, Value, Value], bool]


def same(_property: str, desired: Value, actual: Value) -> bool:
    """The plain rule: a property matches when both values are equal."""
    return bool(desired == actual)


def diff(desired: State | None, actual: State | None, matches: Matches = same) -> Diff:
    """Returns what has to be done to turn ``actual`` into ``desired``.

    ``None`` is absent. A property that ``desired`` leaves out is unmanaged: it is neither
    compared nor listed. ``matches(property, desired, actual)`` may be wider than equality.
    """
    if desired is None:
        if actual is None:
            return NOTHING
        return Diff("remove", tuple(Change(key, actual[key], None) for key in sorted(actual)))
    if actual is None:
        return Diff("create", tuple(Change(key, None, desired[key]) for key in sorted(desired)))
    if desired.items() <= actual.items():
        return NOTHING
    changes = tuple(
        Change(key, actual.get(key), desired[key])
        for key in sorted(desired)
        if not matches(key, desired[key], actual.get(key))
    )
    return Diff("change", changes) if changes else NOTHING
