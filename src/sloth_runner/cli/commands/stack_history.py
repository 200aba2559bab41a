"""``sloth-runner stack history``: the runs of a stack, or one of them in full."""

import shlex
from collections.abc import Iterator, Sequence

import click

from sloth_runner.cli.counts import COUNT
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages, place
from sloth_runner.cli.records import present, record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.shown import run_value
from sloth_runner.core.errors import UsageError
from sloth_runner.core.events import (
    Diagnostic,
    ProgramWrote,
    Recovered,
    ResourceDrift,
    ResourceEnd,
    StackOutput,
    TaskEnd,
)
from sloth_runner.core.record import Run, StoredEvent
from sloth_runner.core.values import Value
from sloth_runner.state.store import Store
from sloth_runner.views.drift import DriftText
from sloth_runner.views.jsonl import complete
from sloth_runner.views.moments import ago, between, local
from sloth_runner.views.phrases import counts_line
from sloth_runner.views.plan import PlanText, output_line
from sloth_runner.views.replay import event_of
from sloth_runner.views.table import Cell, table
from sloth_runner.views.text import Line, Span, clean, line
from sloth_runner.views.words import duration

_SIGNS = {"created": "+", "changed": "~", "removed": "-", "ran": ">", "written": "*", "failed": "!"}


@click.command("history", cls=Command)
@click.argument("name")
@click.argument("run", type=COUNT, required=False)
@click.option("--limit", type=COUNT, help="Only the newest so many.")
@click.pass_context
def command(context: click.Context, name: str, run: int | None, limit: int | None) -> None:
    """List the runs of a stack, the newest first; with RUN, show that one in full."""
    settings = Settings.of(context)
    pages = Pages(settings)
    with record(settings) as journal:
        if run is None:

            def read(store: Store) -> list[Run]:
                return store.runs(the_stack(store, name, settings).id, limit)

            _list(pages, journal.look(read))
        else:
            found, events = journal.look(lambda store: _one(store, name, run, settings))
            _show(pages, found, events)


def _one(store: Store, name: str, number: int, settings: Settings) -> tuple[Run, list[StoredEvent]]:
    stack = the_stack(store, name, settings)
    found = store.run(stack.id, number)
    if found is None:
        newest = next(iter(store.runs(stack.id, limit=1)), None)
        hint = f"the newest is run {newest.number}" if newest else "it has no runs yet"
        raise UsageError(f'stack "{clean(name)}" has no run {number}', hint=hint)
    return found, store.events(found.id)


def _list(pages: Pages, runs: Sequence[Run]) -> None:
    if pages.settings.json:
        pages.json([run_value(run) for run in runs])
        return
    if not runs:
        pages.say(" no runs yet")
        return
    now = present()
    rows: list[list[Cell]] = []
    for run in runs:
        spent = between(run.started_at, run.finished_at)
        rows.append(
            [
                str(run.number),
                ago(run.started_at, now),
                run.kind,
                Span(_result(run), "failed" if run.result == "failed" else ""),
                *(str(run.counts.get(name, 0)) for name in _SIGNS),
                "-" if spent is None else duration(spent),
                run.who,
            ]
        )
    titles = ["RUN", "WHEN", "KIND", "RESULT", *_SIGNS.values(), "TIME", "BY"]
    right = ("RUN", "TIME", *_SIGNS.values())
    pages.out(*table(titles, rows, pages.look, right=right, flexible="BY"))


def _result(run: Run) -> str:
    if run.result is None:
        return "unfinished"
    if run.result != "ok" or run.kind not in ("run", "drift", "fix"):
        return run.result
    if run.kind == "drift":
        drifted = run.counts.get("drifted")
        return f"{drifted} drifted" if drifted else "no drift"
    return "changed" if any(run.counts.get(name) for name in _SIGNS) else "no changes"


def _show(pages: Pages, run: Run, stored: Sequence[StoredEvent]) -> None:
    if pages.settings.json:
        events = [{"seq": e.seq, "ts": e.at, **_complete(e)} for e in stored]
        pages.json({**run_value(run), "events": events})
        return
    pages.out(*_head(run, pages))
    report = pages.report()
    plan = PlanText(look=pages.look, place=place)
    drift = DriftText(look=pages.look, since=local)
    task: str | None = None
    failures: list[Diagnostic] = []
    for one in stored:
        event = event_of(one.data)
        if isinstance(event, ResourceEnd):
            if event.task != task:
                task = event.task
                pages.out(line(Span(f" {clean(task or '')}", "bold")))
            pages.out(*plan.operation(event))
        elif isinstance(event, ResourceDrift):
            pages.out(*drift.one(event))
        elif isinstance(event, StackOutput):
            pages.out(output_line(event))
        elif isinstance(event, ProgramWrote):
            pages.out(plan.write(event))
        elif isinstance(event, Recovered):
            pages.out(line(f" recovered: {clean(event.msg)}"))
            if event.command:
                pages.out(line(f"   {clean(shlex.join(event.command))}"))
        elif isinstance(event, TaskEnd) and event.outcome not in ("ok", "unknown"):
            reason = f": {clean(event.reason)}" if event.reason else ""
            pages.out(line(f" task {clean(event.task or '')} {event.outcome}{reason}"))
        elif isinstance(event, Diagnostic):
            failures.append(event)
    for failure in failures:
        pages.out(line(), *report.one(failure))


def _complete(stored: StoredEvent) -> dict[str, Value]:
    event = event_of(stored.data)
    return dict(stored.data) if event is None else complete(event)


def _head(run: Run, pages: Pages) -> Iterator[Line]:
    spent = between(run.started_at, run.finished_at)
    took = f" in {duration(spent)}" if spent is not None else ""
    title = f" {run.kind.capitalize()} {run.number}: {_result(run)}{took}"
    yield line(Span(title, "bold"), "   ", *counts_line(run.counts, pages.look))
    yield line(f"   {local(run.started_at)} by {clean(run.who)}")
    if run.command:
        yield line(f"   {clean(run.command)}")
    yield line()
