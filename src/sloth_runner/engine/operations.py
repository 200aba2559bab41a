"""Actions and queries: what is done once, and what only looks."""

import asyncio
import posixpath
import time
from collections.abc import Mapping

from sloth_runner.core import schema, values
from sloth_runner.core.address import Address
from sloth_runner.core.errors import Cancelled, HostError, PlanStale, SlothError
from sloth_runner.core.events import ResourceStart
from sloth_runner.core.host import Host, ReadOnlyHost
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.record import Operation
from sloth_runner.core.resource import Action, Query
from sloth_runner.core.values import Value
from sloth_runner.engine.context import Caller
from sloth_runner.engine.guards import skipped, why_not
from sloth_runner.engine.masking import Mask, secrets_of
from sloth_runner.engine.pipeline import Pipeline
from sloth_runner.engine.plan import Plan, planned_action
from sloth_runner.engine.program import Answer, Unpredictable
from sloth_runner.engine.work import end_event, locate, without_host


class Operations:
    """Performs actions (journalled) and queries through the hosts of a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._ordinals: dict[tuple[int, Address, str], int] = {}
        self._once: dict[tuple[str, str], asyncio.Lock] = {}
        self._done: set[tuple[str, str]] = set()

    async def act(self, host: str, action: Action, caller: Caller) -> Answer:
        """Does ``action`` on ``host`` unless its guard says that it need not be done."""
        address = Address(host, action.type, action.title)
        if not getattr(action, "once_per_run", False):
            return await self._act(address, action, caller)
        key = (host, action.type)
        async with self._once.setdefault(key, asyncio.Lock()):
            if key in self._done:
                return skipped(address, "it was done in this run")
            answer = await self._act(address, action, caller)
            if not answer.skipped:
                self._done.add(key)
            return answer

    async def _act(self, address: Address, action: Action, caller: Caller) -> Answer:
        if self._pipeline.preview is not None:
            return await self._predict(address, action, caller)
        host = address.host
        machine = self._pipeline.machines.host(host)
        reason = await why_not(machine, action)
        if reason is not None:
            return await self._skip(address, caller, reason)
        return await self._pipeline.stop.protect(
            self._do(address, machine, action, caller),
            "at once" if action.waits_only else "by deadline",
        )

    async def ask(self, host: str, query: Query, caller: Caller) -> Answer:
        """Asks ``query`` of the machine itself; in a preview, of the predicted one."""
        machine = ReadOnlyHost(self._pipeline.machines.host(host))
        if self._pipeline.preview is not None and query.path is not None:
            return await self._ask_predicted(host, machine, query, caller)
        return Answer(value=await answer_of(type(query), query.ask(machine)))

    async def _skip(self, address: Address, caller: Caller, reason: str) -> Answer:
        event = end_event(address, caller, "skipped", note=reason)
        self._pipeline.counts.add("skipped")
        if self._pipeline.preview is None:
            await self._pipeline.recorder.emit(event)
        return skipped(address, reason)

    async def _do(self, address: Address, machine: Host, action: Action, caller: Caller) -> Answer:
        async with self._pipeline.beside(address.host, action.touches):
            return await self._carry_out(address, machine, action, caller)

    async def _carry_out(
        self, address: Address, machine: Host, action: Action, caller: Caller
    ) -> Answer:
        pipeline, began = self._pipeline, time.monotonic()
        if pipeline.binding is not None and not action.waits_only:
            await self._keep_to(pipeline.binding, address, action, caller)
        operation = await pipeline.recorder.intend_action(
            address,
            caller,
            _command(action),
            guarded=bool(action.guard),
            start=ResourceStart(
                msg=f"run {address}",
                host=address.host,
                task=caller.task,
                res=without_host(address),
                loc=caller.place,
                action="run",
            ),
        )
        pipeline.observations.invalidate(address.host, action.touches)
        failure: SlothError | None = None
        mask = Mask(secrets_of(action))
        result: Mapping[str, Value] = {}
        try:
            await asyncio.sleep(0)  # a deadline that has passed by now is felt before it begins
            acting = pipeline.commands.acting(machine, operation, caller, mask)
            result = await answer_of(type(action), action.run(acting))
        except SlothError as error:
            mask.error(error)
            locate(error, address, caller, "action")
            error.effects = error.effects or _left_by(error, action)
            failure = error
        except asyncio.CancelledError:
            failure = Cancelled(f"{address} was stopped")
            await self._ended(operation, address, caller, began, failure)
            raise
        finally:
            pipeline.observations.invalidate(address.host, action.touches)
        await self._ended(operation, address, caller, began, failure)
        if failure is not None:
            raise failure
        text = result.get("stdout")
        return Answer(
            value={"changed": True, "status": "ran", "address": str(address), **result},
            text=text if isinstance(text, str) else None,
        )

    async def _keep_to(self, plan: Plan, address: Address, action: Action, caller: Caller) -> None:
        """Raises PlanStale, and tells of it, for an action that the plan does not hold."""
        binding = _binding(action, caller)
        ordinal = self._ordinal(address, binding, caller)
        try:
            plan.check(
                address,
                "action",
                binding,
                None,
                task=caller.task,
                ordinal=ordinal,
                after_failure=caller.after_failure,
            )
        except PlanStale as error:
            locate(error, address, caller, "action")
            self._pipeline.counts.add("failed")
            event = end_event(address, caller, "failed", reason=str(error))
            await self._pipeline.recorder.emit(event)
            raise

    async def _ended(
        self,
        operation: Operation,
        address: Address,
        caller: Caller,
        began: float,
        failure: SlothError | None,
    ) -> None:
        outcome = "failed" if failure else "ran"
        self._pipeline.counts.add(outcome)
        event = end_event(
            address,
            caller,
            outcome,
            ms=int((time.monotonic() - began) * 1000),
            reason=failure.said if failure else None,
        )
        await self._pipeline.recorder.end_action(
            operation,
            "failed" if failure else "done",
            event,
        )

    async def _predict(self, address: Address, action: Action, caller: Caller) -> Answer:
        """Lists an action in the preview; it is never done there."""
        pipeline = self._pipeline
        guard, note = action.guard, None
        if guard.creates and await self._surely_there(address.host, guard.creates):
            return await self._skip(address, caller, f"{guard.creates} exists")
        if guard.unless or guard.onlyif:
            note = "unless its guard says otherwise"
        if not action.waits_only:
            binding = _binding(action, caller)
            ordinal = self._ordinal(address, binding, caller)
            pipeline.overlay.act(address, action.touches)
            pipeline.counts.add("ran")
            assert pipeline.preview is not None  # noqa: S101 - only a preview comes here
            pipeline.preview.add(planned_action(address, binding), ordinal)
            event = end_event(
                address,
                caller,
                "ran",
                action="run",
                planned=True,
                note=note,
                undo="cannot be undone",
            )
            pipeline.preview.shown.append(event)
        known: dict[str, Value] = {
            "changed": True,
            "success": True,
            "status": "ran",
            "address": str(address),
        }
        if action.predictable is not None:
            return Answer(value={**known, **action.predictable})
        return Answer(
            value=known,
            unknown=("stdout", "stderr", "exit_code"),
            why=f"output of {caller.function}",
        )

    async def _surely_there(self, host: str, path: str) -> bool:
        """Whether a path will exist when a guard asks, as far as a preview can know."""
        overlay = self._pipeline.overlay
        predicted = overlay.at_path(host, path)
        if predicted is not None:
            return predicted.state is not None and "target" not in predicted.state
        if overlay.follows(Address(host, "path", path), path) is not None:
            return False
        machine = ReadOnlyHost(self._pipeline.machines.host(host))
        return await machine.stat(path, follow=True) is not None

    async def _ask_predicted(
        self, host: str, machine: Host, query: Query, caller: Caller
    ) -> Answer:
        overlay, path = self._pipeline.overlay, query.path or ""
        await self._pipeline.observations.resolve(host, [path, posixpath.dirname(path)])
        predicted = overlay.at_path(host, path)
        if predicted is not None:
            data = None if predicted.content is None else predicted.content.data
            try:
                return Answer(value=query.predict(predicted.state, data))
            except LookupError:
                raise Unpredictable(_reading(caller, path)) from None
        if overlay.follows(Address(host, query.type, path), path) is not None:
            raise Unpredictable(_reading(caller, path))
        return Answer(value=await answer_of(type(query), query.ask(machine)))

    def _ordinal(self, address: Address, binding: Mapping[str, Value], caller: Caller) -> int:
        """Counts equal actions of a task, afresh for each attempt: a second one is another."""
        key = (caller.attempt, address, values.checksum(dict(binding)))
        number = self._ordinals.get(key, 0)
        self._ordinals[key] = number + 1
        return number


def _binding(action: Action, caller: Caller) -> dict[str, Value]:
    """Returns what a plan binds of an action: its task and parameters, secret ones hashed."""
    params = schema.params_of(type(action))
    given = {
        name: values.checksum(value) if params[name].doc.sensitive else value
        for name, value in schema.given_params(action).items()
    }
    return {"task": caller.task, "params": given}


def _command(action: Action) -> tuple[str, ...]:
    argv = getattr(action, "argv", None) or ()
    return tuple(argv) or (action.title,)


def _left_by(error: SlothError, action: Action) -> tuple[str, ...]:
    """Returns what is known of the traces that a failed action has left."""
    if action.waits_only:
        return ("nothing was changed",)
    if isinstance(error, HostError) and "command" not in error.facts:
        return ("nothing was run",)
    return ("what it did before it failed is not undone",)


def _reading(caller: Caller, path: str) -> str:
    return caller.stopped(f"{caller.function} of {path}, which an earlier change may touch")
