"""What a person is told of a run or a plan, whatever the page: the common part of two views."""

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from sloth_runner.core.errors import Cancelled
from sloth_runner.core.events import (
    CommandOutput,
    Diagnostic,
    Event,
    LockWait,
    Log,
    Orphaned,
    ProgramWrote,
    Recovered,
    ResourceEnd,
    ResourceUnchanged,
    StackOutput,
    StreamStart,
    Summary,
    TaskEnd,
    Warned,
)
from sloth_runner.views.phrases import counts_line
from sloth_runner.views.plan import PlanText
from sloth_runner.views.report import Report, declined, sentence
from sloth_runner.views.text import Line, Look, Span, clean, line
from sloth_runner.views.words import count, duration, host_prefix

_PLANNED = ResourceEnd | StackOutput | ProgramWrote

WRONG_INPUT = 2
"""The exit code of what touched nothing."""

_RESULTS = {
    "ok": "succeeded",
    "failed": "failed",
    "cancelled": "was cancelled",
    "timeout": "ran out of time",
}
_TOUCHED = (
    "created",
    "changed",
    "removed",
    "ran",
    "written",
    "failed",
    "carried",
    "unknown",
    "blocked",
)


class Page(Struct, frozen=True, kw_only=True):
    """Where and how to write: results go to ``out``, talk to ``talk``, both line by line.

    ``source`` and ``place`` are for reports (see ``views.report``); ``command`` is how the
    program was called, for advice.
    """

    out: Callable[[Line], None]
    talk: Callable[[Line], None]
    look: Look
    report: Report
    plan: PlanText
    quiet: bool = False
    verbose: bool = False


class Human:
    """Follows the events of one run or plan and writes what matters: changes, then an end.

    Subclasses say how a change and a task look. An event before the start of a run belongs
    to the preview that is shown before it asks.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.start: StreamStart | None = None
        self._lock = threading.RLock()
        self._plan: list[Event] = []
        self._failures: list[Diagnostic] = []
        self._outputs: dict[str, StackOutput] = {}
        self._writes: dict[tuple[str, str], ProgramWrote] = {}
        self._corrected: list[str] = []
        self._orphans: list[str] = []
        self._said_title = False
        self._at_any_time: Mapping[type[Event], Callable[[Any], object]] = {
            StreamStart: self._begin,
            Diagnostic: self._failures.append,
            Summary: self._end,
            Warned: self._warn,
            LockWait: self._waiting,
            Recovered: self._recovered,
        }
        self._while_applying: Mapping[type[Event], Callable[[Any], object]] = {
            ResourceEnd: self._resource_end,
            ResourceUnchanged: self._unchanged,
            TaskEnd: self.task_ended,
            Log: self._say,
            CommandOutput: self._command_output,
            StackOutput: self._output,
            ProgramWrote: self._wrote,
            Orphaned: self._left,
        }

    def __call__(self, event: Event) -> None:
        """Takes one event; safe from any thread."""
        with self._lock:
            self._take(event)

    def tick(self) -> None:
        """Called now and then while a run goes on; MAY be overridden."""

    def close(self) -> None:
        """Ends the view; MAY be overridden."""

    def show_plan(self, events: Sequence[Event], *, details: bool = False) -> None:
        """Writes the plan of ``events``, for a person who is to be asked."""
        with self._lock:
            plan = self.page.plan
            if details:
                plan = PlanText(look=plan.look, place=plan.place)
            for one in plan.lines(events):
                self.page.out(one)

    # what subclasses write

    def changed(self, event: ResourceEnd) -> None:
        """MUST: writes that a resource or an action ended, other than unchanged."""
        raise NotImplementedError

    def unchanged(self, event: ResourceUnchanged) -> None:
        """MUST: writes that a resource was as declared; only with -v."""
        raise NotImplementedError

    def task_ended(self, event: TaskEnd) -> None:
        """MAY: writes that a task ended."""

    def working(self, event: Event) -> None:
        """MAY: takes note of what is under way."""

    def title(self) -> Line | None:
        """MAY: returns the line that comes before the first change."""
        return None

    # the stream

    @property
    def applying(self) -> bool:
        """Whether what comes now is done, not only predicted."""
        return self.start is not None and self.start.kind != "plan"

    def _take(self, event: Event) -> None:
        kind = type(event)
        take = self._at_any_time.get(kind)
        if take is None and self.applying:
            take = self._while_applying.get(kind)
        elif take is None:
            take = self._preview
        if take is not None:
            take(event)
        self.working(event)

    def _begin(self, event: StreamStart) -> None:
        self.start = event
        self._plan.clear()

    def _waiting(self, event: LockWait) -> None:
        self.page.talk(line(f" {sentence(event.msg)}"))

    def _recovered(self, event: Recovered) -> None:
        self.page.talk(line(f" recovered: {clean(event.msg)}"))

    def _preview(self, event: Event) -> None:
        if not isinstance(event, Log):
            self._plan.append(event)
        elif self.page.verbose:
            self._say(event)

    def _unchanged(self, event: ResourceUnchanged) -> None:
        if self.page.verbose:
            self.headed()
            self.unchanged(event)

    def _command_output(self, event: CommandOutput) -> None:
        if self.page.verbose:
            bar = self.page.look.sign("bar")
            self.page.out(line(Span(f"       {bar} {clean(event.text)}", "dim")))

    def _output(self, event: StackOutput) -> None:
        self._outputs[event.key] = event

    def _wrote(self, event: ProgramWrote) -> None:
        self._writes[(event.kind, event.name)] = event
        if event.outcome == "unchanged":
            self._writes.pop((event.kind, event.name))

    def _left(self, event: Orphaned) -> None:
        self._orphans.append(host_prefix(event.host) + (event.res or ""))

    def _resource_end(self, event: ResourceEnd) -> None:
        if event.outcome == "skipped" and not self.page.verbose:
            return
        if event.cause == "corrective" and event.outcome != "failed":
            self._corrected.append(host_prefix(event.host) + (event.res or ""))
        self.headed()
        self.changed(event)

    def headed(self) -> None:
        """Writes the title, if it was not written yet."""
        if not self._said_title:
            self._said_title = True
            title = None if self.page.quiet else self.title()
            if title is not None:
                self.page.out(title)

    def _say(self, event: Log) -> None:
        if self.page.quiet and self.applying:
            return
        style = {"error": "failed", "warn": "changed"}.get(event.level, "")
        for text in event.text.split("\n"):
            self.page.out(line(Span(clean(text), style)))

    def _warn(self, event: Warned) -> None:
        self.page.talk(line(Span("warning", "changed"), f": {clean(event.msg)}"))
        if event.hint:
            self.page.talk(line(f"   {clean(event.hint)}"))

    # the end

    def _end(self, summary: Summary) -> None:
        if self.applying:
            self._end_of_run(summary)
        else:
            self._end_of_plan(summary)
        self._report(summary)

    def _report(self, summary: Summary) -> None:
        """Writes the failures in full, after everything else, and how to go on."""
        talk = self.page.talk
        for failure in self._failures:
            if failure.code == Cancelled.code:
                talk(declined(failure))
        failures = [f for f in self._failures if f.code != Cancelled.code]
        if not failures:
            return
        talk(line())
        for one in self.page.report.all(failures):
            talk(one)
        failed = self.start if self.applying and summary.exit == 1 else None
        if summary.exit == WRONG_INPUT or (failed and not summary.touched):
            talk(line(" Nothing was changed."))
        if failed:
            stack = shlex.quote(clean(failed.stack))
            talk(line(" After the fix, the same command goes on: finished work is not repeated."))
            talk(line(f" In full: sloth-runner stack history {stack} {failed.n}"))

    def _end_of_plan(self, summary: Summary) -> None:
        shown = any(isinstance(event, _PLANNED) for event in self._plan)
        if shown or not self._failures:
            title = self.title()
            if title is not None and not self.page.quiet:
                self.page.out(title)
                self.page.out(line())
            for one in self.page.plan.lines(self._plan, unchanged=summary.unchanged):
                self.page.out(one)
            if summary.result != "ok":
                self.page.out(line(Span("       it is not complete: see below", "failed")))

    def _end_of_run(self, summary: Summary) -> None:
        out, quiet = self.page.out, self.page.quiet
        touched = any(getattr(summary, name) for name in _TOUCHED)
        if quiet and not touched and summary.exit == 0:
            return
        if not quiet:
            plan = self.page.plan
            outputs, writes = self._outputs.values(), self._writes.values()
            for one in (*plan.outputs(outputs), *plan.writes(writes)):
                out(one)
        if not touched and summary.exit == 0:
            out(line(f" {nothing_to_do(summary)}"))
        else:
            self._counts(summary)
        if quiet:
            return
        if self._corrected:
            out(line(f" Corrected what differed from the last run: {', '.join(self._corrected)}"))
        if summary.orphaned:
            out(self._orphaned(summary.orphaned))

    def _counts(self, summary: Summary) -> None:
        number = f" {self.start.n}" if self.start is not None and self.start.n else ""
        kind = self.start.kind.capitalize() if self.start is not None else "Run"
        style = {"ok": "bold"}.get(summary.result, "failed")
        result = _RESULTS.get(summary.result, clean(summary.result))
        text = f" {kind}{number} {result} in {duration(summary.seconds)}"
        self.page.out(line(Span(text, style)))
        counts = {name: getattr(summary, name) for name in (*_TOUCHED, "unchanged", "skipped")}
        if any(counts.values()):
            self.page.out(line("   ", *counts_line(counts, self.page.look)))
        if summary.result == "cancelled":
            self.page.out(line("   The record is consistent; the next run goes on from here."))

    def _orphaned(self, number: int) -> Line:
        some = f": {', '.join(self._orphans[:5])}" if self._orphans else ""
        more = f" and {len(self._orphans) - 5} more" if len(self._orphans) > 5 else ""
        return line(f" {count(number, 'resource')} no longer declared, kept{some}{more}")


def nothing_to_do(summary: Summary) -> str:
    """Returns the line of a run that found everything as declared."""
    if not summary.checked:
        return "Nothing to do: the workflow declared no resource."
    skipped = f" ({count(summary.skipped, 'action')} skipped)" if summary.skipped else ""
    checked = count(summary.checked - summary.skipped, "resource")
    spent = duration(summary.seconds)
    return f"Nothing to do: {checked} checked in {spent}, all as declared{skipped}."
