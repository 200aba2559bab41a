"""The context of a task: turns the calls of a program into work for the engine."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from sloth_runner.core import schema
from sloth_runner.core.address import Address
from sloth_runner.core.errors import (
    Location,
    ParamError,
    PlanStale,
    SlothError,
)
from sloth_runner.core.events import Log
from sloth_runner.core.registry import Registry
from sloth_runner.core.resource import Action, Query, Resource
from sloth_runner.core.values import Value
from sloth_runner.engine.claims import Claims
from sloth_runner.engine.context import Caller, Outcome
from sloth_runner.engine.defined import Invoke
from sloth_runner.engine.operations import Operations
from sloth_runner.engine.parameters import Parameters, delegated
from sloth_runner.engine.pipeline import Pipeline
from sloth_runner.engine.program import ANNOUNCED, Answer
from sloth_runner.engine.program_files import ProgramFiles
from sloth_runner.engine.stack_calls import StackCalls
from sloth_runner.engine.state_calls import StateCalls
from sloth_runner.engine.work import shown_address

BuiltIn = Callable[[Caller, str, Sequence[Value]], Awaitable[Answer]]


class Calls:
    """Everything that a program can call, for all tasks of one run."""

    def __init__(
        self,
        *,
        registry: Registry,
        pipeline: Pipeline,
        operations: Operations,
        claims: Claims,
        stack_calls: StackCalls,
        state_calls: StateCalls,
        files: ProgramFiles,
        parameters: Parameters,
        invoke: Invoke,
    ) -> None:
        self._invoke = invoke
        self.files = files
        self._registry = registry
        self._pipeline = pipeline
        self._operations = operations
        self._claims = claims
        self._parameters = parameters
        self._built_in: dict[str, BuiltIn] = {
            **stack_calls.functions(),
            **state_calls.functions(),
            **files.functions(),
            "facts": self._facts,
            "resource.define": self._define,
            "resource.ensure": self._defined,
        }

    def names(self) -> Sequence[str]:
        """Returns the dotted names of all functions that a workflow can name."""
        return sorted({*self._registry.names, *self._built_in} - set(ANNOUNCED))

    async def call(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        """Performs one call; ``host`` is where it goes unless it says ``delegate_to``."""
        self._pipeline.stop.check()
        built_in = self._built_in.get(caller.function)
        if built_in is not None:
            return await built_in(caller, host, arguments)
        asked = await self._parameters.read(arguments, caller)
        if asked is None:
            raise ParamError(
                f"there is no function {caller.function!r}"
                f"{schema.meant(caller.function, self.names())}",
                location=caller.location,
                hint=self._registry.not_loaded,
            )
        host = asked.host or host
        first = asked.declared[0]
        if isinstance(first, Action):
            return await self._operations.act(host, first, caller)
        if isinstance(first, Query):
            return await self._operations.ask(host, first, caller)
        outcomes = await self._ensure(host, asked.declared, caller)
        failed = [(o.address, o.error) for o in outcomes if o.error is not None]
        if failed:
            raise _all_of(failed)
        return _answer(outcomes, several=asked.several)

    async def _ensure(
        self, host: str, resources: Sequence[Resource], caller: Caller
    ) -> list[Outcome]:
        observations = self._pipeline.observations
        if not observations.located(host, resources):
            await observations.locate(host, resources)
        resources = [self._claims.claim(host, resource, caller) for resource in resources]
        return await self._pipeline.ensure(host, resources, caller)

    async def _facts(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        return Answer(value=await self._pipeline.machines.host(host).facts())

    async def _define(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        """Defines a type; what is recorded of it can be looked at from now on."""
        spec = arguments[0] if arguments else None
        seal = self._pipeline.recorder.seal
        cls = seal.definitions.define(spec, self._invoke, caller.location)
        for row in list(self._pipeline.recorder.rows.values()):
            if row.address.type == cls.type and not row.registered:
                with contextlib.suppress(SlothError):  # then it is looked at when it is called
                    known = seal.resource(cls.type, row.params)
                    self._pipeline.observations.know(row.address, known)
        return Answer(value=cls.type)

    async def _defined(self, caller: Caller, host: str, arguments: Sequence[Value]) -> Answer:
        """Ensures a resource of a type that the workflow defined."""
        given = arguments[1] if len(arguments) > 1 else None
        given = dict(given) if isinstance(given, dict) else given
        if isinstance(given, dict):
            host = delegated(given, caller) or host
        definitions = self._pipeline.recorder.seal.definitions
        resource = definitions.build(arguments[0], given, caller.location)
        [outcome] = await self._ensure(host, [resource], caller)
        if outcome.error is not None:
            raise outcome.error
        return _answer([outcome], several=False)


class TaskContext:
    """What one attempt of one task calls through (``engine.program.Context``)."""

    def __init__(
        self,
        calls: Calls,
        *,
        task: str,
        attempt: int,
        host: Callable[[], str],
        preview: bool,
        results: Mapping[str, Value],
        values: Mapping[str, Value],
        publish: Callable[[Log], None],
        check: Callable[[], None] | None = None,
        after_failure: bool = False,
    ) -> None:
        self._check = check
        self._after_failure = after_failure
        self._calls = calls
        self.task = task
        self.attempt = attempt
        self._host = host
        self.preview = preview
        self.results = results
        self.values = values
        self.refused: PlanStale | None = None
        self.cut_off: Caller | None = None
        """The first call that was still under way when the task was ended from outside."""
        self._publish = publish

    @property
    def host(self) -> str:
        """Where calls go that name no host: the body of a file says so while it runs."""
        return self._host()

    async def call(
        self, function: str, arguments: Sequence[Value], location: Location | None
    ) -> Answer:
        """Performs a call of a module (``engine.program.Context.call``)."""
        caller = Caller(
            task=self.task,
            attempt=self.attempt,
            function=function,
            location=location,
            after_failure=self._after_failure,
        )
        try:
            if self._check is not None:
                self._check()
            return await self._calls.call(caller, self.host, arguments)
        except asyncio.CancelledError:
            self.cut_off = self.cut_off or caller
            raise
        except SlothError as error:
            if error.location is None:
                error.location = location
            if isinstance(error, PlanStale):  # a workflow may catch it, the task fails all the same
                self.refused = self.refused or error
            raise

    def functions(self) -> Sequence[str]:
        """Returns the names of everything that can be called."""
        return self._calls.names()

    def wrote(self, path: str, location: Location | None) -> None:
        """Takes note of a file that was written where no call could be made before."""
        caller = Caller(task=self.task, attempt=self.attempt, function="io.open", location=location)
        self._calls.files.wrote(path, caller)

    def say(self, text: str, *, level: str = "info", location: Location | None = None) -> None:
        """Publishes what the program prints or logs."""
        self._publish(
            Log(
                msg=text,
                level=level,
                task=self.task,
                loc=str(location) if location else None,
                text=text,
            )
        )


def _all_of(failed: Sequence[tuple[Address, SlothError]]) -> SlothError:
    """Returns the first of some failures, with what the others say among its facts."""
    (_, error), *others = failed
    told = [
        f"{shown_address(address)}: {other.said}" + (f" ({other.hint})" if other.hint else "")
        for address, other in others
        if other is not error
    ]
    if told:
        error.facts["failed too"] = "\n".join(told)
    return error


def _answer(outcomes: Sequence[Outcome], *, several: bool) -> Answer:
    if several:
        return Answer(value=_together(outcomes))
    [outcome] = outcomes
    if not outcome.partial:
        return Answer(value=outcome.as_value(), late=("diff", "before", "after"))
    why = f"{shown_address(outcome.address)} as it will be"
    return Answer(value=outcome.as_value(), open="after", why=why)


def _together(outcomes: Sequence[Outcome]) -> dict[str, Value]:
    changed = any(outcome.changed for outcome in outcomes)
    return {
        "changed": changed,
        "carried": any(outcome.carried for outcome in outcomes),
        "status": next((o.status for o in outcomes if o.changed), "unchanged"),
        "results": [outcome.as_value() for outcome in outcomes],
    }
