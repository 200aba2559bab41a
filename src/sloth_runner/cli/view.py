"""Chooses who shows a run: a person at a terminal, a log, or a program that reads JSON lines."""

import datetime
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol

from sloth_runner.cli.pages import Pages, place
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.streams import writing
from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import Event
from sloth_runner.core.record import now
from sloth_runner.views.text import Line

if TYPE_CHECKING:
    from sloth_runner.views.human import Human, Page

_DIFF_LINES = 30
"""Lines of each text diff that a person is shown at once; "details" shows all."""


P = ParamSpec("P")
Write = Callable[[Line], None]


class View(Protocol):
    """Who is told of everything."""

    def __call__(self, event: Event) -> None:
        """Takes one event; from any thread."""

    def show_plan(self, events: Sequence[Event], *, details: bool = False) -> None:
        """Shows a plan before the question."""

    def close(self) -> None:
        """Ends what is shown; safe to repeat."""


class Lasting:
    """The output of a run, which goes on when that cannot be written; ``lost`` says why."""

    def __init__(self) -> None:
        self.lost: SlothError | None = None

    def __call__(self, write: Callable[P, None]) -> Callable[P, None]:
        """Returns ``write``, which raises no SlothError any more."""

        def written(*args: P.args, **rest: P.kwargs) -> None:
            try:
                write(*args, **rest)
            except SlothError as error:
                self.lost = error

        return written


class Shown:
    """A view with a clock of its own: it is told now and then that time passes."""

    def __init__(self, human: "Human", *, every: float) -> None:
        self._human = human
        self._every = every
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        self._human(event)
        if self._thread is None and self._human.applying:
            self._thread = threading.Thread(target=self._beat, name="view", daemon=True)
            self._thread.start()

    def show_plan(self, events: Sequence[Event], *, details: bool = False) -> None:
        self._human.show_plan(events, details=details)

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._human.close()

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            self._human.tick()


class Lines:
    """JSON lines on standard output; nobody is asked anything."""

    def __init__(self, settings: Settings, output: Lasting) -> None:
        from sloth_runner.views.jsonl import JsonLines

        self._lines = JsonLines(
            output(_to_stdout), clock=now, quiet=settings.quiet, verbose=settings.verbose
        )
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._lines(event)

    def show_plan(self, events: Sequence[Event], *, details: bool = False) -> None:
        """Does nothing: with --json nobody is asked."""

    def close(self) -> None:
        """Does nothing: each line is complete."""


def view_of(
    settings: Settings,
    pages: Pages,
    *,
    folder: str = "",
    stream: bool = True,
    output: Lasting | None = None,
) -> View:
    """Returns the view that suits the settings.

    ``folder`` is the workflow's, for its places; ``stream`` allows JSON lines; ``output``
    learns when nobody takes them any more.
    """
    output = output or Lasting()
    if settings.json and stream:
        return Lines(settings, output)
    if settings.watched and not settings.json:
        from sloth_runner.views.terminal import Screen, Terminal

        screen = Screen.of(pages.look, pages.talk)
        terminal = Terminal(_page(pages, folder, screen.out, screen.talk), screen=screen)
        return Shown(terminal, every=0.1)
    from sloth_runner.views.plain import Plain

    clock = datetime.datetime.now
    page = _page(pages, folder, output(pages.out_now), pages.talk)
    plain = Plain(page, clock=lambda: clock(datetime.UTC))
    return Shown(plain, every=5.0)


def _page(pages: Pages, folder: str, out: Write, talk: Write) -> "Page":
    from sloth_runner.views.human import Page
    from sloth_runner.views.plan import PlanText

    settings = pages.settings
    limit = _DIFF_LINES if settings.watched and not settings.verbose else None
    return Page(
        out=out,
        talk=talk,
        look=pages.look,
        report=pages.report(folder),
        plan=PlanText(look=pages.look, place=place, diff_lines=limit),
        quiet=settings.quiet,
        verbose=settings.verbose,
    )


def _to_stdout(data: bytes) -> None:
    with writing(sys.stdout):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
