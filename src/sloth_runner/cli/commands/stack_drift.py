"""``sloth-runner stack drift`` and ``stack accept``: the record against the machines."""

import asyncio
import fnmatch
import shlex
import sys
import time
from collections.abc import Sequence

import click

from sloth_runner.cli.durations import DURATION
from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import present, record, the_stack
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.view import view_of
from sloth_runner.cli.workflow import loaded
from sloth_runner.core.errors import UsageError
from sloth_runner.core.events import Event, ResourceDrift, StreamStart, Summary
from sloth_runner.core.record import ResourceRow
from sloth_runner.engine.diagnostics import diagnose
from sloth_runner.engine.drift import Drift, DriftReport, named
from sloth_runner.engine.interrupts import Interrupts
from sloth_runner.engine.workshop import Settings as Looking
from sloth_runner.lua.templates import render
from sloth_runner.state.store import Store
from sloth_runner.views.drift import DriftText, Found
from sloth_runner.views.moments import ago
from sloth_runner.views.text import line
from sloth_runner.views.words import duration

CHANGES = 3
_SILENT = (StreamStart, ResourceDrift, Summary)
"""Events that the drift text says better."""


@click.command("drift", cls=Command)
@click.argument("name")
@click.option("--fix", is_flag=True, help="Put back what drifted.")
@click.option("--wait", type=DURATION, default=0.0, help="Wait that long for the stack's lock.")
@click.option("--rehash", is_flag=True, help="Read every file again, whatever its times say.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 3 when there is drift.")
@click.pass_context
def drift(
    context: click.Context, name: str, fix: bool, wait: float, rehash: bool, detailed_exitcode: bool
) -> int:
    """Look at everything that is recorded, and say what differs. Changes nothing without --fix."""
    settings = Settings.of(context)
    pages = Pages(settings)
    with record(settings) as journal:
        journal.look(lambda store: the_stack(store, name, settings))
    view = view_of(settings, pages, stream=False)

    def publish(event: Event) -> None:
        if not isinstance(event, _SILENT) and not settings.json:
            view(event)

    looking = Looking(db=settings.database, render=render, rehash=rehash)
    began = time.monotonic()
    checking = Drift(looking, name, publish=publish, argv=_argv(), load=loaded, on_stop=Interrupts)
    report = asyncio.run(checking.check(fix=fix, wait=wait))
    view.close()
    _write(pages, report, time.monotonic() - began, fixed=fix)
    return _exit_code(report, detailed=detailed_exitcode)


def _write(pages: Pages, report: DriftReport, seconds: float, *, fixed: bool) -> None:
    if pages.settings.json:
        pages.json(report.as_value())
    elif not (pages.settings.quiet and _clean(report)):
        found = Found(
            stack=report.stack,
            checked=report.checked,
            seconds=seconds,
            drifted=report.drifted,
            missing=report.missing,
            unreachable=report.unreachable,
            unchecked=[(one.address, one.reason) for one in report.unchecked if not one.failed],
            unseen=[(one.address, one.reason) for one in report.unchecked if one.failed],
            repaired=report.repaired,
            fixed=fixed,
            failed=len(report.failed),
        )
        now = present()
        text = DriftText(look=pages.look, since=lambda at: ago(at, now), duration=duration)
        pages.out(*text.lines(found))
    for error in report.failed:
        pages.talk(*pages.report().one(diagnose(error)))


def _clean(report: DriftReport) -> bool:
    return not (report.drifted or report.missing or report.unreachable or report.failures)


def _exit_code(report: DriftReport, *, detailed: bool) -> int:
    if report.failures:
        return 1
    if report.unreachable:
        return 4
    left = len(report.drifted) + len(report.missing) - len(report.repaired)
    return CHANGES if detailed and (left or report.repaired) else 0


@click.command("accept", cls=Command)
@click.argument("name")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--wait", type=DURATION, default=0.0, help="Wait that long for the stack's lock.")
@click.pass_context
def accept(context: click.Context, name: str, addresses: tuple[str, ...], wait: float) -> None:
    """Take what is on the machines into the record, for ADDRESS... (* and ? match what drifted).

    The next run puts back what the workflow says, so change the workflow as well.
    """
    settings = Settings.of(context)
    pages = Pages(settings)

    def read(store: Store) -> list[ResourceRow]:
        return store.resources(the_stack(store, name, settings).id)

    with record(settings) as journal:
        rows = journal.look(read)
    chosen = [one for written in addresses for one in _matching(written, rows, name)]
    looking = Looking(db=settings.database, render=render)
    checking = Drift(looking, name, publish=lambda _: None, argv=_argv(), load=loaded)
    accepted = asyncio.run(checking.accept(list(dict.fromkeys(chosen)), wait=wait))
    if settings.json:
        pages.json([str(address) for address in accepted])
        return
    for address in accepted:
        pages.out(line(f"accepted {address}"))


def _argv() -> str:
    return shlex.join(("sloth-runner", *sys.argv[1:]))


def _matching(written: str, rows: Sequence[ResourceRow], stack: str) -> list[str]:
    """Returns the addresses that ``written`` means; a pattern means drifted ones only."""
    known = {str(row.address) for row in rows}
    if written in known or not any(sign in written for sign in "*?"):
        return [str(named(rows, written, stack).address)]
    drifted = [str(row.address) for row in rows if row.state == "drift" and not row.registered]
    found = [address for address in drifted if fnmatch.fnmatchcase(address, written)]
    if not found:
        raise UsageError(
            f"nothing that drifted matches {written!r}",
            hint="sloth-runner stack drift NAME looks again and lists what does",
        )
    return found
