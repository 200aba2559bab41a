"""``sloth-runner stack new`` and ``stack delete``."""

import contextlib
import shlex

import click

from sloth_runner import __version__
from sloth_runner.cli.asking import Interruption, asked
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.core.errors import Cancelled, Locked, UsageError
from sloth_runner.core.record import Stack
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.journal import Journal
from sloth_runner.state.locks import StackLock
from sloth_runner.views.text import clean, line
from sloth_runner.views.words import count


@click.command("new", cls=Command)
@click.argument("name")
@click.option("--description", default="", help="What the stack is for.")
@click.pass_context
def new(context: click.Context, name: str, description: str) -> None:
    """Make an empty stack. A first run makes its stack by itself."""
    settings = Settings.of(context)
    pages = Pages(settings)
    if not name.strip() or not name.isprintable():
        raise UsageError("the name of a stack is printable text that is not empty")
    with record(settings, create=True) as journal:
        stack = journal.call(
            lambda store: store.create_stack(name, version=__version__, description=description)
        )
    if settings.json:
        pages.json({"name": stack.name, "id": stack.id, "created_at": stack.created_at})
    elif not settings.quiet:
        pages.out(line(f"made stack {name} in {clean(settings.database)}"))
        pages.say(f"next: sloth-runner run {shlex.quote(name)} -f WORKFLOW.lua")


@click.command("delete", cls=Command)
@click.argument("name")
@click.pass_context
def delete(context: click.Context, name: str) -> None:
    """Forget a stack and its history. What it manages stays as it is on its machines."""
    settings = Settings.of(context)
    pages = Pages(settings)
    with record(settings) as journal:
        stack = journal.look(lambda store: the_stack(store, name, settings))
        managed = journal.look(lambda store: store.resource_count(stack.id))
        if managed:
            _agree(settings, pages, stack, managed)
        _delete(settings, journal, stack)
    if settings.json:
        pages.json({"name": stack.name, "deleted": True, "resources": managed})
    elif not settings.quiet:
        pages.out(line(f"deleted stack {clean(name)}"))


def _agree(settings: Settings, pages: Pages, stack: Stack, managed: int) -> None:
    things = count(managed, "resource")
    if settings.yes:
        return
    if settings.why_not_ask:
        raise UsageError(
            f"stack {stack.name} manages {things}, and {settings.why_not_ask}",
            hint="they would stay as they are, but nothing would know of them any more; "
            "add --yes to delete the record",
            effects=("nothing was changed",),
        )
    pages.talk(
        line(f" Stack {clean(stack.name)} manages {things}. They stay as they are;"),
        line(" what is lost is the record: drift, history and undo."),
    )
    from sloth_runner.engine.interrupts import Interrupts  # which few commands need

    interruption = Interruption()
    with contextlib.closing(interruption), Interrupts(lambda _: interruption.set()):
        agreed = asked(" Delete the record?", interruption=interruption)
    if not agreed:
        raise Cancelled("the stack was kept", effects=("nothing was changed",))


def _delete(settings: Settings, journal: Journal, stack: Stack) -> None:
    lock = StackLock(journal.folder, stack.id, name=stack.name)
    lock.acquire(holder=lambda: journal.look(lambda store: store.holder(stack.id)))
    try:
        journal.call(lambda store: store.delete_stack(stack.id))
        lock.remove()
    finally:
        lock.release()
    with contextlib.suppress(Locked):  # then the next run of any stack does it
        journal.call(Blobs(journal.folder).collect)
