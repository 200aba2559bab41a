"""Groups of commands that import a command when it is called, and list them without."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import click

from sloth_runner.cli.lean import lean
from sloth_runner.cli.settings import global_options


class Entry(NamedTuple):
    """A command of a group: "MODULE:NAME" or a group itself, and its line in the help."""

    where: "str | click.Command"
    help: str


class Command(click.Command):
    """A command that also takes the global options, after its name."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        rest["params"] = [*(rest.get("params") or []), *global_options(hidden=True)]
        super().__init__(*args, **rest)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Says which options every command takes."""
        super().format_epilog(context, formatter)
        with formatter.section("Everywhere"):
            formatter.write_text(
                "--db PATH  --json  -q  -v  --color WHEN  --no-input  -y  (see sloth-runner --help)"
            )


class Group(click.Group):
    """A group whose commands are named by where they are."""

    def __init__(
        self,
        name: str,
        *,
        entries: Mapping[str, Entry],
        params: "Sequence[click.Parameter] | None" = None,
        **rest: Any,
    ) -> None:
        own = list(params) if params is not None else global_options(hidden=True)
        super().__init__(name, params=own, **rest)
        self._entries = entries

    def list_commands(self, context: click.Context) -> list[str]:
        """Returns the names in the order in which they are worth reading."""
        return list(self._entries)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Returns a command, importing its module now."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if isinstance(entry.where, click.Command):
            return entry.where
        module, _, attribute = entry.where.partition(":")
        with lean():
            return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, or says which one may have been meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self._entries:
            from sloth_runner.core.nearest import nearest

            near = nearest(name, self._entries, cutoff=0.5)
            advice = f"; did you mean {near!r}?" if near else ""
            raise click.UsageError(f"there is no command {name!r}{advice}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands from the entries alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self._entries.items()])
