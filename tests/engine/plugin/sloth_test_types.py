"""A plug-in with types that misbehave when they are told to, by a file beside them.

``PATH.fault`` holds one word: ``fail`` (before anything is written), ``half`` (after a part
of it), ``lie`` (does nothing and says nothing), ``late`` (writes, then fails), ``blind``
(cannot be observed), ``break`` or ``break`` and a method (raises what no type is to raise).
``PATH.log`` gets a line for every apply, destroy or run.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import TaskError
from sloth_runner.core.host import Host, Request
from sloth_runner.core.resource import Action, Function, Guard, Query, Resource, Touches, declare
from sloth_runner.core.schema import Content, Doc, Path
from sloth_runner.core.values import State, Value, decode, encode


@declare("cell", Function(name="test.cell", doc="Keeps a cell.", first="path", each="paths"))
class Cell(Resource, frozen=True, kw_only=True):
    """Keeps a JSON file with a value, a note and a secret."""

    path: Annotated[Path, Doc("Where it is.", key=True)]
    value: Annotated[str, Doc("What it holds.")] = ""
    note: Annotated[str | None, Doc("What is written beside it.")] = None
    secret: Annotated[str | None, Doc("What nobody sees.", sensitive=True)] = None
    state: Annotated[Literal["present", "absent"], Doc("Whether it is there.")] = "present"

    has_aliases: ClassVar[bool] = True

    def desired(self) -> State | None:
        if self.state == "absent":
            return None
        optional = {"note": self.note, "secret": self.secret}
        return {"value": self.value, **{k: v for k, v in optional.items() if v is not None}}

    def refine(self, earlier: Any) -> Any:
        if self.value != earlier.value or None not in (self.note, earlier.note):
            return None
        note, secret = self.note or earlier.note, self.secret or earlier.secret
        return Cell(path=self.path, value=self.value, note=note, secret=secret)

    async def observe(self, host: Host) -> State | None:
        fault = await _fault(host, self.path)
        if fault == "blind":
            raise TaskError(f"{self.path} cannot be looked at")
        if fault == "break observe":
            raise KeyError(self.path)
        written = await host.read(self.path)
        seen: State | None = None if written is None else decode(written)
        return seen

    @classmethod
    async def known_as(cls, host: Host, seen: Sequence[tuple[Any, Any]]) -> Sequence[str]:
        for cell, _ in seen:
            await _break(host, cell.path, "known_as")
        return [cell.path for cell, _ in seen]

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        await _break(host, self.path, "preview_check")

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        await _break(host, self.path, "rehearsal")
        return (Request("write", {"path": self.path}),)

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        await _break(host, self.path, "text_diff")
        return {}

    async def apply(self, host: Host, change: Diff) -> None:
        fault = await _fault(host, self.path)
        if fault == "fail":
            raise TaskError(f"{self.path} was told to fail")
        if fault == "break":
            raise ZeroDivisionError(f"with {self.secret}")
        if fault == "lie":
            return
        await _log(host, self.path, f"apply {self.value}")
        state = self.desired() or {}
        if fault == "half":
            await host.write(self.path, Content.of(encode({**state, "value": "half"})))
            raise TaskError(f"{self.path} was told to stop half way")
        await host.write(self.path, Content.of(encode(state)))
        if fault == "late":
            raise TaskError(f"{self.path} was told to fail late")

    async def destroy(self, host: Host) -> None:
        await _log(host, self.path, "destroy")
        await host.ask("remove", path=self.path)


@declare("thing", Function(name="test.thing", doc="Keeps a thing.", first="place"))
class Thing(Resource, frozen=True, kw_only=True):
    """A cell that may touch everything on its host, as a package does."""

    place: Annotated[Path, Doc("Where it is.", key=True)]

    @property
    def touches(self) -> Touches:
        return Touches()

    def desired(self) -> State:
        return {"there": True}

    async def observe(self, host: Host) -> State | None:
        return {"there": True} if await host.stat(self.place) else None

    async def apply(self, host: Host, change: Diff) -> None:
        await host.write(self.place, Content.of("thing\n"))

    async def destroy(self, host: Host) -> None:
        await host.ask("remove", path=self.place)


@declare("poke", Function(name="test.poke", doc="Adds a line to the log.", first="path"))
class Poke(Action, frozen=True, kw_only=True):
    """Adds a line to the log of a path."""

    path: Annotated[Path, Doc("Whose log.")]
    word: Annotated[str, Doc("What is written.")] = "poke"
    creates: Annotated[Path | None, Doc("Only if this is not there.")] = None
    password: Annotated[str | None, Doc("Never seen.", sensitive=True)] = None

    @property
    def title(self) -> str:
        return self.path

    @property
    def guard(self) -> Guard:
        return Guard(creates=self.creates)

    @property
    def touches(self) -> Touches:
        return Touches((self.path + ".log",))

    async def run(self, host: Host) -> dict[str, Value]:
        await _break(host, self.path, "run")
        if await _fault(host, self.path) == "fail":
            raise TaskError(f"{self.path} was told to fail")
        await _log(host, self.path, self.word)
        return {"stdout": f"{self.word}\n"}


@declare("glance", Function(name="test.glance", doc="Reads a cell.", first="path"))
class Glance(Query, frozen=True, kw_only=True):
    """Returns the text of a path."""

    path: Annotated[Path, Doc("Where it is.")]

    async def ask(self, host: Host) -> Value:
        return await host.read(self.path)

    def predict(self, desired: State | None, content: str | None) -> Value:
        if content is None and desired is not None:
            raise LookupError
        return content


async def _fault(host: Host, path: str) -> str | None:
    return await host.read(f"{path}.fault")


async def _break(host: Host, path: str, method: str) -> None:
    if await _fault(host, path) == f"break {method}":
        raise KeyError(path)


async def _log(host: Host, path: str, line: str) -> None:
    log = f"{path}.log"
    await host.write(log, Content.of((await host.read(log) or "") + line + "\n"))
