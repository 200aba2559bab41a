"""``sloth-runner stack resources``."""

import fnmatch
from collections.abc import Sequence

import click

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages, place
from sloth_runner.cli.records import present, record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.shown import resource_value
from sloth_runner.core.record import ResourceRow
from sloth_runner.state.store import Store
from sloth_runner.views.moments import ago
from sloth_runner.views.table import Cell, table
from sloth_runner.views.text import Span, line
from sloth_runner.views.words import count

STATES = ("drift", "failed", "applied", "pending", "orphaned")
STYLES = {
    "applied": "created",
    "failed": "failed",
    "drift": "drift",
    "pending": "changed",
    "orphaned": "dim",
}


@click.command("resources", cls=Command)
@click.argument("name")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--host", help="Only those of this host; * and ? match.")
@click.option("--type", "kind", help="Only those of this type, for example file.")
@click.pass_context
def command(
    context: click.Context, name: str, state: str | None, host: str | None, kind: str | None
) -> None:
    """List what a stack manages, as it is recorded; no machine is looked at."""
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> list[ResourceRow]:
        return store.resources(the_stack(store, name, settings).id)

    with record(settings) as journal:
        rows = journal.look(read)
    chosen = [row for row in rows if _wanted(row, state, host, kind)]
    if settings.json:
        pages.json([resource_value(row) for row in chosen])
        return
    if chosen:
        pages.out(*_table(chosen, pages))
    if not settings.quiet:
        total = count(len(rows), "resource")
        what = total if len(chosen) == len(rows) else f"{len(chosen)} of {total}"
        pages.talk(line(Span(f" {what}", "dim")))


def _wanted(row: ResourceRow, state: str | None, host: str | None, kind: str | None) -> bool:
    return (
        (state is None or row.state == state)
        and (host is None or fnmatch.fnmatchcase(row.address.host, host))
        and (kind is None or row.address.type == kind)
    )


def _table(rows: Sequence[ResourceRow], pages: Pages) -> list[tuple[Span, ...]]:
    now = present()
    shown: list[list[Cell]] = [
        [
            str(row.address) + (" (registered)" if row.registered else ""),
            Span(row.state, STYLES.get(row.state, "")),
            ago(row.drift_since, now) if row.drift_since else "-",
            ago(row.last_applied, now),
            place(row.location) if row.location else "-",
        ]
        for row in rows
    ]
    titles = ["ADDRESS", "STATE", "DRIFT SINCE", "LAST APPLIED", "DECLARED AT"]
    return list(table(titles, shown, pages.look, flexible="ADDRESS"))
