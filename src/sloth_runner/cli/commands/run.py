"""``sloth-runner run``."""

from typing import Any

import click

from sloth_runner.cli import workflow
from sloth_runner.cli.durations import DURATION
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.options import options


@click.command("run", cls=Command)
@click.argument("what", metavar="FILE | STACK", required=False)
@options
@click.option("--wait", type=DURATION, default=0.0, help="Wait that long for the stack's lock.")
@click.pass_context
def command(context: click.Context, /, what: str | None, **given: Any) -> int:
    """Make this machine match a workflow.

    \b
    sloth-runner run site.lua            the stack that site.lua names
    sloth-runner run web -f site.lua     the stack "web"
    sloth-runner run web                 the workflow that "web" had last

    At a terminal it shows the plan, asks, and applies exactly that. With --yes it applies at
    once. A second run with nothing to do says so in one line.
    """
    return workflow.carry_out(context, what, given, mode="apply")
