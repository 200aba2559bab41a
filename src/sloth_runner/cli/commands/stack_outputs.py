"""``sloth-runner stack outputs``."""

import click

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import meant, record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.shown import output_value
from sloth_runner.core import values
from sloth_runner.core.errors import TaskError
from sloth_runner.core.events import SENSITIVE
from sloth_runner.core.record import Output
from sloth_runner.state.store import Store
from sloth_runner.views.table import Cell, table
from sloth_runner.views.text import Span, line
from sloth_runner.views.words import value


@click.command("outputs", cls=Command)
@click.argument("name")
@click.argument("key", required=False)
@click.pass_context
def command(context: click.Context, name: str, key: str | None) -> None:
    """Show the outputs of a stack; with KEY, that value alone, ready for a script."""
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> list[Output]:
        return store.outputs(the_stack(store, name, settings).id)

    with record(settings) as journal:
        outputs = journal.look(read)
    if key is not None:
        _one(pages, outputs, key)
    elif settings.json:
        pages.json({output.key: output_value(output) for output in outputs})
    elif outputs:
        rows: list[list[Cell]] = [
            [o.key, SENSITIVE if o.sensitive else value(o.value), f"run {o.run}"] for o in outputs
        ]
        pages.out(*table(["KEY", "VALUE", "SET BY"], rows, pages.look))
    elif not settings.quiet:
        pages.talk(line(Span(" no outputs", "dim")))


def _one(pages: Pages, outputs: list[Output], key: str) -> None:
    found = next((output for output in outputs if output.key == key), None)
    if found is None:
        near = meant(key, (output.key for output in outputs))
        raise TaskError(f'there is no output "{key}"{near}')
    shown = SENSITIVE if found.sensitive else found.value
    if pages.settings.json:
        pages.json(shown)
    else:
        pages.raw((shown if isinstance(shown, str) else values.encode(shown)) + "\n")
