"""``sloth-runner version``."""

import platform

import click

from sloth_runner import __version__
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.settings import Settings
from sloth_runner.views.text import line


@click.command("version", cls=Command)
@click.pass_context
def command(context: click.Context) -> None:
    """Show the version of sloth-runner and of the Python that it runs on."""
    pages = Pages(Settings.of(context))
    if pages.settings.json:
        pages.json({"version": __version__, "python": platform.python_version()})
    else:
        pages.out(line(f"sloth-runner {__version__} (Python {platform.python_version()})"))
