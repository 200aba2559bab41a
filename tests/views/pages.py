"""Pages in memory, for the renderers to write on."""

import datetime
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.console import Console

from sloth_runner.core.events import Event
from sloth_runner.views.human import Human, Page
from sloth_runner.views.plain import Plain
from sloth_runner.views.plan import PlanText
from sloth_runner.views.report import Report
from sloth_runner.views.terminal import Screen, Terminal
from sloth_runner.views.text import Line, Look

MOMENT = datetime.datetime(2026, 11, 23, 14, 34, 45, tzinfo=datetime.UTC)
SOURCE = [
    'task({ name = "configure-nginx",',
    "  run = function()",
    '    local r = file_ops.copy({ src = "nginx.conf", dest = "/etc/nginx/nginx.conf" })',
    "  end })",
]


@dataclass
class Written:
    """What was written to both streams, in order; a line of talk begins with "err: "."""

    look: Look
    lines: list[str] = field(default_factory=list)

    def out(self, line: Line) -> None:
        self.lines.append(self.look.paint(line))

    def talk(self, line: Line) -> None:
        self.lines.append(f"err: {self.look.paint(line)}")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def page(
    look: Look,
    out: Callable[[Line], None],
    talk: Callable[[Line], None],
    *,
    quiet: bool = False,
    verbose: bool = False,
) -> Page:
    return Page(
        out=out,
        talk=talk,
        look=look,
        report=Report(look=look, source={"site.lua": SOURCE}.get, trace=verbose),
        plan=PlanText(look=look),
        quiet=quiet,
        verbose=verbose,
    )


def plain(events: Iterable[Event], look: Look, **options: bool) -> str:
    written = Written(look)
    view = Plain(page(look, written.out, written.talk, **options), clock=lambda: MOMENT)
    return shown(view, events, lambda: written.text)


def terminal(events: Iterable[Event], look: Look, **options: bool) -> str:
    file = io.StringIO()
    screen = screen_on(file, look)
    view = Terminal(page(look, screen.out, screen.talk, **options), screen=screen, clock=lambda: 0)
    return shown(view, events, file.getvalue)


def screen_on(file: io.StringIO, look: Look) -> Screen:
    console = Console(
        file=file,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        force_terminal=True,
        color_system="standard" if look.colour else None,
        no_color=not look.colour,
        width=look.width,
        _environ={},
    )
    return Screen(console, look, lambda one: file.write(f"err: {look.paint(one)}\n") and None)


def shown(view: Human, events: Iterable[Event], text: Callable[[], str]) -> str:
    for event in events:
        view(event)
    view.close()
    return text()
