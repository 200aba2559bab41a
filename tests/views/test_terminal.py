"""What the golden files do not show: widths, hostile names, the footer, quiet."""

import io
import re

import pytest

from sloth_runner.core.events import (
    ChangeItem,
    Diagnostic,
    Event,
    Log,
    ResourceEnd,
    ResourceProgress,
    ResourceStart,
    StreamStart,
    Summary,
    TaskStart,
)
from sloth_runner.views.terminal import Terminal
from sloth_runner.views.text import Look, cells, clean, line, shorten
from views import recorded
from views.pages import page, plain, screen_on, terminal

HOSTILE = "\x1b[2J\x07a\nb\r\u202e\x9b31m[red]x[/red]\udcff"


def hostile_events() -> list[Event]:
    change = ChangeItem(path=HOSTILE, old=HOSTILE, new="x", diff=f"@@ -1 +1 @@\n-{HOSTILE}")
    return [
        StreamStart(stack=HOSTILE, n=1, source=HOSTILE),
        ResourceEnd(
            host=HOSTILE, task=HOSTILE, res=clean(HOSTILE), outcome="changed", changes=(change,)
        ),
        Log(text=HOSTILE),
        Diagnostic(
            title=HOSTILE,
            detail=HOSTILE,
            hint=HOSTILE,
            code="SR1",
            facts={HOSTILE: HOSTILE, "stderr": HOSTILE, "command": [HOSTILE]},
            effects=(HOSTILE,),
            blocked=(HOSTILE,),
        ),
        Summary(changed=1, exit=1, result=HOSTILE),
    ]


@pytest.mark.parametrize("show", [plain, terminal])
def test_no_name_or_output_drives_the_terminal(show: object) -> None:
    written = show(hostile_events(), Look(width=200))  # type: ignore[operator]
    assert re.findall(r"[^\n -~\u00a1-\u2fff]", written) == []
    assert "\u202e" not in written
    assert "\x9b" not in written
    assert "[red]x[/red]" in written


def test_a_plan_of_hostile_names_is_harmless_too() -> None:
    start, end, *_ = hostile_events()
    events = [StreamStart(stack="x", kind="plan"), end, Summary(changed=1)]
    assert isinstance(start, StreamStart)
    assert "\x1b" not in terminal(events, Look(width=80))


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_a_line_of_progress_never_exceeds_the_terminal(width: int) -> None:
    events = [e for e in recorded.SUCCESS if not isinstance(e, Summary | Log)]
    for one in terminal(events, Look(width=width)).splitlines():
        assert cells(one) <= width


def test_without_a_terminal_nothing_is_cut() -> None:
    assert str(recorded.REMOVED.res) in plain(recorded.SUCCESS, Look())


def test_ascii_terminals_get_ascii_only() -> None:
    for events in recorded.ALL.values():
        assert terminal(events, Look(width=80, unicode=False)).isascii()


def test_a_quiet_run_with_nothing_to_do_says_nothing() -> None:
    assert plain(recorded.NOTHING, Look(), quiet=True) == "\n"
    assert terminal(recorded.NOTHING, Look(width=80), quiet=True) == ""


def test_a_run_with_nothing_to_do_says_so_in_one_line() -> None:
    expected = " Nothing to do: 22 resources checked in 0.21s, all as declared.\n"
    assert plain(recorded.NOTHING, Look()) == expected


def test_a_quiet_run_still_tells_changes_and_failures() -> None:
    told = plain(recorded.FAILURE, Look(), quiet=True)
    assert "created   package:nginx" in told
    assert "error[SR2107]" in told
    assert "nginx installed" not in told


def test_no_sensitive_value_is_ever_asked_for() -> None:
    assert "password (sensitive)" in plain(recorded.SUCCESS, Look())


def footer_at(seconds: float) -> list[str]:
    now = 0.0
    file, look = io.StringIO(), Look(width=60, colour=False)
    screen = screen_on(file, look)
    view = Terminal(page(look, screen.out, screen.talk), screen=screen, clock=lambda: now)
    view(recorded.start())
    view(TaskStart(task="install"))
    view(ResourceStart(host="local", task="install", res="package:nginx", action="create"))
    view(ResourceProgress(host="local", res="package:nginx", text="unpacking 14/31\x1b[2J"))
    now = seconds
    return [look.paint(one) for one in view.footer()]


def test_the_footer_shows_what_is_under_way() -> None:
    working, progress = footer_at(12.4)
    assert working.endswith("12.4s")
    assert "package:nginx  unpacking 14/31\\x1b[2J" in working
    assert len(working) <= 60
    assert "Ctrl-C" in progress


def test_a_quick_operation_shows_no_footer() -> None:
    assert footer_at(0.1) == []


def test_the_footer_is_taken_away_when_the_run_ends() -> None:
    file, look = io.StringIO(), Look(width=60, colour=False)
    screen = screen_on(file, look)
    screen.draw([line("under way")])
    screen.out(line("finished"))
    screen.stop()
    written = file.getvalue()
    assert written.index("under way") < written.index("finished")
    assert written.rstrip("\n").endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("diff", "planned", "told"),
    [
        ("+1.0\n", 'version     (absent) → "1.0"', "version 1.0\n"),
        ("-2.0\n+1.0\n", 'version     "2.0" → "1.0"', "version 2.0 → 1.0\n"),
        ("@@ -0,0 +1 @@\n+1.0", "version     1 line", "1 line\n"),
    ],
)
def test_what_a_value_comes_to_is_shown_as_a_value(diff: str, planned: str, told: str) -> None:
    change = ChangeItem(path="version", new="1.*", diff=diff)
    end = recorded.ended("package:x", "created", change, task="main", line=1)
    assert planned in plain([recorded.start("plan"), end, Summary(created=1)], Look())
    assert f"package:x {told}" in plain([recorded.start(), end, Summary(created=1)], Look())


def test_names_are_shortened_in_their_middle() -> None:
    look = Look(width=80)
    short = shorten("/etc/very/long/path/to/nginx.conf", 20, look)
    assert cells(short) == 20
    assert short.startswith("/etc/")
    assert short.endswith("nginx.conf")
    assert cells(shorten("日本語日本語日本語", 9, look)) <= 9
