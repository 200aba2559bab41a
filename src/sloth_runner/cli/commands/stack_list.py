"""``sloth-runner stack list``."""

from collections.abc import Mapping

import click
from msgspec import Struct

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import present, record_if_any
from sloth_runner.cli.settings import Settings
from sloth_runner.core.record import Holder, Run, Stack
from sloth_runner.core.values import Value
from sloth_runner.state.processes import is_alive
from sloth_runner.state.store import Store
from sloth_runner.views.moments import ago, between
from sloth_runner.views.table import Cell, table
from sloth_runner.views.text import Span, clean, line
from sloth_runner.views.words import count, duration

_STYLES = {"applied": "created", "failed": "failed", "drift": "drift", "cancelled": "changed"}


class Listed(Struct, frozen=True, kw_only=True):
    """A stack with what the list says of it; ``states`` counts resources by state."""

    stack: Stack
    states: Mapping[str, int]
    last: Run | None
    holder: Holder | None

    @property
    def resources(self) -> int:
        return sum(self.states.values())

    @property
    def held(self) -> bool:
        return self.holder is not None and is_alive(self.holder.pid)

    @property
    def status(self) -> str:
        """The status in one word, with what a dead run or a drift makes of it."""
        if self.stack.status == "running" and not self.held:
            return "interrupted"
        if self.stack.status == "applied" and self.states.get("drift"):
            return "drift"
        return self.stack.status

    def as_value(self) -> dict[str, Value]:
        """Returns the stack as ``--json`` shows it."""
        stack, last, holder = self.stack, self.last, self.holder
        return {
            "name": stack.name,
            "id": stack.id,
            "status": stack.status,
            "version": stack.version,
            "description": stack.description,
            "workflow": stack.workflow,
            "resources": self.resources,
            "states": dict(self.states),
            "created_at": stack.created_at,
            "updated_at": stack.updated_at,
            "last_run": last
            and {
                "number": last.number,
                "kind": last.kind,
                "result": last.result,
                "started_at": last.started_at,
                "finished_at": last.finished_at,
            },
            "holder": holder
            and {
                "who": holder.who,
                "pid": holder.pid,
                "since": holder.since,
                "run": holder.run,
                "alive": self.held,
            },
        }


@click.command("list", cls=Command)
@click.pass_context
def command(context: click.Context) -> None:
    """List all stacks of the record, with their state and their last run."""
    settings = Settings.of(context)
    pages = Pages(settings)
    with record_if_any(settings) as journal:
        found = [] if journal is None else journal.look(_listed)
    if settings.json:
        pages.json([one.as_value() for one in found])
        return
    if found:
        rows = [_row(one) for one in found]
        titles = ["STACK", "STATUS", "RES.", "DRIFT", "LAST RUN", "LOCK"]
        pages.out(*table(titles, rows, pages.look, right=("RES.", "DRIFT"), flexible="STACK"))
    if not settings.quiet:
        what = count(len(found), "stack") if found else "no stacks yet"
        where = clean(settings.database)
        pages.talk(line(Span(f" {what} in {where}", "dim")))


def _listed(store: Store) -> list[Listed]:
    return [listed(store, stack) for stack in store.stacks()]


def listed(store: Store, stack: Stack) -> Listed:
    """Returns a stack with what the list says of it."""
    return Listed(
        stack=stack,
        states=store.resource_states(stack.id),
        last=next(iter(store.runs(stack.id, limit=1)), None),
        holder=store.holder(stack.id),
    )


def _row(one: Listed) -> list[Cell]:
    drifted = one.states.get("drift", 0)
    last = "never"
    if one.last is not None:
        spent = between(one.last.started_at, one.last.finished_at)
        took = f" · {duration(spent)}" if spent is not None else ""
        kind = "" if one.last.kind == "run" else f" {one.last.kind}"
        last = f"{one.last.number}{kind} · {ago(one.last.started_at, present())}{took}"
    return [
        one.stack.name,
        Span(one.status, _STYLES.get(one.status, "")),
        str(one.resources),
        Span(str(drifted), "drift") if drifted else Span("-", "dim"),
        last,
        one.holder.who if one.holder is not None and one.held else Span("-", "dim"),
    ]
