"""A run for a person at a terminal: finished changes scroll up, what is under way stays below."""

import time
from collections.abc import Callable

from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sloth_runner.core.events import (
    Event,
    ProgramLoaded,
    ResourceEnd,
    ResourceProgress,
    ResourceStart,
    ResourceUnchanged,
    Summary,
    TaskEnd,
    TaskStart,
)
from sloth_runner.views.human import Human, Page
from sloth_runner.views.phrases import changes_phrase
from sloth_runner.views.text import (
    Line,
    Look,
    Span,
    cells,
    clean,
    cut,
    fitted,
    line,
    padded,
    shorten,
)
from sloth_runner.views.words import count, duration, host_prefix

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES = "|/-\\"
_MOST = 6
"""Operations that the footer shows at the most."""
_SHOW_AFTER = 0.3
"""Seconds after which an operation is shown as under way: quick ones would only flicker."""

RICH = {
    "": "",
    "created": "green",
    "changed": "yellow",
    "removed": "red",
    "ran": "cyan",
    "written": "cyan",
    "failed": "bold red",
    "unknown": "blue",
    "carried": "magenta",
    "drift": "magenta",
    "dim": "dim",
    "bold": "bold",
}
"""Our styles in the words of rich; its markup is never used, since names may look like it."""


class _Running(Struct):
    task: str
    name: str
    since: float
    text: str = ""


class Terminal(Human):
    """Writes changes under the heading of their task, and a footer while something runs."""

    def __init__(
        self, page: Page, *, screen: "Screen", clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(page)
        self._screen = screen
        self._clock = clock
        self._began = clock()
        self._task: str | None = None
        self._running: dict[str, _Running] = {}
        self._tasks: dict[str, float] = {}
        self._all = 0
        self._done = 0
        self._looked_at = 0
        self._over = False

    def title(self) -> Line | None:
        start, dot = self.start, self.page.look.sign("dot")
        if start is None:
            return None
        number = f" {start.n}" if start.n else ""
        source = f" {dot} {clean(self.page.report.place(start.source))}" if start.source else ""
        return line(Span(f"{clean(start.stack)}", "bold"), f" {dot} {start.kind}{number}{source}")

    def changed(self, event: ResourceEnd) -> None:
        look = self.page.look
        details = changes_phrase(event.changes, look, outcome=event.outcome)
        if event.outcome == "failed":
            details = ""
        elif event.note:
            details = ", ".join(filter(None, (details, clean(event.note))))
        spent = duration(event.ms / 1000) if event.ms >= 100 else ""
        self._line(event, event.outcome, details, spent)

    def unchanged(self, event: ResourceUnchanged) -> None:
        self._line(event, "unchanged", "", "")

    def task_ended(self, event: TaskEnd) -> None:
        if event.outcome == "blocked" and not self.page.quiet:
            mark, name = self.page.look.mark("blocked"), clean(event.task or "")
            self.page.out(line(" ", mark, Span(f" {name}  {clean(event.reason)}", "dim")))

    def working(self, event: Event) -> None:
        name = host_prefix(event.host) + (event.res or "")
        if isinstance(event, ProgramLoaded):
            self._all = len(event.tasks)
        elif isinstance(event, TaskStart):
            self._tasks[event.task or ""] = self._clock()
        elif isinstance(event, TaskEnd):
            self._tasks.pop(event.task or "", None)
            self._done += event.task != "main"
        elif isinstance(event, ResourceStart):
            self._running[name] = _Running(event.task or "", name, self._clock())
        elif isinstance(event, ResourceProgress) and name in self._running:
            self._running[name].text = event.text
        elif isinstance(event, ResourceEnd):
            self._running.pop(name, None)
            self._looked_at += 1
        elif isinstance(event, ResourceUnchanged):
            self._looked_at += 1
        elif isinstance(event, Summary):
            self._over = True

    def tick(self) -> None:
        with self._lock:
            self._screen.draw(self.footer())

    def close(self) -> None:
        with self._lock:
            self._screen.stop()

    def footer(self) -> list[Line]:
        """Returns the lines about what is under way; none where there is nothing to say yet."""
        with self._lock:
            now = self._clock()
            if self._over or not self.applying or now - self._began < _SHOW_AFTER:
                return []
            slow = [r for r in self._running.values() if now - r.since >= _SHOW_AFTER]
            lines = [self._under_way(running, now) for running in slow[:_MOST]]
            if len(slow) > _MOST:
                lines.append(line(Span(f"   and {len(slow) - _MOST} more", "dim")))
            return [fitted(one, self.page.look) for one in (*lines, self._progress(now))]

    def _under_way(self, running: _Running, now: float) -> Line:
        look, width = self.page.look, self.page.look.width or 80
        spent = _seconds(now - running.since)
        room = width - len(spent) - 6
        name = shorten(running.name, room, look)
        said = cut(clean(running.text), room - cells(name) - 2, look) if running.text else ""
        left = f"{name}  {said}" if said and room - cells(name) > 8 else name
        return line(f" {self._frame(now)} {padded(left, room)} ", Span(spent, "dim"))

    def _progress(self, now: float) -> Line:
        dot = self.page.look.sign("dot")
        tasks = f"{self._done}/{self._all} tasks {dot} " if self._all else ""
        looked = count(self._looked_at, "resource")
        text = f" {tasks}{looked} {dot} {_seconds(now - self._began)} {dot} Ctrl-C stops cleanly"
        return line(Span(text, "dim"))

    def _frame(self, now: float) -> str:
        frames = _FRAMES if self.page.look.unicode else _PLAIN_FRAMES
        return frames[int(now * 10) % len(frames)]

    def _line(self, event: Event, outcome: str, details: str, spent: str) -> None:
        look = self.page.look
        self._heading(event.task)
        width = look.width or 80
        name = host_prefix(event.host) + (event.res or "")
        room = max(width - 5 - (cells(spent) + 2 if spent else 0), 20)
        name = shorten(name, room, look)
        left = room - cells(name) - 2
        shown = cut(details, left, look) if details and left >= 8 else ""
        spans = [Span("   "), look.mark(outcome), Span(f" {name}")]
        if shown:
            spans += [Span("  "), Span(shown, "dim")]
        if spent:
            used = sum(cells(span.text) for span in spans)
            spans.append(Span(" " * max(2, width - used - cells(spent)) + spent, "dim"))
        self.page.out(tuple(spans))

    def _heading(self, task: str | None) -> None:
        if task in (self._task, None):
            return
        self._task = task
        self.page.out(line(Span(f" {clean(task or '')}", "bold")))


def _seconds(seconds: float) -> str:
    """Returns a time that still grows, without digits that only flicker."""
    return f"{seconds:.1f}s" if seconds < 60 else duration(seconds)


class Screen:
    """The terminal itself: prints finished lines above a footer that is redrawn in place."""

    def __init__(self, console: Console, look: Look, talk: Callable[[Line], None]) -> None:
        self._console = console
        self._look = look
        self._talk = talk
        self._live: Live | None = None

    @classmethod
    def of(cls, look: Look, talk: Callable[[Line], None]) -> "Screen":
        """Returns the screen that standard output is; ``talk`` writes to standard error."""
        console = Console(
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
            force_terminal=True,
            no_color=not look.colour,
            width=look.width,
        )
        return cls(console, look, talk)

    def out(self, one: Line) -> None:
        """Prints a line for good, above the footer."""
        self._console.print(self._text([one]))

    def talk(self, one: Line) -> None:
        """Writes a line to standard error; the footer gives way until it is drawn again."""
        self.stop()
        self._talk(one)

    def draw(self, footer: list[Line]) -> None:
        """Draws the footer anew; takes it away when it is empty."""
        if not footer:
            self.stop()
            return
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(self._text(footer), refresh=True)

    def stop(self) -> None:
        """Takes the footer away; safe to repeat."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _text(self, lines: list[Line]) -> Text:
        text = Text(no_wrap=True, overflow="ignore")
        for index, one in enumerate(lines):
            if index:
                text.append("\n")
            for span in one:
                style = RICH[span.style] if self._look.colour else ""
                text.append(self._look.writable(span.text), style=style)
        return text
