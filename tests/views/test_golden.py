"""What people see of recorded runs, against golden files (UPDATE_GOLDEN=1 writes them anew)."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from sloth_runner.core.events import Event
from sloth_runner.views.jsonl import JsonLines
from sloth_runner.views.text import Look
from views import recorded
from views.pages import plain, terminal

GOLDEN = Path(__file__).with_name("golden")
TERMINALS = (
    Look(width=80, colour=True),
    Look(width=80, colour=False, unicode=False),
    Look(width=100, colour=False),
    Look(width=200, colour=True),
)
LOGS = (Look(), Look(unicode=False), Look(colour=True))


def matches(name: str, text: str) -> None:
    path = GOLDEN / name
    text = text.replace("\x1b", "␛")
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def titled(look: Look) -> str:
    colour = "colour" if look.colour else "no colour"
    return f"==== width {look.width}, {colour}, {'UTF-8' if look.unicode else 'ASCII'}\n"


@pytest.mark.parametrize("name", recorded.ALL)
def test_a_person_at_a_terminal_sees(name: str) -> None:
    events = recorded.ALL[name]
    matches(
        f"terminal_{name}.txt",
        "".join(titled(look) + terminal(events, look) for look in TERMINALS),
    )


@pytest.mark.parametrize("name", recorded.ALL)
def test_a_log_holds(name: str) -> None:
    events = recorded.ALL[name]
    matches(f"plain_{name}.txt", "".join(titled(look) + plain(events, look) for look in LOGS))


@pytest.mark.parametrize("name", ["success", "failure", "plan"])
def test_verbose_tells_more(name: str) -> None:
    matches(f"verbose_{name}.txt", plain(recorded.ALL[name], Look(), verbose=True))


@pytest.mark.parametrize("name", recorded.ALL)
def test_a_program_reads_json_lines(name: str) -> None:
    matches(f"json_{name}.txt", json_lines(recorded.ALL[name]))


def json_lines(events: Sequence[Event]) -> str:
    written: list[bytes] = []
    view = JsonLines(written.append, clock=lambda: "2026-11-23T14:34:45.000000Z")
    for event in events:
        view(event)
    return b"".join(written).decode()
