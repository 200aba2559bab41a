"""One run or one plan, from the question to the summary."""

import asyncio
import contextlib
import posixpath
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct, structs

import sloth_runner
from sloth_runner.core import values
from sloth_runner.core.errors import Cancelled, SlothError, TimedOut
from sloth_runner.core.events import LockWait, Orphaned, StreamStart, Summary, Warned
from sloth_runner.core.record import Holder, Run, Stack, StackStatus
from sloth_runner.core.registry import registry
from sloth_runner.engine.bus import Bus, Publish
from sloth_runner.engine.commands import wait_for_survivors
from sloth_runner.engine.context import Counts
from sloth_runner.engine.diagnostics import diagnose
from sloth_runner.engine.finish import finish, orphans
from sloth_runner.engine.holding import begin, ended_by, ending, locked, running, who
from sloth_runner.engine.machines import check_hosts
from sloth_runner.engine.moved import elsewhere, is_moved
from sloth_runner.engine.parameters import Render
from sloth_runner.engine.plan import Plan, plan_order
from sloth_runner.engine.program import Program, RunSpec, random_seed
from sloth_runner.engine.recover import settle_doubts
from sloth_runner.engine.scheduler import Ended
from sloth_runner.engine.stopping import OnStop, Stop, abandoning, interrupting, stoppable
from sloth_runner.engine.summary import summarise
from sloth_runner.engine.supposed import new_run, new_stack, running_stack
from sloth_runner.engine.workshop import LoadProgram, Settings, Tools, Workshop
from sloth_runner.state.database import is_there
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store

Confirm = Callable[[Plan], bool]


class Hooks(Struct, frozen=True, kw_only=True):
    """What a run needs from whoever starts it.

    ``load`` makes a fresh program; ``render`` renders templates; ``publish`` receives every
    event; ``confirm``, if there is one, is shown the plan and answers whether to apply it;
    ``abandon`` ends the process where not even a deadline can end the run.
    """

    load: LoadProgram
    render: Render
    publish: Publish
    confirm: Confirm | None = None
    on_stop: OnStop | None = None
    abandon: Callable[[], None] | None = None


class Session:
    """Carries out one ``RunSpec`` on one database."""

    def __init__(self, spec: RunSpec, stack_name: str, hooks: Hooks) -> None:
        # A plan and the run that keeps to it see the same time and the same random numbers.
        drawn = hooks.confirm is not None or spec.mode == "plan"
        self.spec = structs.replace(spec, seed=random_seed(), clock=time.time()) if drawn else spec
        self.stack_name = stack_name
        self.hooks = hooks
        self.bus = Bus(hooks.publish)
        self.stop = Stop()
        self.began = time.monotonic()
        self._db = spec.db
        self._workshop: Workshop | None = None
        self._loaded: Program | None = None

    async def run(self) -> Summary:
        """Plans or applies, and returns the summary, which was also published.

        Raises Locked, RecordError, UsageError or Cancelled when it could not even begin.
        """
        check_hosts(self.spec.hosts, self.spec.inventory, posixpath.dirname(self.spec.file))
        with (
            stoppable(self.stop, self.hooks.on_stop, self.bus.publish, self._interrupt),
            self._journal() as journal,
        ):
            if self.spec.mode == "plan":
                return await self._plan_only(journal)
            return await self._apply(journal)

    def _interrupt(self) -> None:
        if self._workshop is not None:
            self._workshop.program.interrupt()

    async def _plan_only(self, journal: Journal) -> Summary:
        stack = await self._known_stack(journal)
        self._publish_start(stack, None)
        self._warn(stack)
        plan, ended, counts = await self._preview(journal, stack)
        for event in [*plan.shown, *plan.told]:
            self.bus.publish(event)
        summary = summarise(
            counts,
            ended,
            self._seconds(),
            unknown=len(plan.open_tasks),
            orphaned=sum(isinstance(event, Orphaned) for event in plan.told),
        )
        self.bus.publish(summary)
        return summary

    async def _apply(self, journal: Journal) -> Summary:
        binding: Plan | None = None
        while True:
            if self.hooks.confirm is not None:
                binding = await self._confirmed(journal)
                self.began = time.monotonic()  # what a person thinks about is no run
            with contextlib.closing(self.hooks.load(self.spec)) as program:
                self._loaded = program  # what does not even load makes no stack and no run
                summary = await self._held(journal, binding)
            if summary is not None:
                return summary
            self.bus.publish(Warned(msg="the record moved while you were asked: a new preview"))

    async def _held(self, journal: Journal, binding: Plan | None) -> Summary | None:
        """Runs with the stack held; None where the record is not as it was in the preview."""
        stack = await self._own_stack(journal)
        async with locked(
            journal, stack, db=self.spec.db, wait=self.spec.wait, on_wait=self._waiting
        ):
            stack = await self._own_stack(journal)
            if binding is not None and binding.serial != stack.serial:
                return None
            return await self._locked(journal, stack, binding)

    async def _confirmed(self, journal: Journal) -> Plan:
        """Shows a preview and returns it once it is agreed to; holds no lock meanwhile."""
        stack = await self._known_stack(journal)
        self._warn(stack)
        plan, ended, _ = await self._preview(journal, stack)
        if ended.errors:
            for event in [*plan.shown, *plan.told]:
                self.bus.publish(event)
            raise ended.errors[0]
        if not plan.empty and self.hooks.confirm is not None and not self.hooks.confirm(plan):
            raise Cancelled("the plan was declined", effects=("nothing was changed",))
        return plan

    async def _preview(self, journal: Journal, stack: Stack) -> tuple[Plan, Ended, Counts]:
        plan = Plan(serial=stack.serial)
        # What the workflow asks of its stack is answered as in the run that is predicted.
        workshop = await self._open_workshop(
            journal, running_stack(stack), new_run(stack), preview=plan
        )
        try:
            holder = await running(journal, stack)
            if holder is None:
                await settle_doubts(
                    workshop.tools.recorder,
                    workshop.tools.observations,
                    workshop.tools.machines,
                    plan,
                )
            else:  # what it has not finished yet is not in doubt
                plan.told.append(Warned(msg=f"{holder} is under way and may change all of this"))
            ended = await self._scheduled(workshop)
            await workshop.files.settle()
            plan.shown.extend(workshop.writes.settle())
        finally:
            await workshop.close()
        known = "unknown" not in ended.outcomes.values()
        if known and ended.complete and not ended.errors and stack.workflow == self.spec.file:
            plan.told.extend(event for _, event in orphans(workshop, ended))
        plan.shown.sort(key=lambda event: plan_order(event, workshop.scheduler.graph.order))
        plan.shown = list(map(self.bus.mask.event, plan.shown))
        plan.told = list(map(self.bus.mask.event, plan.told))
        return plan, ended, workshop.tools.counts

    async def _locked(self, journal: Journal, stack: Stack, binding: Plan | None) -> Summary:
        """Does the run itself, with the stack held."""
        spec = self.spec
        await wait_for_survivors(journal, stack.id, wait=spec.wait, publish=self.bus.publish)
        run = await begin(
            journal,
            stack,
            kind="run",
            command=shlex.join(spec.argv),
            source_hash=_source_hash(spec.file),
            status="running",
        )
        try:
            stack = running_stack(stack)
            self._publish_start(stack, run)
            if binding is None:
                self._warn(stack)
            return await self._applied(journal, stack, run, binding)
        except BaseException as error:
            with contextlib.suppress(SlothError):  # the first error says more
                await journal.do(self._ending(stack, run, ended_by(error), {}))
            raise

    async def _applied(
        self, journal: Journal, stack: Stack, run: Run, binding: Plan | None
    ) -> Summary:
        """Runs the program, ends the run, and returns the summary, which was also published."""
        workshop = await self._open_workshop(journal, stack, run, binding=binding)
        tools = workshop.tools
        try:
            await settle_doubts(tools.recorder, tools.observations, tools.machines)
            ended = await self._scheduled(workshop)
            await workshop.files.settle()
            workshop.writes.settle()
            orphans = await finish(workshop, ended, same_path=stack.workflow == self.spec.file)
        finally:
            await workshop.close()
        counts = tools.counts
        summary = summarise(
            counts, ended, self._seconds(), orphaned=orphans, touched=counts.touched
        )
        end = self._ending(stack, run, summary.result, counts.told)
        await tools.recorder.write(end, summary)
        return summary

    def _ending(
        self, stack: Stack, run: Run, result: str, counts: Mapping[str, int]
    ) -> Callable[[Store], None]:
        """Returns what records how a run ended, and gives the stack back."""
        moved = result == "ok" and is_moved(stack, self.spec.file)
        return ending(
            stack,
            run,
            result,
            counts,
            status=_STATUS.get(result, "failed"),
            workflow=self.spec.file if moved else None,
        )

    async def _scheduled(self, workshop: Workshop) -> Ended:
        """Runs the tasks within ``--timeout``; a clean stop ends them early."""
        ended = workshop.scheduler.ended
        try:
            async with asyncio.timeout(self.spec.timeout):
                with (
                    interrupting(workshop.program.interrupt, after=self.spec.timeout),
                    abandoning(self.hooks.abandon, after=self.spec.timeout),
                ):
                    return await workshop.scheduler.run()
        except asyncio.CancelledError:
            if not self.stop.reason:
                raise
            ended.errors.append(Cancelled(self.stop.reason))
        except TimeoutError:
            error = TimedOut(
                f"the run did not end within {self.spec.timeout:g} s",
                hint="the next run goes on from here; give a longer --timeout",
                facts={"under way": ", ".join(workshop.scheduler.under_way())},
            )
            ended.errors.append(error)
            await self._tell(workshop, error)
        except SlothError as error:
            ended.errors.append(error)
            await self._tell(workshop, error)
        ended.complete = False
        return ended

    async def _tell(self, workshop: Workshop, error: SlothError) -> None:
        preview = workshop.tools.pipeline.preview
        if preview is not None:
            preview.told.append(diagnose(error))
        else:
            await workshop.tools.recorder.emit(diagnose(error))

    async def _open_workshop(
        self,
        journal: Journal,
        stack: Stack,
        run: Run,
        *,
        preview: Plan | None = None,
        binding: Plan | None = None,
    ) -> Workshop:
        tools = await Tools.open(
            settings=Settings.of(self.spec, self._db, self.hooks.render),
            journal=journal,
            stack=stack,
            run=run,
            bus=self.bus,
            stop=self.stop,
            preview=preview,
            binding=binding,
        )
        workshop = await Workshop.open(
            tools, spec=self.spec, load=self._load, render=self.hooks.render
        )
        self._workshop = workshop
        return workshop

    def _load(self, spec: RunSpec) -> Program:
        """Returns the program that was loaded to be run, the first time; a preview has its own."""
        program, self._loaded = self._loaded, None
        if program is not None and spec.mode == "apply":
            return program
        self._loaded = program
        return self.hooks.load(spec)

    @contextlib.contextmanager
    def _journal(self) -> Iterator[Journal]:
        """Opens the database; a plan without one works on an empty one that is thrown away."""
        with contextlib.ExitStack() as stack:
            path = self.spec.db
            if self.spec.mode == "plan" and not is_there(path):
                import tempfile  # and with it five more modules, which few runs need

                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sloth-plan-"))
                self._db = path = posixpath.join(folder, "stacks.db")
            journal = Journal.open(path)
            stack.callback(journal.close)
            yield journal

    async def _known_stack(self, journal: Journal) -> Stack:
        """Returns the stack, or what it would be if this run made it."""
        stack = await journal.read(lambda store: store.stack(self.stack_name))
        return stack or new_stack(self.stack_name, workflow=self.spec.file)

    async def _own_stack(self, journal: Journal) -> Stack:
        """Returns the stack, made if there was none, with a workflow recorded."""
        name, file = self.stack_name, self.spec.file
        stack = await journal.read(lambda store: store.stack(name))
        if stack is None:
            return await journal.do(
                lambda store: store.create_stack(
                    name, version=sloth_runner.__version__, workflow=file
                )
            )
        if stack.workflow is None:
            stack_id = stack.id
            await journal.do(lambda store: store.update_stack(stack_id, workflow=file))
            return await self._own_stack(journal)
        return stack

    def _publish_start(self, stack: Stack, run: Run | None) -> None:
        kind = "run" if run else "plan"
        number = f" {run.number}" if run else ""
        self.bus.publish(
            StreamStart(
                msg=f"{kind}{number} of {stack.name}",
                tool=f"sloth-runner {sloth_runner.__version__}",
                stack=stack.name,
                n=run.number if run else None,
                kind=kind,
                argv=self.spec.argv,
                user=who(),
                source=self.spec.file,
            )
        )

    def _warn(self, stack: Stack) -> None:
        if broken := registry().not_loaded:
            self.bus.publish(Warned(msg=broken, level="warn"))
        if (warned := elsewhere(stack, self.spec.file)) is not None:
            self.bus.publish(warned)

    def _seconds(self) -> float:
        return time.monotonic() - self.began

    def _waiting(self, holder: Holder | None) -> None:
        name = f"{holder.who}, pid {holder.pid}" if holder else "another process"
        self.bus.publish(LockWait(msg=f"waiting for the stack, held by {name}", holder=name))


_STATUS: dict[str, StackStatus] = {"ok": "applied", "cancelled": "cancelled"}


def _source_hash(path: str) -> str:
    return values.sha256(values.text(Path(path).read_bytes()))


async def execute(spec: RunSpec, stack_name: str, hooks: Hooks) -> Summary:
    """Carries out ``spec`` on the stack of that name (see ``Session.run``)."""
    return await Session(spec, stack_name, hooks).run()


__all__ = ["Hooks", "Session", "execute", "who"]
