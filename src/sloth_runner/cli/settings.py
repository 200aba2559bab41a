"""The global options, the same before and after a command, and what follows from them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Settings:
    """What the global options say; filled while the command line is read, then only read."""

    def __init__(self, db: str | None = None) -> None:
        self.db = db
        self.json = False
        self.quiet = False
        self.verbose = False
        self.color = "auto"
        self.no_input = False
        self.yes = False

    @property
    def database(self) -> str:
        """The absolute path of the record."""
        from sloth_runner.state.database import default_path

        chosen = self.db or default_path(os.environ, os.geteuid() == 0, str(Path.home()))
        return str(Path(chosen).expanduser().absolute())

    @property
    def why_not_ask(self) -> str:
        """Why there is no person to answer a question; "" where there is one."""
        if self.no_input:
            return "--no-input says that nobody is asked"
        if self.json:
            return "with --json nobody is asked"
        if os.environ.get("CI"):
            return "CI is set, so nobody is asked"
        asked = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
        return "" if asked else "there is no terminal to ask at"

    @property
    def watched(self) -> bool:
        """Whether a person sees the output as it comes."""
        dumb = os.environ.get("TERM", "dumb") == "dumb" or bool(os.environ.get("CI"))
        return not dumb and sys.stdout.isatty() and sys.stderr.isatty()

    @classmethod
    def of(cls, context: click.Context) -> "Settings":
        """Returns the settings of a command that is being called."""
        found = context.find_object(cls)
        if found is None:
            found = context.obj = cls()
        return found


Callback = Callable[[click.Context, click.Parameter, Any], Any]


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """Returns new option objects for one command; the value given last wins."""
    return [
        _option("--db", "db", hidden, metavar="PATH", help="The record to use."),
        _option("--json", "json", hidden, is_flag=True, help="Write JSON to standard output."),
        _option("-q", "--quiet", "quiet", hidden, is_flag=True, help="Only changes and failures."),
        _option("-v", "--verbose", "verbose", hidden, is_flag=True, help="Everything."),
        _option(
            "--color",
            "color",
            hidden,
            type=click.Choice(["auto", "always", "never"]),
            help="When to use colour.",
        ),
        _option("--no-input", "no_input", hidden, is_flag=True, help="Never ask."),
        _option("-y", "--yes", "yes", hidden, is_flag=True, help="Answer yes."),
    ]


def _option(*names: Any, **rest: Any) -> click.Option:
    *flags, field, hidden = names
    return click.Option(
        flags, expose_value=False, hidden=hidden, callback=_remembering(field), **rest
    )


def _remembering(field: str) -> Callback:
    def remember(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(Settings.of(context), field, value)

    return remember
