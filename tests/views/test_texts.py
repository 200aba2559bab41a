"""Drift, tables, findings and small words."""

import datetime

import pytest

from sloth_runner.core.events import ChangeItem, ResourceDrift, ResourceEnd, payload
from sloth_runner.views.drift import DriftText, Found
from sloth_runner.views.moments import ago
from sloth_runner.views.replay import event_of
from sloth_runner.views.report import snippet
from sloth_runner.views.table import table
from sloth_runner.views.text import Look, Span
from sloth_runner.views.words import count, duration, value
from views import recorded
from views.test_golden import matches

LOOK = Look()
NOW = datetime.datetime(2026, 11, 23, 14, 0, tzinfo=datetime.UTC)


def painted(lines: object, look: Look = LOOK) -> str:
    return "\n".join(look.paint(one) for one in lines) + "\n"  # type: ignore[attr-defined]


DRIFTED = ResourceDrift(
    host="local",
    res="file:/etc/motd",
    changes=(
        ChangeItem(path="mode", old="0644", new="0666"),
        ChangeItem(path="content", old="(sensitive)", new="(sensitive)", sensitive=True),
    ),
    since="2026-11-23T11:00:00.000000Z",
)
MISSING = ResourceDrift(host="db1", res="user:appuser", missing=True, since=None)
REGISTERED = ResourceDrift(host="local", res="file:/etc/motd", registered=True, missing=True)


def test_drift_shows_recorded_and_actual() -> None:
    found = Found(
        stack="web",
        checked=5,
        seconds=0.4,
        drifted=[DRIFTED],
        missing=[MISSING, REGISTERED],
        unreachable=["web3/file:/x"],
        unchecked=[("local/custom:thing", "registered by the workflow: only it can tell")],
        unseen=[("local/app:one", "/srv/web.lua has changed since it was recorded")],
    )
    text = DriftText(look=LOOK, since=lambda at: ago(at, NOW), duration=duration)
    matches("drift.txt", painted(text.lines(found)))


def test_no_drift_is_one_line() -> None:
    found = Found(stack="web", checked=22, seconds=0.21)
    [one] = DriftText(look=LOOK, duration=duration).lines(found)
    assert LOOK.paint(one) == " No drift: 22 resources checked in 0.21s, all as recorded."


def test_a_table_shortens_its_flexible_column_only() -> None:
    rows = [["a" * 60, Span("applied", "created"), "7"], ["b", "drift", "12"]]
    narrow = Look(width=40)
    lines = painted(
        table(["NAME", "STATE", "N"], rows, narrow, right=("N",), flexible="NAME"), narrow
    ).splitlines()
    assert max(map(len, lines)) <= 40
    assert all("applied" in one or "drift" in one or "STATE" in one for one in lines)
    wide = painted(table(["NAME", "STATE", "N"], rows, LOOK, flexible="NAME"))
    assert "a" * 60 in wide


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.214, "0.21s"), (4.12, "4.1s"), (47, "47s"), (185, "3m05s"), (7800, "2h10m")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_counts_and_values() -> None:
    assert count(1, "line") == "1 line"
    assert count(1200, "line") == "1,200 lines"
    assert value("0644") == '"0644"'
    assert value(None) == "(absent)"
    assert value("sha256:" + "ab" * 32) == "sha256:abababababab..."


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-11-23T13:59:55.000000Z", "just now"),
        ("2026-11-23T13:54:00.000000Z", "6m ago"),
        ("2026-11-23T11:00:00.000000Z", "3h ago"),
        ("2026-11-21T11:00:00.000000Z", "2d ago"),
        ("2026-01-21T11:00:00.000000Z", "2026-01-21"),
        (None, "never"),
    ],
)
def test_times_are_relative(moment: str | None, words: str) -> None:
    assert ago(moment, NOW) == words


def test_a_marker_stands_under_the_column_that_is_meant() -> None:
    lines = ["first", "\tmode = 644,", "last"]
    marked = [LOOK.paint(one) for one in snippet(lines, 2, LOOK, column=9, length=3, note="wrong")]
    code = next(one for one in marked if "644" in one)
    caret = next(one for one in marked if "^^^" in one)
    assert code.index("644") == caret.index("^^^")
    assert caret.endswith("^^^ wrong")


@pytest.mark.parametrize(("look", "most"), [(LOOK, 200), (Look(width=40), 40)])
def test_of_an_endless_line_only_what_is_meant_is_shown(look: Look, most: int) -> None:
    lines = ["x" * 9000, "y" * 5000 + "wrong" + "z" * 5000, "last"]
    above, code, caret, below = [
        look.paint(one) for one in snippet(lines, 2, look, column=5001, length=5)
    ]
    assert code[caret.index("^") :].startswith("wrong")
    assert caret.endswith(" ^^^^^")
    assert max(map(len, (above, code, caret, below))) <= most
    [_, code, caret, _] = [look.paint(one) for one in snippet(lines, 2, look)]
    assert max(len(code), len(caret)) <= most


def test_stored_events_come_back_as_they_were() -> None:
    for events in recorded.ALL.values():
        for event in events:
            assert event_of(payload(event)) == event


def test_a_stored_event_with_a_hostile_name_comes_back() -> None:
    event = ResourceEnd(host="local", res="file:/\udcff", reason="\udcfe", outcome="failed")
    assert event_of(payload(event)) == event


def test_an_event_of_a_newer_version_is_passed_over() -> None:
    assert event_of({"type": "resource.teleported", "msg": "x"}) is None
