"""``sloth-runner stack export`` and ``stack import``."""

import sys
from pathlib import Path

import click

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.core import values
from sloth_runner.core.errors import UsageError
from sloth_runner.core.values import Value
from sloth_runner.engine import transfer
from sloth_runner.engine.transfer import Imported
from sloth_runner.views.text import clean, line
from sloth_runner.views.words import count


@click.command("export", cls=Command)
@click.argument("name")
@click.option("--with-blobs", is_flag=True, help="Include saved file contents, for undo.")
@click.pass_context
def export(context: click.Context, name: str, with_blobs: bool) -> None:
    """Write everything that is recorded of a stack to standard output, as one JSON document.

    Sensitive values stay sealed. They open only with the key file beside this record.
    """
    settings = Settings.of(context)
    pages = Pages(settings)
    with record(settings) as journal:
        stack = journal.look(lambda store: the_stack(store, name, settings))
        pages.json(transfer.export(journal, stack, with_blobs=with_blobs))


@click.command("import", cls=Command)
@click.argument("file", metavar="FILE")
@click.option("--name", help="Call the stack this instead of its own name.")
@click.pass_context
def import_(context: click.Context, file: str, name: str | None) -> None:
    """Take a stack that was exported back from FILE ("-" for standard input)."""
    settings = Settings.of(context)
    pages = Pages(settings)
    document = _document(file)
    with record(settings, create=True) as journal:
        done = transfer.import_(journal, document, name=name)
    if settings.json:
        pages.json(done.as_value())
        return
    parts = [count(done.resources, "resource"), count(done.runs, "run")]
    parts.append(count(done.outputs, "output"))
    pages.out(line(f"imported stack {clean(done.stack)}: {', '.join(parts)}"))
    _losses(pages, done)


def _losses(pages: Pages, done: Imported) -> None:
    if done.no_undo:
        pages.talk(
            line(f"   no undo for {count(len(done.no_undo), 'resource')}: saved contents did"),
            line("   not come along; export --with-blobs takes them: " + _some(done.no_undo)),
        )
    if done.sealed:
        pages.talk(
            line(f"   {count(len(done.sealed), 'resource')} hold sealed values, which only the"),
            line("   key file of the other record opens: " + _some(done.sealed)),
        )


def _some(addresses: tuple[str, ...]) -> str:
    more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
    return ", ".join(map(clean, addresses[:3])) + more


def _document(file: str) -> Value:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return values.decode(data.decode("utf-8"))
    except RecursionError:
        raise UsageError(f"{file} is no exported stack: it is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}") from None
