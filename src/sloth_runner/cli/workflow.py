"""Between the command line and the engine: which file and stack are meant, and carrying it out."""

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct, field

from sloth_runner.cli.asking import Interruption, asked
from sloth_runner.cli.failing import report
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.records import meant, no_stack, record_if_any
from sloth_runner.cli.settings import Settings
from sloth_runner.cli.view import Lasting, View, view_of
from sloth_runner.core.errors import Cancelled, SlothError, TimedOut, UsageError
from sloth_runner.core.events import Diagnostic, Event, Summary, Warned
from sloth_runner.core.values import Value
from sloth_runner.engine.diagnostics import diagnose
from sloth_runner.engine.interrupts import Interrupts
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.program import Program, RunSpec
from sloth_runner.engine.session import Hooks, execute

CHANGES = 3
_TOUCHED = ("created", "changed", "removed", "ran", "written", "carried")
_HELP = (
    " y  apply exactly this plan, and the tasks that it could not predict\n"
    " n  change nothing (Enter does the same)\n"
    " d  show the plan with every line of every text change"
)


class Target(Struct, frozen=True, kw_only=True):
    """Which workflow, by absolute path, and the stack that it belongs to.

    ``named`` says that a person named the stack; otherwise the workflow does.
    """

    file: str
    stack: str
    named: bool = True
    values: Mapping[str, Value] = field(default_factory=dict)


def target(argument: str | None, file: str | None, settings: Settings) -> Target:
    """Returns what ``run ARGUMENT -f FILE`` means.

    With a file as -f the argument is a stack; otherwise it is a file, or a stack whose
    last workflow is taken again.
    """
    if file is not None:
        path = _readable(file)
        return Target(file=path, stack=argument or _own_name(path), named=argument is not None)
    if argument is None:
        raise UsageError("name a workflow", hint="sloth-runner run FILE.lua")
    if Path(argument).is_file():
        path = _readable(argument)
        return Target(file=path, stack=_own_name(path), named=False)
    return _recorded(argument, settings)


def _recorded(name: str, settings: Settings) -> Target:
    with record_if_any(settings) as journal:
        stacks = [] if journal is None else journal.look(lambda store: store.stacks())
    stack = next((stack for stack in stacks if stack.name == name), None)
    if stack is None:
        raise _nothing(name, [stack.name for stack in stacks], settings)
    if stack.workflow is None:
        raise UsageError(
            f'stack "{name}" has no workflow yet',
            hint=f"sloth-runner run {shlex.quote(name)} -f FILE.lua",
        )
    if not Path(stack.workflow).is_file():
        raise UsageError(
            f'the workflow of stack "{name}" was {stack.workflow}, which is not there any more',
            hint=f"sloth-runner run {shlex.quote(name)} -f FILE.lua",
        )
    return Target(file=stack.workflow, stack=name)


def _nothing(name: str, stacks: Sequence[str], settings: Settings) -> UsageError:
    if not (os.sep in name or name.endswith((".lua", ".sloth"))):
        error = no_stack(name, stacks, settings)
        return UsageError(
            f'there is no file "{name}", and no stack of that name{meant(name, stacks)}',
            hint=f"sloth-runner run {shlex.quote(name)} -f FILE.lua makes the stack; {error.hint}",
        )
    folder = Path(name).parent
    near = ""
    if folder.is_dir():
        near = meant(Path(name).name, (p.name for p in folder.iterdir() if p.is_file()))
    return UsageError(f'there is no file "{name}"{near}')


def _readable(file: str) -> str:
    path = Path(file).absolute()
    try:
        with path.open("rb"):
            return os.path.normpath(path)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def _own_name(path: str) -> str:
    source = Path(path).read_bytes()
    if b"workflow" not in source:  # then there is nothing that the parser has to be loaded for
        return Path(path).stem
    from sloth_runner.lua.syntax import workflow_name

    return workflow_name(source) or Path(path).stem


def values_of(files: Sequence[str], pairs: Sequence[str]) -> dict[str, Value]:
    """Returns the values for a workflow: files in order, then single ones, the last winning."""
    given: dict[str, Value] = {}
    for file in files:
        given.update(_values_file(file))
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, not {pair!r}")
        given[key] = value
    return given


def _values_file(file: str) -> dict[str, Value]:
    from sloth_runner.lua.yamls import load

    try:
        found = load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except RecursionError:
        raise UsageError(f"{file} holds no values: it is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{file} holds no values: {error}") from None
    found = {} if found is None else found
    if not isinstance(found, dict):
        raise UsageError(f"{file} must hold names with values")
    return found


def spec_of(found: Target, settings: Settings, *, mode: str, given: Mapping[str, Any]) -> RunSpec:
    """Returns what the engine is asked to do; ``given`` are the options of the command."""
    tags = tuple(tag.strip() for tag in (given["tags"] or "").split(",") if tag.strip())
    inventory = given["inventory"]
    return RunSpec(
        file=found.file,
        db=settings.database,
        mode=mode,
        stack=found.stack if found.named else None,
        values=values_of(given["values_files"], given["settings_"]),
        tasks=tuple(given["tasks"]),
        tags=tags,
        hosts=tuple(given["hosts"]),
        inventory=None if inventory is None else str(Path(inventory).absolute()),
        parallel=given["parallel"],
        timeout=given["timeout"],
        wait=given.get("wait") or 0.0,
        max_age=given["max_age"],
        rehash=given["rehash"],
        max_preimage=given["max_preimage"],
        argv=_told(sys.argv),
    )


def _told(argv: Sequence[str]) -> tuple[str, ...]:
    """Returns the command line for the record: values of --set may be secrets, so they go."""
    told: list[str] = []
    hide = False
    for word in ("sloth-runner", *argv[1:]):
        if hide:
            told.append(f"{word.partition('=')[0]}=…")
        elif word.startswith("--set="):
            told.append(f"{'='.join(word.split('=')[:2])}=…")
        else:
            told.append(word)
        hide = word == "--set"
    return tuple(told)


def loaded(spec: RunSpec) -> Program:
    """Returns the program of a file, not yet run."""
    from sloth_runner.lua.program import LuaProgram

    return LuaProgram.load(spec.file, mode=spec.mode, seed=spec.seed, clock=spec.clock)


class Carried:
    """Carries out a run or a plan and tells a view; answers with the exit code."""

    def __init__(self, settings: Settings, folder: str, *, ask: bool, detailed: bool) -> None:
        self._output = Lasting()
        self._view: View = view_of(settings, Pages(settings), folder=folder, output=self._output)
        self._settings = settings
        self._ask = ask
        self._detailed = detailed
        self._interruption = Interruption()
        self._asking = self._idle = False
        self._told: set[tuple[str, str]] = set()
        self._ended: Summary | None = None

    def out(self, spec: RunSpec, stack: str) -> int:
        """Carries out ``spec`` on ``stack`` and returns the exit code."""
        try:
            asyncio.run(execute(spec, stack, self._hooks()))
        except asyncio.CancelledError:
            self._failed(Cancelled("stopped before anything began"))
        except SlothError as error:
            self._failed(error)
        finally:
            self._view.close()
            self._interruption.close()
        code = 0 if self._ended is None else self._ended.exit
        if self._output.lost is not None and code == 0:
            report(self._output.lost, self._settings)  # not as an event: nobody would see it
            return self._output.lost.exit_code
        return code

    def _hooks(self) -> Hooks:
        from sloth_runner.lua.templates import render

        return Hooks(
            load=loaded,
            render=render,
            publish=self._publish,
            confirm=self._confirm if self._ask else None,
            on_stop=self._on_stop,
            abandon=_abandon,
        )

    def _publish(self, event: Event) -> None:
        if isinstance(event, Diagnostic):
            self._told.add((event.code, event.detail))
        if isinstance(event, Summary):
            event = self._ended = self._judged(event)
        if self._idle and isinstance(event, Warned):
            return  # while it asks, nothing runs that could be finished first
        self._view(event)

    def _judged(self, summary: Summary) -> Summary:
        """Returns the summary with the exit code that --detailed-exitcode gives it."""
        touched = any(getattr(summary, name) for name in _TOUCHED) or summary.unknown
        if self._detailed and summary.exit == 0 and touched:
            return msgspec.structs.replace(summary, exit=CHANGES)
        return summary

    def _failed(self, error: SlothError) -> None:
        """Tells of an error that ended everything, and ends the stream as always."""
        if (error.code, error.detail) not in self._told:
            self._publish(diagnose(error))
        if self._ended is None:
            result = {8: "cancelled", 9: "timeout"}.get(error.exit_code, "failed")
            self._publish(
                Summary(msg=str(error), level="error", exit=error.exit_code, result=result)
            )

    def _confirm(self, plan: Plan) -> bool:
        events = [*plan.shown, *plan.told]
        self._view.show_plan(events)
        self._asking = True
        try:
            return asked(
                " Apply this plan?",
                details=lambda: self._view.show_plan(events, details=True),
                help_text=_HELP,
                interruption=self._interruption,
            )
        finally:
            self._asking = False

    def _on_stop(self, stop: Callable[[str], None]) -> AbstractContextManager[object]:
        def first(reason: str) -> None:
            self._idle = self._asking
            self._interruption.set()
            stop(reason)

        return Interrupts(first)


def _abandon() -> None:
    """Ends the process where the run hangs in what cannot be interrupted: as safe as a kill."""
    sys.stderr.write(
        "error: the run did not end in its time, and hangs in something that cannot be stopped.\n"
        " What is recorded is safe; the next run goes on from here.\n"
    )
    sys.stderr.flush()
    os._exit(TimedOut.exit_code)


def carry_out(
    context: click.Context, argument: str | None, given: Mapping[str, Any], *, mode: str
) -> int:
    """Does what ``run`` and ``plan`` share; returns the exit code."""
    settings = Settings.of(context)
    if settings.json:
        return _carry_out_json(settings, argument, given, mode=mode)
    return _carry_out(settings, argument, given, mode=mode)


def _carry_out(
    settings: Settings, argument: str | None, given: Mapping[str, Any], *, mode: str
) -> int:
    found = target(argument, given["file"], settings)
    spec = spec_of(found, settings, mode=mode, given=given)
    ask = mode == "apply" and not settings.yes
    if ask and settings.why_not_ask:
        raise UsageError(
            f"{settings.why_not_ask}, and there is no --yes",
            hint=f"nothing was changed; add --yes, or look first: "
            f"sloth-runner plan {shlex.quote(argument or '')}",
        )
    carried = Carried(
        settings, str(Path(found.file).parent), ask=ask, detailed=given["detailed_exitcode"]
    )
    return carried.out(spec, found.stack)


def _carry_out_json(
    settings: Settings, argument: str | None, given: Mapping[str, Any], *, mode: str
) -> int:
    """Does the same where even a wrong file name must end in a summary line."""
    try:
        return _carry_out(settings, argument, given, mode=mode)
    except SlothError as error:
        view = view_of(settings, Pages(settings))
        view(diagnose(error))
        view(Summary(msg=str(error), level="error", exit=error.exit_code, result="failed"))
        return error.exit_code
