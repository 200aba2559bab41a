"""``resource.define``: types whose observe, create, update and delete are written in Lua."""

import posixpath
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Struct, structs

from sloth_runner.core import schema, values
from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import Location, ParamError, RecordError, SlothError, TaskError
from sloth_runner.core.events import ChangeItem
from sloth_runner.core.host import Host
from sloth_runner.core.registry import Registry
from sloth_runner.core.resource import Action, Origin, Query, Resource
from sloth_runner.core.schema import Doc, shown_value
from sloth_runner.core.values import State, Value
from sloth_runner.engine.context import Caller, Outcome, status_of
from sloth_runner.engine.guards import skipped, why_not
from sloth_runner.engine.parameters import Parameters, PresentSources, Render
from sloth_runner.engine.program import ANNOUNCED, Answer, Context, reads
from sloth_runner.engine.temporary import make_temporary

Invoke = Callable[[int, Sequence[Value], Context], Awaitable[Value]]
"""Calls a function that the program keeps, by its number, with arguments, in a context."""

_WORD = re.compile(r"[\w.-]+", re.ASCII)
FUNCTIONS = ("observe", "create", "update", "delete")
RESERVED = ("name", "state", "delegate_to")


class DefinitionChanged(RecordError):
    """A type is not defined any more as it was when a resource of it was recorded."""


class Definition(Struct, frozen=True, kw_only=True):
    """A type as the workflow defined it: its functions, and the file they stand in."""

    type: str
    functions: Mapping[str, int]
    file: str
    sha256: str
    invoke: Invoke
    registry: Registry
    render: Render

    async def call(self, name: str, host: Host, arguments: Sequence[Value], *, acts: bool) -> Value:
        """Calls one of the functions, its own calls going to ``host``."""
        function = self.functions.get(name)
        if function is None:
            raise TaskError(
                f"{self.type} has no {name!r} function",
                hint=f"resource.define({{ type = {self.type!r}, {name} = function ... }})",
            )
        context = DefinedContext(self, host, acts=acts)
        return await self.invoke(function, arguments, context)


class Defined(Resource, frozen=True, kw_only=True):
    """A resource of a type that is written in Lua. Every defined type is a subclass."""

    definition: ClassVar[Definition]
    sees_anything: ClassVar[bool] = True

    key: Annotated[str, Doc("The name of the resource.", key=True)]
    properties: Annotated[dict[str, Value], Doc("The properties that are managed.")]
    state: Annotated[Literal["present", "absent"], Doc("Whether it is to exist.")] = "present"
    defined_in: Annotated[str, Doc("The file that defines the type.")] = ""
    defined_hash: Annotated[str, Doc("The SHA-256 of that file.")] = ""

    def desired(self) -> State | None:
        return None if self.state == "absent" else dict(self.properties)

    async def observe(self, host: Host) -> State | None:
        seen = await self.definition.call("observe", host, [self.key, self.properties], acts=False)
        if seen is None or seen is False:
            return None
        if seen is True or seen == []:
            return {}
        if not isinstance(seen, dict):
            raise TaskError(
                f"observe of {self.type} returns a table or nil, not {shown_value(seen)}"
            )
        return seen

    async def apply(self, host: Host, change: Diff) -> None:
        updating = change.kind == "change" and "update" in self.definition.functions
        differing = {c.property: {"old": c.old, "new": c.new} for c in change.changes}
        await self.definition.call(
            "update" if updating else "create",
            host,
            [self.key, self.properties, differing],
            acts=True,
        )

    async def destroy(self, host: Host) -> None:
        await self.definition.call("delete", host, [self.key, self.properties], acts=True)

    async def revert(self, host: Host, origin: Origin) -> None:
        if origin.actual is None:
            await self.destroy(host)
        else:
            earlier = structs.replace(self, properties=origin.actual)
            await earlier.apply(host, Diff("change"))


class Definitions:
    """The defined types of one run, by name."""

    def __init__(self, registry: Registry, render: Render) -> None:
        self.registry = registry
        self._render = render
        self._types: dict[str, type[Defined]] = {}
        self.unread: dict[str, str] = {}
        """Why files could not be read for the types that they define, as far as they could not."""

    def define(self, spec: Value, invoke: Invoke, location: Location | None) -> type[Defined]:
        """Adds the type that ``resource.define`` describes and returns its class.

        Raises ParamError for a spec that is not one, or a name that a type already has.
        """
        if not isinstance(spec, dict):
            raise ParamError("resource.define takes a table", location=location)
        name = spec.get("type")
        if not isinstance(name, str) or not _WORD.fullmatch(name):
            raise ParamError(
                "resource.define: type is a word of letters, digits and '_.-', "
                f"not {shown_value(name)}",
                location=location,
            )
        if name in self.registry.types:
            raise ParamError(f"resource.define: {name!r} is a built-in type", location=location)
        for key in spec:
            if key not in ("type", *FUNCTIONS):
                problem = schema.unknown_name(key, ("type", *FUNCTIONS))
                raise ParamError(f"resource.define: {problem}", location=location)
        for key in FUNCTIONS:
            if key in spec and not (isinstance(spec[key], dict) and "$function" in spec[key]):
                raise ParamError(f"resource.define: {key} is a function", location=location)
        functions = {n: spec[n]["$function"] for n in FUNCTIONS if spec.get(n) is not None}
        for needed in ("observe", "create"):
            if needed not in functions:
                raise ParamError(
                    f"resource.define: {name} needs the function {needed!r}", location=location
                )
        file = location.file if location else ""
        definition = Definition(
            type=name,
            functions=functions,
            file=file,
            sha256=_hash(file),
            invoke=invoke,
            registry=self.registry,
            render=self._render,
        )
        cls = type(f"Defined_{name}", (Defined,), {"type": name, "definition": definition})
        self._types[name] = cls
        return cls

    def find(self, name: str, file: str, sha256: str) -> type[Defined]:
        """Returns the class of a recorded type.

        Raises RecordError where its file cannot be read or does not define it, DefinitionChanged
        where it is another one now.
        """
        try:
            found = _hash(file)
        except OSError as error:
            raise RecordError(
                f"{file}, which defines {name!r}, cannot be read: {error.strerror}"
            ) from error
        if not found:
            raise RecordError(f"{file}, which defines {name!r}, is not there")
        if found != sha256:
            raise DefinitionChanged(
                f"{file}, which defines {name!r}, has changed since it was recorded",
                hint="run the workflow again",
            )
        if name not in self._types and file in self.unread:
            raise RecordError(
                f"{file} could not be read for the type {name!r}: {self.unread[file]}",
                hint="define types at the top of the file, before anything is asked",
            )
        if name not in self._types:
            raise RecordError(f"{file} does not define {name!r}")
        return self._types[name]

    def build(self, name: Value, given: Value, location: Location | None) -> Defined:
        """Returns the resource that a call of a defined type describes."""
        cls = self._types.get(name) if isinstance(name, str) else None
        if cls is None:
            raise ParamError(f"no type {name!r} is defined", location=location)
        if isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise ParamError(f"{name} takes a table with a name", location=location)
        state = given.get("state", "present")
        if state not in ("present", "absent"):
            raise ParamError(
                f'{name}: state is "present" or "absent", not {shown_value(state)}',
                location=location,
            )
        return cls(
            key=given["name"],
            properties={k: v for k, v in given.items() if k not in RESERVED},
            state=state,
            defined_in=cls.definition.file,
            defined_hash=cls.definition.sha256,
        )


class DefinedContext:
    """What the functions of a defined type may call: the host itself, nothing is recorded.

    ``observe`` may look and run commands that only look; the others may also act.
    """

    preview = False
    attempt = 1

    def __init__(self, definition: Definition, host: Host, *, acts: bool) -> None:
        self._definition = definition
        self._host = host
        self._acts = acts
        controller = host.controller
        look = partial(controller.stat, follow=True, digest=True)
        self._parameters = Parameters(
            registry=definition.registry,
            sources=PresentSources(controller, look),
            render=definition.render,
            folder=posixpath.dirname(definition.file),
        )
        self.task = definition.type
        self.host = host.name
        self.results: Mapping[str, Value] = {}
        self.values: Mapping[str, Value] = {}

    def functions(self) -> Sequence[str]:
        """Returns the names of everything that can be called."""
        return sorted({*self._definition.registry.names, "facts"})

    def say(self, text: str, *, level: str = "info", location: Location | None = None) -> None:
        """Shows nothing: what a type does is told by its result."""

    def wrote(self, path: str, location: Location | None) -> None:
        """Does nothing: it is a part of the change of a resource."""

    async def call(
        self, function: str, arguments: Sequence[Value], location: Location | None
    ) -> Answer:
        """Performs a call on the host at once."""
        if function == "facts":
            return Answer(value=await self._host.facts())
        if function == "os.tmpname":
            await make_temporary(self._host.controller, str(arguments[0]))
            return Answer(value=None)
        if function in ANNOUNCED and (self._acts or reads(arguments) or arguments[2:] == [True]):
            return Answer(value=None)
        caller = Caller(task=self.task, attempt=1, function=function, location=location)
        asked = await self._parameters.read(arguments, caller)
        if asked is None or asked.host not in (None, self.host):
            raise self._refused(function, location)
        first = asked.declared[0]
        if isinstance(first, Query):
            return Answer(value=await first.ask(self._host))
        if isinstance(first, Action) and (self._acts or function == "exec.run"):
            return await self._act(first)
        if isinstance(first, Resource) and self._acts:
            made = [await self._ensure(resource) for resource in asked.declared]
            changed = any(one["changed"] for one in made)
            together = {"changed": changed, "results": made}
            return Answer(value=together if asked.several else made[0])
        raise self._refused(function, location)

    async def _act(self, action: Action) -> Answer:
        address = Address(self._host.name, action.type, action.title)
        reason = await why_not(self._host, action)
        if reason is not None:
            return skipped(address, reason)
        result = {"changed": True, "status": "ran", **await action.run(self._host)}
        text = result.get("stdout")
        return Answer(value=result, text=text if isinstance(text, str) else None)

    async def _ensure(self, resource: Resource) -> dict[str, Value]:
        address = Address(self._host.name, resource.type, resource.name)
        before = after = await resource.observe(self._host)
        change = resource.diff(before)
        if change:
            [error] = await type(resource).apply_many(self._host, [(resource, change)])
            if error is not None:
                raise error
            after = await resource.observe(self._host)
            if resource.diff(after):
                raise TaskError(f"{address} does not match after it was applied")
        outcome = Outcome(
            address=address,
            status=status_of(change),
            changed=bool(change),
            changes=tuple(
                ChangeItem(path=c.property, old=c.old, new=c.new) for c in change.changes
            ),
            before=before,
            after=after,
        )
        return outcome.as_value()

    def _refused(self, function: str, location: Location | None) -> SlothError:
        doing = "changes" if self._acts else "observes"
        return TaskError(
            f"{function} cannot be called by a function that {doing} {self._definition.type}",
            location=location,
            hint="observe may read files and run commands that only look",
        )


class DefinitionsContext:
    """A context in which nothing is enabled but ``resource.define``: to read types from a file."""

    preview = True
    attempt = 1
    task = "definitions"
    host = LOCAL

    def __init__(self, definitions: Definitions, invoke: Invoke) -> None:
        self._definitions = definitions
        self._invoke = invoke
        self.results: Mapping[str, Value] = {}
        self.values: Mapping[str, Value] = {}

    def functions(self) -> Sequence[str]:
        """Returns the names of everything that a workflow may mention."""
        return sorted({*self._definitions.registry.names, "resource.define", "facts"})

    def say(self, text: str, *, level: str = "info", location: Location | None = None) -> None:
        """Shows nothing: the file is only read for its types."""

    def wrote(self, path: str, location: Location | None) -> None:
        """Does nothing: writes stay in memory."""

    async def call(
        self, function: str, arguments: Sequence[Value], location: Location | None
    ) -> Answer:
        """Defines a type; whatever else is called does nothing and has an unknown answer."""
        if function == "resource.define":
            spec = arguments[0] if arguments else None
            return Answer(value=self._definitions.define(spec, self._invoke, location).type)
        if function in ANNOUNCED:
            return Answer(value=None)
        return Answer(value={}, unknown=("*",), why="only resource.define is enabled here")


def _hash(file: str) -> str:
    """Returns the SHA-256 of a file, nothing where there is none."""
    path = Path(file)
    return values.sha256(values.text(path.read_bytes())) if path.is_file() else ""
