"""``sloth-runner plan``."""

from typing import Any

import click

from sloth_runner.cli import workflow
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.options import options


@click.command("plan", cls=Command)
@click.argument("what", metavar="FILE | STACK", required=False)
@options
@click.pass_context
def command(context: click.Context, /, what: str | None, **given: Any) -> int:
    """Show what a run would do, property by property. Changes nothing, anywhere.

    What cannot be known before it is done is marked as such and never guessed.
    """
    return workflow.carry_out(context, what, given, mode="plan")
