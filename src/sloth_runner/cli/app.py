"""The tree of commands. A command's module is imported when it is called, not before."""

import os
import sys
from collections.abc import Iterator, Sequence

import click

from sloth_runner.cli.failing import explained
from sloth_runner.cli.lazy import Entry, Group
from sloth_runner.cli.settings import Settings, global_options
from sloth_runner.cli.streams import writing

_HERE = "sloth_runner.cli.commands"

_STACK = Group(
    "stack",
    help="Look after stacks: what is recorded, whether it drifted, and where it came from.",
    entries={
        "new": Entry(f"{_HERE}.stack_admin:new", "Make an empty stack."),
        "list": Entry(f"{_HERE}.stack_list:command", "List all stacks."),
        "show": Entry(f"{_HERE}.stack_show:command", "Show everything about one stack."),
        "delete": Entry(f"{_HERE}.stack_admin:delete", "Forget a stack; what it manages stays."),
        "resources": Entry(f"{_HERE}.stack_resources:command", "List what a stack manages."),
        "drift": Entry(f"{_HERE}.stack_drift:drift", "Compare the record with the machines."),
        "accept": Entry(f"{_HERE}.stack_drift:accept", "Take actual values into the record."),
        "history": Entry(f"{_HERE}.stack_history:command", "List the runs, or show one in full."),
        "outputs": Entry(f"{_HERE}.stack_outputs:command", "Show the outputs of a stack."),
        "export": Entry(f"{_HERE}.stack_transfer:export", "Write a stack as one JSON document."),
        "import": Entry(f"{_HERE}.stack_transfer:import_", "Take an exported stack back."),
    },
)

_STATE = Group(
    "state",
    help="Keys and values that last, shared with `state.*` in workflows.",
    entries={
        "set": Entry(f"{_HERE}.state:set_", "Set a key."),
        "get": Entry(f"{_HERE}.state:get", "Print the value of a key."),
        "list": Entry(f"{_HERE}.state:list_", "List keys and values."),
        "delete": Entry(f"{_HERE}.state:delete", "Delete a key."),
        "stats": Entry(f"{_HERE}.state:stats", "Count what is stored."),
    },
)

ROOT = Group(
    "sloth-runner",
    help=(
        "Lua workflows that make machines match, record what they manage, "
        "and notice when it changes."
    ),
    entries={
        "run": Entry(f"{_HERE}.run:command", "Apply a workflow; asks first on a terminal."),
        "plan": Entry(f"{_HERE}.plan:command", "Show what a run would do; changes nothing."),
        "validate": Entry(f"{_HERE}.validate:command", "Check workflows without running them."),
        "stack": Entry(_STACK, "List, show, check and export stacks."),
        "state": Entry(_STATE, "Set and get keys and values."),
        "init": Entry(f"{_HERE}.init:command", "Write a first workflow to start from."),
        "version": Entry(f"{_HERE}.version:command", "Show the version."),
    },
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda context, _, value: _version(context, value),
            help="Show the version and exit.",
        ),
        *global_options(hidden=False),
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 ok · 1 something failed · 2 wrong input, nothing touched · 3 changes or "
        "drift (only with --detailed-exitcode) · 4 unreachable · 5 locked · 6 record damaged or "
        "newer · 7 plan stale · 8 cancelled · 9 timeout · 70 our bug"
    ),
)


LONG = {"-q": "--quiet", "-v": "--verbose", "-y": "--yes", "-f": "--file", "-h": "--help"}
"""The long names of the short options."""


def spelled_out(argv: Sequence[str]) -> Iterator[str]:
    """Yields the arguments with the long names of options.

    click looks for each short one among the long ones first, and where it is not among them it
    loads all that it takes to find out what may have been meant: a hundredth of a run.
    """
    words = iter(argv)
    for word in words:
        yield LONG.get(word, word)
        if word == "--":
            break
    yield from words


def call(argv: Sequence[str]) -> int:
    """Runs the command that ``argv`` names and returns its exit code; raises nothing."""
    _writable_streams()
    settings = Settings()
    try:
        result = ROOT.main(
            args=list(spelled_out(argv)),
            prog_name="sloth-runner",
            standalone_mode=False,
            obj=settings,
        )
        with writing(sys.stdout):
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BaseException as error:  # the one place that turns everything into an exit code
        return explained(error, settings, argv)


def _version(context: click.Context, value: bool) -> None:
    if value:
        from sloth_runner import __version__

        click.echo(f"sloth-runner {__version__}")
        context.exit()


def _writable_streams() -> None:
    """Lets every text be written, whatever the locale can spell."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None or sys.stderr is None:  # started with a closed descriptor
        null = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the life of the process
        sys.stdout, sys.stderr = sys.stdout or null, sys.stderr or null
