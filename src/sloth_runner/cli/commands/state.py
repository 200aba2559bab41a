"""``sloth-runner state``: keys and values, of the whole record or of one stack."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import click

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import meant, present, record, record_if_any, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.core import values
from sloth_runner.core.errors import TaskError, UsageError
from sloth_runner.core.values import Value
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store
from sloth_runner.views.moments import ago
from sloth_runner.views.table import Cell, table
from sloth_runner.views.text import Span, clean, line
from sloth_runner.views.words import count, value

SHARED = ""
"""The keyspace of the whole record."""

of_stack: Callable[[Any], Any] = click.option(
    "--stack", "stack", metavar="NAME", help="The keys of one stack instead of the shared ones."
)


def _record(settings: Settings, stack: str | None) -> AbstractContextManager[Journal | None]:
    """Opens the record; only a stack must have one."""
    return record_if_any(settings) if stack is None else record(settings)


def _scope(store: Store, stack: str | None, settings: Settings) -> str:
    return SHARED if stack is None else the_stack(store, stack, settings).id


@click.command("set", cls=Command)
@click.argument("key")
@click.argument("value")
@click.option("--json-value", is_flag=True, help="VALUE is JSON; otherwise it is text.")
@of_stack
@click.pass_context
def set_(context: click.Context, key: str, value: str, json_value: bool, stack: str | None) -> None:
    """Set KEY to VALUE."""
    settings = Settings.of(context)
    if not key:
        raise UsageError("a key is text that is not empty")
    stored = _parsed(value) if json_value else value

    def write(store: Store) -> None:
        store.kv_set(_scope(store, stack, settings), key, stored)

    with record(settings, create=stack is None) as journal:
        journal.call(write)


@click.command("get", cls=Command)
@click.argument("key")
@of_stack
@click.pass_context
def get(context: click.Context, key: str, stack: str | None) -> int:
    """Print the value of KEY: text as it is, anything else as JSON. Exit 1 if it is not set."""
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> Value:
        return store.kv_get(_scope(store, stack, settings), key)

    with _record(settings, stack) as journal:
        try:
            if journal is None:
                return 1
            found = journal.look(read)
        except KeyError:
            return 1
    if settings.json:
        pages.json(found)
    else:
        pages.raw((found if isinstance(found, str) else values.encode(found)) + "\n")
    return 0


@click.command("list", cls=Command)
@click.argument("prefix", default="")
@of_stack
@click.pass_context
def list_(context: click.Context, prefix: str, stack: str | None) -> None:
    """List the keys that start with PREFIX, with their values."""
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> list[tuple[str, Value, str]]:
        return store.kv_list(_scope(store, stack, settings), prefix)

    with _record(settings, stack) as journal:
        found = [] if journal is None else journal.look(read)
    if settings.json:
        pages.json([{"key": k, "value": v, "updated_at": at} for k, v, at in found])
        return
    now = present()
    rows: list[list[Cell]] = [[key, value(item), ago(at, now)] for key, item, at in found]
    if rows:
        pages.out(*table(["KEY", "VALUE", "SET"], rows, pages.look, flexible="VALUE"))
    elif not settings.quiet:
        pages.talk(line(Span(" no keys", "dim")))


@click.command("delete", cls=Command)
@click.argument("key")
@of_stack
@click.pass_context
def delete(context: click.Context, key: str, stack: str | None) -> None:
    """Delete KEY. Exit 1 if it is not set."""
    settings = Settings.of(context)

    def write(store: Store) -> list[str] | None:
        scope = _scope(store, stack, settings)
        if store.kv_delete(scope, key):
            return None
        return [name for name, _, _ in store.kv_list(scope)]

    with _record(settings, stack) as journal:
        known = [] if journal is None else journal.call(write)
    if known is not None:
        raise TaskError(f'there is no key "{clean(key)}"{meant(key, known)}')


@click.command("stats", cls=Command)
@of_stack
@click.pass_context
def stats(context: click.Context, stack: str | None) -> None:
    """Count the keys and the size of their values."""
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> dict[str, Value]:
        return store.kv_stats(_scope(store, stack, settings))

    with _record(settings, stack) as journal:
        empty: dict[str, Value] = {"keys": 0, "size": 0, "updated_at": None}
        found = empty if journal is None else journal.look(read)
    if settings.json:
        pages.json({**found, "database": settings.database})
        return
    pages.out(
        line(f"keys         {found['keys']}"),
        line(f"size         {count(found['size'], 'character')}"),
        line(f"last change  {ago(found['updated_at'], present())}"),
        line(f"record       {clean(settings.database)}"),
    )


def _parsed(text: str) -> Value:
    try:
        return values.canonical(json.loads(text))
    except ValueError as error:
        raise UsageError(f"VALUE is not JSON: {error}") from None
