"""A run for logs: one line for each thing that changed, complete names, nothing ever cut."""

import datetime
from collections.abc import Callable

from sloth_runner.core.events import (
    Event,
    ResourceEnd,
    ResourceStart,
    ResourceUnchanged,
    TaskEnd,
)
from sloth_runner.views.human import Human, Page
from sloth_runner.views.phrases import changes_phrase
from sloth_runner.views.text import Line, Span, clean, line, padded
from sloth_runner.views.words import duration

SILENCE = 60.0
"""Seconds without a word after which a line says what is under way."""


class Plain(Human):
    """Writes for a file or another program: each line has its time, in UTC."""

    def __init__(self, page: Page, *, clock: Callable[[], datetime.datetime]) -> None:
        super().__init__(page)
        self._clock = clock
        self._running: dict[str, datetime.datetime] = {}
        self._spoke = clock()

    def title(self) -> Line | None:
        start = self.start
        if start is None:
            return None
        if start.kind == "plan":
            source = clean(self.page.report.place(start.source or ""))
            return line(f" {clean(start.stack)}: plan of {source}")
        number = f" {start.n}" if start.n else ""
        return line(f"{self._time()} {start.kind}{number} of {clean(start.stack)}")

    def changed(self, event: ResourceEnd) -> None:
        details = changes_phrase(event.changes, self.page.look, outcome=event.outcome)
        if event.outcome == "failed":
            details = clean((event.reason or "").partition("\n")[0])
        elif event.note:
            details = ", ".join(filter(None, (details, clean(event.note))))
        spent = f" ({duration(event.ms / 1000)})" if event.ms >= 1 else ""
        self._line(event, event.outcome, f" {details}" if details else "", spent)

    def unchanged(self, event: ResourceUnchanged) -> None:
        self._line(event, "unchanged", "", "")

    def task_ended(self, event: TaskEnd) -> None:
        if self.page.verbose or (event.outcome == "blocked" and not self.page.quiet):
            reason = f": {clean(event.reason)}" if event.reason else ""
            self.page.out(
                line(f"{self._time()} task {clean(event.task or '')} {event.outcome}{reason}")
            )

    def working(self, event: Event) -> None:
        if isinstance(event, ResourceStart):
            self._running[f"{event.host}/{event.res}"] = self._clock()
        elif isinstance(event, ResourceEnd):
            self._running.pop(f"{event.host}/{event.res}", None)

    def tick(self) -> None:
        with self._lock:
            now = self._clock()
            if not self._running or (now - self._spoke).total_seconds() < SILENCE:
                return
            self._spoke = now
            what = ", ".join(
                f"{name} for {duration((now - since).total_seconds())}"
                for name, since in self._running.items()
            )
            self.page.talk(line(f"{self._time()} still working: {what}"))

    def _line(self, event: Event, outcome: str, details: str, spent: str) -> None:
        self._spoke = self._clock()
        style = self.page.look.style(outcome)
        host = clean(event.host or "local")
        self.page.out(
            line(
                f"{self._time()} {host} ",
                Span(padded(outcome, 9), style),
                f" {event.res or ''}{details}{spent}",
            )
        )

    def _time(self) -> str:
        return self._clock().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
