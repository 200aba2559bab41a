"""Runs the tasks of a workflow: side by side where their dependencies allow it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from msgspec import Struct, field

from sloth_runner.core.address import LOCAL
from sloth_runner.core.errors import (
    Cancelled,
    Location,
    PlanStale,
    SlothError,
    TaskTimedOut,
    WorkflowError,
)
from sloth_runner.core.events import Event, ProgramLoaded, TaskEnd, TaskStart, Warned
from sloth_runner.core.values import Value
from sloth_runner.engine.calls import Calls, TaskContext
from sloth_runner.engine.context import Counts
from sloth_runner.engine.diagnostics import diagnose
from sloth_runner.engine.graph import Graph, closed
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.program import MAIN, Program, RunSpec, TaskResult, TaskSpec
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.registrations import Registrations
from sloth_runner.engine.stopping import Stop

T = TypeVar("T")


class Ended(Struct, kw_only=True):
    """How the tasks of a run ended: outcomes by task, and the errors that made them fail."""

    outcomes: dict[str, str] = field(default_factory=dict)
    errors: list[SlothError] = field(default_factory=list)
    results: dict[str, Value] = field(default_factory=dict)
    complete: bool = True

    def succeeded(self, task: str) -> bool:
        """Whether a task, or the ``when`` that skipped it, came to its end."""
        return self.outcomes.get(task) in ("ok", "skipped")


class Scheduler:
    """Runs ``main``, checks the graph, then runs the declared tasks."""

    def __init__(
        self,
        *,
        spec: RunSpec,
        program: Program,
        calls: Calls,
        recorder: Recorder,
        registrations: Registrations,
        counts: Counts,
        stop: Stop,
        preview: Plan | None,
        on_loaded: Callable[[Graph], None],
    ) -> None:
        self._spec = spec
        self._program = program
        self._calls = calls
        self._recorder = recorder
        self._registrations = registrations
        self._counts = counts
        self._stop = stop
        self._preview = preview
        self._on_loaded = on_loaded
        self._running: set[asyncio.Task[None]] = set()
        self._begun: list[str] = []
        self.ended = Ended()
        self.graph = Graph([])

    async def run(self) -> Ended:
        """Runs everything that was asked for; failures are in the result, not raised.

        Raises WorkflowError or UsageError for a graph that cannot be run.
        """
        await self._task(TaskSpec(name=MAIN))
        if self.ended.outcomes[MAIN] in ("failed", "cancelled"):
            return await self._without_body()
        self.graph = await self._declared()
        if not self._program.tasks and not self._program.calls:
            raise WorkflowError(
                f"{self._spec.file} declares no task and makes no call",
                location=Location(self._spec.file, 1),
                hint="declare a task({...}) or call a module, for example pkg.install(...)",
            )
        if self.ended.outcomes[MAIN] == "ok":
            self._check_name()
        self._on_loaded(self.graph)
        names = tuple(self.graph.order)
        await self._publish(
            ProgramLoaded(msg=f"{len(names)} task{'s' * (len(names) != 1)}", tasks=names)
        )
        chosen = self.graph.selected(
            self._spec.tasks, self._spec.tags, partial=self.ended.outcomes[MAIN] == "unknown"
        )
        self.ended.complete = len(chosen) == len(self.graph.tasks) and not self._spec.hosts
        await self._walk(chosen)
        return self.ended

    def _check_name(self) -> None:
        """Raises WorkflowError unless the name is what was read before Lua started.

        The stack was chosen by that name; so it is checked before anything is called.
        """
        declared, stack = self._program.workflow, self._recorder.stack.name
        if self._spec.stack is None and declared.name not in (None, stack):
            raise WorkflowError(
                f"the workflow names itself {declared.name!r}, but its stack is {stack!r}",
                location=declared.location,
                hint="write the name as a literal text, or say which stack: "
                f"sloth-runner run STACK -f {self._spec.file}",
            )

    def under_way(self) -> list[str]:
        """Returns the tasks that have begun and were cut off, or are still to end."""
        over = ("ok", "failed", "blocked", "skipped", "unknown")
        return sorted(task for task in self._begun if self.ended.outcomes.get(task) not in over)

    def cancel(self) -> None:
        """Ends the running tasks; what they have under way is finished first."""
        for task in self._running:
            task.cancel()

    async def _walk(self, chosen: set[str]) -> None:
        """Starts each task when all that it needs has ended, up to ``--parallel`` at a time."""
        places = asyncio.Semaphore(1 if self._preview is not None else self._spec.parallel)
        done = {name: asyncio.Event() for name in chosen}

        async def one(name: str) -> None:
            task = self.graph.tasks[name]
            try:
                for needed in task.depends_on:
                    await done[needed].wait()
                async with places:
                    await self._unless_blocked(task)
            except asyncio.CancelledError:
                if name not in self.ended.outcomes:  # it was waiting for its turn
                    await self._end(task, "cancelled", reason=self._stop.reason or "cancelled")
                raise
            finally:
                done[name].set()

        self._running = {
            asyncio.create_task(one(name)) for name in self.graph.order if name in chosen
        }
        try:
            answers = await asyncio.gather(*self._running, return_exceptions=True)
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            raise
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer

    async def _unless_blocked(self, task: TaskSpec) -> None:
        outcomes = [self.ended.outcomes.get(name) for name in (MAIN, *task.depends_on)]
        if any(outcome in ("failed", "blocked", "cancelled") for outcome in outcomes):
            return await self._end(task, "blocked", reason=_because(task, self.ended.outcomes))
        if self._stop.reason:
            return await self._end(task, "cancelled", reason=self._stop.reason)
        if "unknown" in outcomes and self._preview is not None:
            self._preview.open_tasks.add(task.name)
        await self._task(task)

    async def _declared(self) -> Graph:
        """Returns the graph of the declared tasks.

        Where a preview could not follow the body to its end, tasks that need one of those
        that would have come are left out, and not predicted.
        """
        tasks = list(self._program.tasks)
        if self.ended.outcomes[MAIN] == "unknown":
            whole = closed(tasks)
            for task in tasks:
                if task not in whole:
                    await self._leave_open(task, "what it depends on", began=None)
            tasks = whole
        return Graph(tasks)

    async def _without_body(self) -> Ended:
        """Blocks what was declared before the body broke off, which need not be a whole graph."""
        how = "failed" if self.ended.outcomes[MAIN] == "failed" else "was stopped"
        for task in self._program.tasks:
            await self._end(task, "blocked", reason=f"the workflow's body {how}")
        self.ended.complete = False
        return self.ended

    async def _task(self, task: TaskSpec) -> None:
        """Runs a task with its retries and ends it."""
        began = time.monotonic()
        self._begun.append(task.name)
        error: SlothError | None = None
        for attempt in range(1, task.retries + 2):
            if attempt > 1:
                await asyncio.sleep(task.retry_delay)
            await self._publish(TaskStart(msg=f"task {task.name}", task=task.name, attempt=attempt))
            try:
                result = await self._attempt(task, attempt)
            except SlothError as failure:
                error = failure
                await self._registrations.task_ended(task.name, failed=True, reason=str(failure))
                if isinstance(failure, Cancelled | PlanStale):  # another attempt helps neither
                    break
                await self._say_that_it_is_tried_again(task, attempt, failure)
                continue
            except asyncio.CancelledError:
                reason = self._stop.reason or "cancelled"
                await self._registrations.task_ended(task.name, failed=True, reason=reason)
                await self._end(task, "cancelled", began=began, reason=reason)
                if not self._stop.reason:
                    raise
                return
            await self._registrations.task_ended(task.name, failed=False, reason=None)
            return await self._succeed(task, result, began)
        if isinstance(error, Cancelled):
            return await self._end(task, "cancelled", began=began, reason=error.said)
        assert error is not None  # noqa: S101 - every attempt ended with one
        await self._fail(task, error, began)

    async def _say_that_it_is_tried_again(
        self, task: TaskSpec, attempt: int, failure: SlothError
    ) -> None:
        if attempt > task.retries:
            return
        await self._publish(
            Warned(
                msg=f"task {task.name}: attempt {attempt} of {task.retries + 1} failed, "
                f"trying again: {failure.said.splitlines()[0]}",
                level="warn",
                task=task.name,
                loc=str(failure.location) if failure.location else None,
            )
        )

    async def _attempt(self, task: TaskSpec, attempt: int) -> TaskResult:
        """Runs one attempt; after the last one, what the task does once it has failed."""
        context = self._context(task, attempt)
        running = (
            self._program.main(context)
            if task.name == MAIN
            else self._program.run(task.name, context)
        )
        try:
            return await _in_time(task, context, running)
        except Cancelled:
            raise
        except SlothError as failure:
            last = attempt > task.retries or isinstance(failure, PlanStale)
            if last and task.on_failure:
                await self._rescue(task, attempt, failure)
            raise

    async def _rescue(self, task: TaskSpec, attempt: int, failure: SlothError) -> None:
        context = self._context(task, attempt, after_failure=True)
        try:
            await _in_time(task, context, self._program.rescue(task.name, context, failure))
        except PlanStale:
            raise
        except SlothError as error:
            context.say(f"on_failure of task {task.name} failed: {error.said}", level="error")

    def _context(self, task: TaskSpec, attempt: int, *, after_failure: bool = False) -> TaskContext:
        return TaskContext(
            self._calls,
            task=task.name,
            attempt=attempt,
            host=lambda: task.delegate_to or self._program.workflow.delegate_to or LOCAL,
            preview=self._preview is not None,
            results=self.ended.results,
            values=self._spec.values,
            publish=self._recorder.bus.publish,
            check=self._check_name if task.name == MAIN else None,
            after_failure=after_failure,
        )

    async def _succeed(self, task: TaskSpec, result: TaskResult, began: float) -> None:
        self.ended.results[task.name] = result.value
        if result.skipped:
            return await self._end(task, "skipped", began=began, reason="its condition is not met")
        opened = self._preview is not None and task.name in self._preview.open_tasks
        if result.unpredicted is not None or opened:
            why = result.unpredicted or "what it depends on"
            return await self._leave_open(task, why, began=began)
        await self._end(task, "ok", began=began)

    async def _leave_open(self, task: TaskSpec, why: str, *, began: float | None) -> None:
        """Ends a task that a preview could not predict to its end."""
        if self._preview is not None:
            self._preview.open_tasks.add(task.name)
        await self._end(task, "unknown", began=began, unpredicted=why)

    async def _fail(self, task: TaskSpec, error: SlothError, began: float) -> None:
        self.ended.errors.append(error)
        cut_off = "during" in error.facts and self._counts["failed"]  # an operation, and counted
        if not cut_off and not error.facts.keys() & {"resource", "action"}:
            self._counts.failed_tasks += 1
        blocked = sorted(self._blocked_by(task.name))
        await self._publish(diagnose(error, task=task.name, blocked=blocked))
        await self._end(task, "failed", began=began, reason=error.said)

    def _blocked_by(self, name: str) -> set[str]:
        if name == MAIN:
            return {task.name for task in self._program.tasks}
        return self.graph.dependents(name)

    async def _end(
        self,
        task: TaskSpec,
        outcome: str,
        *,
        began: float | None = None,
        reason: str = "",
        unpredicted: str | None = None,
    ) -> None:
        self.ended.outcomes[task.name] = outcome
        rescue = task.on_failure and self._preview is not None and outcome in ("ok", "unknown")
        if rescue and self._preview is not None:
            self._preview.rescues.add(task.name)
        await self._publish(
            TaskEnd(
                msg=f"task {task.name} {outcome}",
                level="error" if outcome == "failed" else "info",
                task=task.name,
                loc=str(task.location) if task.location else None,
                outcome=outcome,
                ms=0 if began is None else int((time.monotonic() - began) * 1000),
                reason=reason,
                unpredicted=unpredicted,
                on_failure=rescue,
            )
        )

    async def _publish(self, event: Event) -> None:
        if self._preview is not None:
            self._preview.told.append(event)
        else:
            await self._recorder.emit(event)


async def _in_time(task: TaskSpec, context: TaskContext, running: Awaitable[T]) -> T:
    """Awaits what a task does, for as long as it may take; raises what its plan refused."""
    try:
        async with asyncio.timeout(task.timeout):
            result = await running
    except TimeoutError:
        raise _timed_out(task, context) from None
    if context.refused is not None:
        raise context.refused
    return result


def _timed_out(task: TaskSpec, context: TaskContext) -> TaskTimedOut:
    """Returns the error of a task that was too slow, with the call that was under way."""
    call = context.cut_off
    return TaskTimedOut(
        f"task {task.name!r} did not end within {task.timeout:g} s",
        location=call.location if call and call.location else task.location,
        hint="raise the task's timeout, or find out what it waits for",
        facts={"during": call.function} if call else {},
    )


def _because(task: TaskSpec, outcomes: Mapping[str, str]) -> str:
    bad = [n for n in task.depends_on if outcomes.get(n) in ("failed", "blocked", "cancelled")]
    return f"{', '.join(bad)} did not succeed"
