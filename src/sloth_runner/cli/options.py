"""The options that commands which carry out a workflow have in common."""

from collections.abc import Callable
from typing import Any

import click

from sloth_runner.cli.counts import COUNT
from sloth_runner.cli.durations import DURATION
from sloth_runner.cli.sizes import SIZE


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that ``run`` and ``plan`` have in common."""
    for option in reversed(
        (
            click.option("-f", "--file", "file", metavar="FILE", help="The workflow of a STACK."),
            click.option(
                "--values",
                "values_files",
                multiple=True,
                metavar="FILE",
                help="Values for the workflow, YAML or JSON.",
            ),
            click.option(
                "--set",
                "settings_",
                multiple=True,
                metavar="KEY=VALUE",
                help="One value for the workflow, as text.",
            ),
            click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only this task."),
            click.option("--tags", metavar="A,B", help="Only tasks with one of these tags."),
            click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this host."),
            click.option("--inventory", metavar="FILE", help="Where hosts are described."),
            click.option(
                "--parallel",
                type=COUNT,
                default=8,
                show_default=True,
                help="Tasks at the same time.",
            ),
            click.option("--timeout", type=DURATION, help="Give up after that long."),
            click.option(
                "--max-age",
                type=DURATION,
                default=5.0,
                help="How old an observation may be (5s).",
            ),
            click.option("--rehash", is_flag=True, help="Read every file again."),
            click.option(
                "--max-preimage",
                type=SIZE,
                default="64M",
                show_default=True,
                help="Largest file that is kept for undo.",
            ),
            click.option(
                "--detailed-exitcode", is_flag=True, help="Exit 3 when there are changes."
            ),
        )
    ):
        function = option(function)
    return function
