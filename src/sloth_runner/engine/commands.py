"""Journals the processes that operations start, and finds those that outlived their run."""

import asyncio
import time
from collections.abc import Callable

from sloth_runner.core.errors import Locked
from sloth_runner.core.events import CommandOutput, LockWait
from sloth_runner.core.host import (
    ActingHost,
    Command,
    CommandResult,
    Host,
    OnOutput,
    OnStarted,
    StartedCommand,
)
from sloth_runner.core.record import CommandRecord, Operation
from sloth_runner.engine.bus import Bus
from sloth_runner.engine.context import Caller
from sloth_runner.engine.masking import Mask
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.work import shown_address
from sloth_runner.hosts.processes import boot_id, process_alive
from sloth_runner.state.ids import new_id
from sloth_runner.state.journal import Journal

POLL = 0.2
"""Seconds between two looks at a process that is waited for."""


class Commands:
    """Gives operations a host whose commands are recorded before they are let go."""

    def __init__(self, recorder: Recorder, bus: Bus) -> None:
        self._recorder = recorder
        self._bus = bus

    def acting(
        self, host: Host, operation: Operation, caller: Caller, mask: Mask | None = None
    ) -> Host:
        """Returns ``host`` for the use of ``operation``; ``mask`` hides what it was given."""
        return _Journalled(host, operation, caller, self._recorder, self._bus, mask or Mask())


class _Journalled(ActingHost):
    """A host whose commands stand in the record, with their process group, while they run."""

    def __init__(
        self,
        inner: Host,
        operation: Operation,
        caller: Caller,
        recorder: Recorder,
        bus: Bus,
        mask: Mask,
    ) -> None:
        super().__init__(inner, on_started=_nothing, on_output=_silent)
        self._operation = operation
        self._caller = caller
        self._recorder = recorder
        self._bus = bus
        self._mask = mask

    async def run(
        self,
        command: Command,
        *,
        on_started: OnStarted | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        loop = asyncio.get_running_loop()
        command_id = new_id()

        def started(process: StartedCommand) -> None:
            record = CommandRecord(
                id=command_id,
                operation=self._operation.id,
                host=self.name,
                argv=command.argv[:1],
                process_group=process.process_group,
                start_time=process.start_time,
                boot=boot_id(),
            )
            asyncio.run_coroutine_threadsafe(self._recorder.command_started(record), loop).result()

        def output(stream: str, text: str) -> None:
            line = self._mask.event(self._line(stream, text))
            loop.call_soon_threadsafe(self._bus.publish, line)

        result = await super().run(command, on_started=started, on_output=output)
        await self._recorder.command_finished(command_id)
        return result

    def _line(self, stream: str, text: str) -> CommandOutput:
        return CommandOutput(
            msg=text,
            host=self.name,
            task=self._caller.task,
            res=str(self._operation.address).partition("/")[2],
            stream=stream,
            text=text,
        )


async def survives(journal: Journal, stack_id: str) -> bool:
    """Whether a command of a dead run is still running: then what it does is not over."""
    commands = await journal.read(lambda store: store.unfinished_commands(stack_id))
    return any(_runs(command) for command in commands)


async def wait_for_survivors(
    journal: Journal,
    stack_id: str,
    *,
    wait: float,
    publish: Callable[[LockWait], None],
) -> None:
    """Waits up to ``wait`` seconds for commands of a dead run that are still running.

    None is ever ended: a package manager that is stopped half way is worse than a wait.
    Raises Locked, naming them, when they are still there after that.
    """
    commands = await journal.read(lambda store: store.unfinished_commands(stack_id))
    doubts = await journal.read(lambda store: store.open_operations(stack_id))
    whose = {operation.id: shown_address(operation.address) for operation in doubts}
    deadline = time.monotonic() + wait
    announced = False
    for command in commands:
        while _runs(command):
            what = whose.get(command.operation, command.argv[0])
            name = f"{what} (process group {command.process_group})"
            if time.monotonic() >= deadline:
                raise Locked(
                    f"a command of a run that was killed is still running: {name}",
                    hint="wait for it with --wait 5m, or end it yourself if you know that it may",
                )
            if not announced:
                publish(LockWait(msg=f"waiting for {name} of a run that was killed", holder=name))
                announced = True
            await asyncio.sleep(POLL)
        command_id = command.id
        await journal.do(lambda store, i=command_id: store.command_finished(i))  # type: ignore[misc]


def _runs(command: CommandRecord) -> bool:
    return process_alive(command.process_group, command.start_time, command.boot)


def _nothing(process: StartedCommand) -> None:
    """Takes no note: the journalled host does."""


def _silent(stream: str, text: str) -> None:
    """Shows nothing: the journalled host does."""
