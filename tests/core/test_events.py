"""Events: every one is a JSON object that a reader needs no types for."""

import json
from typing import Any

import msgspec
import pytest

from sloth_runner.core import events, values
from sloth_runner.core.events import ChangeItem, Event, ResourceEnd, Summary, payload


def every_type() -> list[type[Event]]:
    return sorted(
        (cls for cls in vars(events).values() if _is_event(cls)), key=lambda cls: cls.__name__
    )


def _is_event(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Event) and cls is not Event


def _filled(cls: type[Event]) -> Event:
    """An event of a type with something awkward in every field."""
    awkward = {
        str: values.text(b"\xff\n"),
        int: 3,
        float: 0.5,
        bool: True,
        type(None): None,
    }
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(cls):
        plain = [t for t in getattr(field.type, "__args__", (field.type,)) if t in awkward]
        if field.name == "changes":
            given[field.name] = (ChangeItem(path="mode", old=None, new=values.text(b"\xfe")),)
        elif field.name == "facts":
            given[field.name] = {"command": ["ls", "-l"], "exit code": 2, values.text(b"\xff"): 1}
        elif str(field.type).startswith("tuple"):
            given[field.name] = ("one", values.text(b"\xff"))
        elif plain:
            given[field.name] = awkward[plain[0]]
        else:
            given[field.name] = {"table": [1, None, values.text(b"\xff")]}
    return cls(**given)


@pytest.mark.parametrize("cls", every_type(), ids=lambda cls: cls.__name__)
def test_an_event_full_of_awkward_values_is_json(cls: type[Event]) -> None:
    data = payload(_filled(cls))
    line = json.dumps(data, ensure_ascii=False)
    line.encode("utf-8")
    assert json.loads(line) == data
    assert data["type"] == cls(msg="x").type
    assert next(iter(data)) == "type"


@pytest.mark.parametrize("cls", every_type(), ids=lambda cls: cls.__name__)
def test_an_event_says_in_its_docstring_what_happened(cls: type[Event]) -> None:
    assert cls.__doc__ and cls.__doc__.strip().endswith(".")


def test_no_two_events_share_a_type() -> None:
    names = [cls(msg="x").type for cls in every_type()]
    assert len(set(names)) == len(names) > 15


def test_what_is_not_set_is_not_written() -> None:
    assert payload(ResourceEnd(msg="m")) == {"type": "resource.end", "msg": "m"}


def test_a_summary_shows_its_zeros() -> None:
    data = payload(Summary(msg="ok"))
    for name in [
        "created",
        "changed",
        "unchanged",
        "removed",
        "ran",
        "failed",
        "unknown",
        "carried",
        "blocked",
        "exit",
    ]:
        assert data[name] == 0


def test_output_and_progress_are_not_stored() -> None:
    stored = {cls(msg="x").type for cls in every_type() if cls.durable}
    assert not stored & {"output", "log", "resource.progress", "resource.unchanged", "warning"}
    assert {"resource.start", "resource.end", "resource.recovered", "task.end"} <= stored


def test_every_outcome_has_one_name() -> None:
    assert len(set(events.OUTCOMES)) == len(events.OUTCOMES)
    assert set(events.OUTCOMES) == set(
        [
            "created",
            "changed",
            "unchanged",
            "removed",
            "ran",
            "failed",
            "skipped",
            "blocked",
            "unknown",
            "carried",
        ]
    )
