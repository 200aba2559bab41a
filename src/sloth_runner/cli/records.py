"""Opens the record for commands that read and write it without an engine."""

import contextlib
import datetime
from collections.abc import Iterable, Iterator

from sloth_runner.cli.settings import Settings
from sloth_runner.core.address import escaped
from sloth_runner.core.errors import UsageError
from sloth_runner.core.nearest import nearest
from sloth_runner.core.record import Stack
from sloth_runner.state.database import is_there
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store


@contextlib.contextmanager
def record(settings: Settings, *, create: bool = False) -> Iterator[Journal]:
    """Opens the record that the settings name; without ``create`` it must be there."""
    with Journal.open(settings.database, create=create) as journal:
        yield journal


@contextlib.contextmanager
def record_if_any(settings: Settings) -> Iterator[Journal | None]:
    """Opens the record if there is one: to ask about nothing should not make it."""
    if not is_there(settings.database):
        yield None
        return
    with record(settings) as journal:
        yield journal


def the_stack(store: Store, name: str, settings: Settings) -> Stack:
    """Returns the stack of that name; raises UsageError with the name that may be meant."""
    found = store.stack(name)
    if found is not None:
        return found
    raise no_stack(name, (stack.name for stack in store.stacks()), settings)


def no_stack(name: str, known: Iterable[str], settings: Settings) -> UsageError:
    """Returns the error for a stack that is not recorded."""
    near = meant(name, known)
    return UsageError(
        f'there is no stack "{escaped(name)}" in {escaped(settings.database)}{near}',
        hint="sloth-runner stack list shows the stacks; another record is named with --db PATH",
    )


def meant(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean ...?" for the nearest known name, or nothing."""
    near = nearest(name, known)
    return f'; did you mean "{escaped(near)}"?' if near else ""


def present() -> datetime.datetime:
    """Returns the present moment, in UTC."""
    return datetime.datetime.now(datetime.UTC)
