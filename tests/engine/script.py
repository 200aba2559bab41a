"""Programs in Python: the engine's other side of the border, so that no Lua is needed here."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sloth_runner.core.errors import Location, LuaFailure, SlothError, UsageError
from sloth_runner.core.events import Event, ResourceEnd, Summary
from sloth_runner.core.record import Operation, ResourceRow
from sloth_runner.core.values import Value
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.program import (
    MAIN,
    Answer,
    Context,
    RunSpec,
    TaskResult,
    TaskSpec,
    Unpredictable,
    WorkflowSpec,
)
from sloth_runner.engine.session import Hooks, execute
from sloth_runner.state.journal import Journal


class Ctx:
    """What the function of a task is given: ``await ctx("file_ops.content", path=..., ...)``."""

    def __init__(self, context: Context, program: "Script") -> None:
        self.context = context
        self.attempt = context.attempt
        self._program = program

    async def __call__(self, function: str, *arguments: Value, **table: Value) -> Any:
        answer = await self.answer(function, *arguments, **table)
        return answer.value

    async def answer(self, function: str, *arguments: Value, **table: Value) -> Answer:
        frame = sys._getframe(1)
        if frame.f_code.co_name == "__call__":
            frame = frame.f_back or frame
        self._program.calls += 1
        given = [*arguments, *([table] if table or not arguments else [])]
        return await self.context.call(
            function, given, Location(self._program.file, frame.f_lineno)
        )


Body = Callable[[Ctx], Awaitable[Any]]


class Script:
    """A program whose tasks are Python coroutines (``engine.program.Program``)."""

    def __init__(
        self,
        file: str,
        tasks: Sequence[tuple[TaskSpec, Body]],
        main: Body | None,
        rescues: Mapping[str, Body],
    ) -> None:
        self.file = file
        self.workflow = WorkflowSpec()
        self.calls = 0
        self._main = main
        self._rescues = rescues
        self._bodies = {task.name: body for task, body in tasks}
        self._tasks = [task for task, _ in tasks]
        self._declared: list[TaskSpec] = []

    @property
    def tasks(self) -> Sequence[TaskSpec]:
        return self._declared

    async def main(self, context: Context) -> TaskResult:
        self._declared = self._tasks
        return TaskResult() if self._main is None else await self._run(self._main, context)

    async def run(self, task: str, context: Context) -> TaskResult:
        return await self._run(self._bodies[task], context)

    async def rescue(self, task: str, context: Context, error: SlothError) -> None:
        await self._run(self._rescues[task], context)

    async def _run(self, body: Body, context: Context) -> TaskResult:
        try:
            value = await body(Ctx(context, self))
        except Failure as failure:
            raise LuaFailure(str(failure)) from None
        except Unpredictable as unknown:
            return TaskResult(unpredicted=str(unknown))
        return value if isinstance(value, TaskResult) else TaskResult(value=value)

    async def invoke(self, function: Value, arguments: Sequence[Value], context: Context) -> Value:
        raise UsageError("these programs pass no functions")

    def written(self, path: str) -> str | None:
        raise LookupError(path)

    def flush(self) -> None:
        """Does nothing: these programs write no files themselves."""

    def interrupt(self) -> None:
        """Does nothing: Python code here never runs for long between two awaits."""

    def close(self) -> None:
        """Does nothing: there is nothing left."""


class Failure(Exception):
    """What a task of a test raises to fail, as ``error(...)`` in Lua."""


@dataclasses.dataclass(frozen=True)
class Ran:
    """A finished run or plan: its summary, or the error that it did not begin with."""

    summary: Summary
    events: list[Event]

    def ends(self, outcome: str | None = None) -> list[str]:
        """Returns ``TYPE:NAME`` of everything that ended with ``outcome`` (any, if None)."""
        return [
            event.res or ""
            for event in self.events
            if isinstance(event, ResourceEnd) and outcome in (None, event.outcome)
        ]

    def of(self, kind: type[Event]) -> list[Any]:
        """Returns the events of one type."""
        return [event for event in self.events if isinstance(event, kind)]

    def counts(self) -> dict[str, int]:
        """Returns the outcomes that happened."""
        names = "created changed unchanged removed ran failed unknown carried blocked skipped"
        found = {name: getattr(self.summary, name) for name in names.split()}
        return {name: count for name, count in found.items() if count}


class Deployment:
    """A folder with a database and a workflow of Python tasks, run as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = str(folder / "record" / "stacks.db")
        self.here = folder / "here"
        self.here.mkdir()
        self.file = folder / "deploy.lua"
        self.file.write_text("-- the tasks are written in Python\n")
        self._tasks: list[tuple[TaskSpec, Body]] = []
        self._rescues: dict[str, Body] = {}
        self._main: Body | None = None
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, reader: Callable[[Event], None]) -> None:
        """Adds a reader of the events of later runs."""
        self._listeners.append(reader)

    def task(
        self, name: str, body: Body, *needs: str, rescue: Body | None = None, **rest: Any
    ) -> None:
        """Declares a task, or declares it anew; ``rescue`` is what it does once it has failed."""
        if rescue is not None:
            self._rescues[name] = rescue
            rest["on_failure"] = True
        self._tasks = [known for known in self._tasks if known[0].name != name]
        location = Location(str(self.file), len(self._tasks) + 1)
        spec = TaskSpec(name=name, depends_on=needs, location=location, **rest)
        self._tasks.append((spec, body))

    def drop(self, name: str) -> None:
        """Takes a task out of the workflow."""
        self._tasks = [known for known in self._tasks if known[0].name != name]

    def body(self, body: Body | None) -> None:
        """Sets the body of the file."""
        self._main = body

    def run(self, **given: Any) -> Ran:
        """Applies the workflow."""
        return self._execute("apply", given)

    def plan(self, **given: Any) -> Ran:
        """Previews it."""
        return self._execute("plan", given)

    def confirmed(self, confirm: Callable[[Plan], bool], **given: Any) -> Ran:
        """Applies it bound to the plan that ``confirm`` is shown."""
        return self._execute("apply", given, confirm)

    def _execute(
        self, mode: str, given: dict[str, Any], confirm: Callable[[Plan], bool] | None = None
    ) -> Ran:
        events: list[Event] = []

        def publish(event: Event) -> None:
            events.append(event)
            for reader in self._listeners:
                reader(event)

        spec = RunSpec(file=str(self.file), db=self.db, mode=mode, **given)
        hooks = Hooks(
            load=lambda asked: Script(asked.file, list(self._tasks), self._main, self._rescues),
            render=_no_templates,
            publish=publish,
            confirm=confirm,
        )
        summary = asyncio.run(execute(spec, "web", hooks))
        return Ran(summary, events)

    def rows(self) -> dict[str, ResourceRow]:
        """Returns the recorded resources by ``TYPE:NAME``; registered ones with a leading "+"."""
        return {
            ("+" if row.registered else "") + str(row.address).partition("/")[2]: row
            for row in self._read(lambda store, stack: store.resources(stack.id))
        }

    def open_operations(self) -> Sequence[Operation]:
        """Returns the intents without a result."""
        found: Sequence[Operation] = self._read(
            lambda store, stack: store.open_operations(stack.id)
        )
        return found

    def stored(self) -> list[Mapping[str, Value]]:
        """Returns the stored events of all runs, as their JSON objects."""
        return [
            event.data
            for run in reversed(self._read(lambda store, stack: store.runs(stack.id)))
            for event in self._read(lambda store, _, r=run: store.events(r.id))
        ]

    def _read(self, question: Callable[..., Any]) -> Any:
        journal = Journal.open(self.db, create=False)
        try:
            return journal.call(lambda store: question(store, store.stack("web")))
        finally:
            journal.close()

    def bytes_kept(self) -> bytes:
        """Returns everything that lies below the folder of the database, one after the other."""
        top = Path(self.db).parent
        return b"\0".join(p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file())

    def path(self, name: str) -> str:
        """Returns the path of something in the folder that is managed."""
        return str(self.here / name)

    def fault(self, name: str, word: str | None) -> None:
        """Tells the cell ``name`` how to misbehave, or (None) to behave."""
        place = self.here / f"{name}.fault"
        place.unlink(missing_ok=True)
        if word is not None:
            place.write_text(word)

    def log(self, name: str) -> list[str]:
        """Returns what was done to the cell ``name``, in order."""
        place = self.here / f"{name}.log"
        return place.read_text().splitlines() if place.exists() else []

    def cell(self, name: str) -> dict[str, Any] | None:
        """Returns what stands in the cell ``name`` on the disk."""
        place = self.here / name
        found: dict[str, Any] | None = json.loads(place.read_text()) if place.exists() else None
        return found

    def put(self, name: str, **state: str) -> None:
        """Writes a cell by hand."""
        (self.here / name).write_text(json.dumps(state))


def _no_templates(text: str, variables: Mapping[str, Value], name: str) -> str:
    return text


__all__ = ["MAIN", "Answer", "Ctx", "Deployment", "Failure", "Ran", "Script"]
