"""``sloth-runner stack show``."""

from collections.abc import Iterator

import click
from msgspec import Struct

from sloth_runner.cli.commands.stack_list import Listed, listed
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages, place
from sloth_runner.cli.records import present, record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.shown import output_value, resource_value, run_value
from sloth_runner.core.events import SENSITIVE
from sloth_runner.core.record import Output, ResourceRow, Run
from sloth_runner.core.values import Value
from sloth_runner.state.store import Store
from sloth_runner.views.moments import ago, between, local
from sloth_runner.views.phrases import counts_line
from sloth_runner.views.text import Line, Look, Span, clean, line, padded
from sloth_runner.views.words import duration, value

_LAST = 14
_SHOWN = 10
_TOUCHED = ("created", "changed", "removed", "ran", "carried")


class Whole(Struct, frozen=True, kw_only=True):
    """A stack with what ``show`` says of it."""

    listed: Listed
    rows: list[ResourceRow]
    runs: list[Run]
    outputs: list[Output]

    def as_value(self) -> dict[str, Value]:
        """Returns the stack as ``--json`` shows it."""
        orphans = [resource_value(row) for row in self.rows if row.state == "orphaned"]
        return {
            **self.listed.as_value(),
            "serial": self.listed.stack.serial,
            "outputs": {output.key: output_value(output) for output in self.outputs},
            "runs": [run_value(run) for run in self.runs],
            "orphans": orphans,
        }


@click.command("show", cls=Command)
@click.argument("name")
@click.pass_context
def command(context: click.Context, name: str) -> None:
    """Show everything about one stack: what it manages, its last runs, its outputs."""
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> Whole:
        stack = the_stack(store, name, settings)
        return Whole(
            listed=listed(store, stack),
            rows=store.resources(stack.id),
            runs=store.runs(stack.id, limit=_LAST),
            outputs=store.outputs(stack.id),
        )

    with record(settings) as journal:
        whole = journal.look(read)
    if settings.json:
        pages.json(whole.as_value())
    else:
        pages.out(*_lines(whole, pages.look, settings))


def _lines(whole: Whole, look: Look, settings: Settings) -> Iterator[Line]:
    one, stack = whole.listed, whole.listed.stack
    yield line(Span(f" {clean(stack.name)}", "bold"), f"  {one.status}")
    yield _fact("id", stack.id)
    if stack.description:
        yield _fact("about", stack.description)
    yield _fact("made", f"{local(stack.created_at)} by sloth-runner {stack.version}")
    yield _fact("workflow", place(stack.workflow) if stack.workflow else "none yet")
    yield _fact("resources", _kinds(whole.rows))
    if one.states:
        states = ", ".join(f"{number} {state}" for state, number in sorted(one.states.items()))
        yield _fact("states", states)
    yield from _runs(whole.runs, look)
    if one.holder is not None and one.held:
        holder = one.holder
        yield _fact("held by", f"{holder.who}, pid {holder.pid}, run {holder.run}")
    yield _fact("record", settings.database)
    yield from _drifted(whole.rows, look)
    yield from _orphans(whole.rows, look)
    if whole.outputs:
        yield line(Span(" Outputs", "bold"))
        for output in whole.outputs:
            shown = SENSITIVE if output.sensitive else value(output.value)
            yield line(f"   {clean(output.key)} = {shown}")


def _fact(label: str, text: str) -> Line:
    return line(Span(f"   {padded(label, 11)} ", "dim"), clean(text))


def _kinds(rows: list[ResourceRow]) -> str:
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row.address.type] = kinds.get(row.address.type, 0) + 1
    if not kinds:
        return "none"
    each = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()))
    hosts = sorted({row.address.host for row in rows})
    return f"{len(rows)}: {each}" + (f"; on {', '.join(hosts)}" if hosts != ["local"] else "")


def _runs(runs: list[Run], look: Look) -> Iterator[Line]:
    if not runs:
        yield _fact("runs", "none yet")
        return
    last = runs[0]
    spent = between(last.started_at, last.finished_at)
    took = f", {duration(spent)}" if spent is not None else ""
    kind = "run" if last.kind == "run" else last.kind
    text = f"{kind} {last.number} {last.result or 'unfinished'}, "
    text += f"{ago(last.started_at, present())}{took}, by {last.who}"
    yield line(*_fact("last run", text), "   ", *counts_line(last.counts, look))
    yield _fact("runs", " ".join(_sign(run, look) for run in reversed(runs)))


def _sign(run: Run, look: Look) -> str:
    """Returns one sign for a run: it failed, it changed something, or nothing had to be done."""
    if run.kind != "run":
        return run.kind
    if run.result != "ok":
        return look.symbol("failed")
    touched = next((name for name in _TOUCHED if run.counts.get(name)), None)
    return look.symbol("unchanged" if touched is None else "changed")


def _drifted(rows: list[ResourceRow], look: Look) -> Iterator[Line]:
    found = [row for row in rows if row.state == "drift"]
    if found:
        yield line(Span(" Drifted", "bold"))
    yield from _some([f"{row.address}  {ago(row.drift_since, present())}" for row in found], look)


def _orphans(rows: list[ResourceRow], look: Look) -> Iterator[Line]:
    found = [str(row.address) for row in rows if row.state == "orphaned"]
    if found:
        yield line(Span(" No longer declared, kept", "bold"))
    yield from _some(found, look)


def _some(texts: list[str], look: Look) -> Iterator[Line]:
    for text in texts[:_SHOWN]:
        yield line(f"   {look.sign('dot')} {clean(text)}")
    if len(texts) > _SHOWN:
        yield line(f"   and {len(texts) - _SHOWN} more")
