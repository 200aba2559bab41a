"""The base of resource types, actions and queries: what an author of one file writes.

A *resource* has a state that can be observed. An *action* is done and has none. A *query*
only looks. Each is a frozen keyword-only struct of msgspec whose fields are its parameters
(``core.schema``) and which names the Lua functions that make it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct, field, structs

from sloth_runner.core import diff as differ
from sloth_runner.core import forms, schema
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import SlothError
from sloth_runner.core.host import Host, Request
from sloth_runner.core.values import State, Value


class Function(Struct, frozen=True, kw_only=True):
    """A Lua function, ``MODULE.NAME``, that makes one kind of object.

    ``preset`` are fields that it decides, ``rename`` maps written parameter names to
    fields, ``accepts`` limits the written names (empty: all fields), ``first`` is the
    parameter that a call with a single string gives, and ``each`` a list parameter that
    makes one object for each of its items, under the field ``first``. ``source`` is the
    written parameter that names a file of the controller (relative to the workflow) and
    enters its field as Content; with ``template`` it is rendered with ``vars`` first, and
    with ``by_path`` only the file itself will do, since more than its content is read.
    ``beside`` are written parameters that name files to be on the controller: they become
    absolute, from the workflow's folder.
    """

    name: str
    doc: str
    preset: Mapping[str, Value] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    accepts: tuple[str, ...] = ()
    first: str = "name"
    each: str | None = None
    source: str | None = None
    template: bool = False
    by_path: bool = False
    beside: tuple[str, ...] = ()

    def form(self, cls: type) -> forms.Form:
        """Returns how a call of it that makes a ``cls`` is written and read."""
        return forms.form(cls, preset=self.preset, rename=self.rename, accepts=self.accepts)

    def names(self, form: forms.Form) -> list[str]:
        """Returns every name that a call of it, read by ``form``, may give."""
        more = [self.each] if self.each else []
        more += ["vars"] if self.template else []
        return [*form.written, *more, "delegate_to"]


class Touches(Struct, frozen=True):
    """What an operation may change on its host: everything, or what lies below ``paths``."""

    paths: tuple[str, ...] | None = None

    def under(self, names: Callable[[str], Iterable[str]]) -> "Touches":
        """Returns the same with each path under all the ``names`` that it has."""
        if self.paths is None:
            return self
        return Touches(tuple(name for path in self.paths for name in names(path)))


EVERYTHING = Touches()


class Origin(Struct, frozen=True, kw_only=True):
    """What was there before an operation: the observed state and the saved bytes.

    ``saved`` maps a path to its Content, or to None where the path was absent.
    """

    actual: State | None
    saved: Mapping[str, schema.Content | None] = field(default_factory=dict)


class Declared(Struct, frozen=True, kw_only=True):
    """What resources, actions and queries have in common."""

    type: ClassVar[str]
    functions: ClassVar[tuple[Function, ...]]
    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ()
    """Parameters that the laws and the reference page are made with."""
    sample_files: ClassVar[Mapping[str, str]] = {}
    """Files that must exist for the samples: content by path."""

    def check(self) -> None:
        """MAY: rules across fields; raises ParamError."""

    def __repr__(self) -> str:
        # What names it and no more: a parameter may be a secret.
        cls = type(self)
        keys = ", ".join(f"{name}={getattr(self, name)!r}" for name in schema.keys_of(cls))
        return f"{cls.__name__}({keys})"


Checked = Exception | str | None
"""What is found before a change: why it must not be, what else it does, or nothing."""


class Resource(Declared, frozen=True, kw_only=True):
    """A managed thing. Subclasses MUST give ``observe``, ``apply`` and ``destroy``."""

    stands_as: ClassVar[str | None] = None
    """MAY: what it keeps at its place, where that is no file: "directory" or "link"."""

    has_aliases: ClassVar[bool] = False
    """MAY: whether a host may know one thing under several names; ``known_as`` tells them."""

    on_controller: ClassVar[bool] = False
    """MAY: whether what it keeps, and ``saves``, is on the controller instead of the host."""

    checks_ahead: ClassVar[bool] = False
    """MAY: whether what ``preview_check`` finds Refused holds although something changes before.

    It does not where that has the same ``exclusive``, unless it makes another of this type.
    """

    sees_anything: ClassVar[bool] = False
    """MAY: whether what is observed may depend on anything on the host, files too."""

    uninterrupted: ClassVar[bool] = False
    """MAY: whether a change that has begun is seen to its end even when a deadline passes."""

    @property
    def name(self) -> str:
        """The name in the address. MAY be overridden; it is the ``key`` fields by default."""
        keys = schema.keys_of(type(self))
        if len(keys) == 1:
            return str(getattr(self, keys[0]))
        return ":".join([str(getattr(self, field)) for field in keys])

    @property
    def path(self) -> str | None:
        """MAY: the path that is observed, so that only changes near it make it stale."""
        return None

    @property
    def place(self) -> str | None:
        """MAY: the path of what it keeps, on the controller where ``on_controller``."""
        return self.path

    def moved(self, place: str) -> "Resource":
        """Returns this one with another ``place``, where that is a parameter that names it."""
        key = next((k for k in schema.keys_of(type(self)) if getattr(self, k) == self.place), None)
        return self if key is None else structs.replace(self, **{key: place})

    @property
    def sees(self) -> tuple[str, ...]:
        """MAY: paths beside ``path`` that are looked at when it is observed."""
        return ()

    @property
    def looked_at(self) -> tuple[str | None, ...]:
        """All paths that are looked at when it is observed; None where that is no file."""
        return (self.path, *self.sees)

    @property
    def touches(self) -> Touches:
        """MAY: what applying it can change beside itself; by default its path, or everything."""
        return EVERYTHING if self.path is None else Touches((self.path,))

    @property
    def keeps(self) -> str | None:
        """MAY: the type of which nothing may change the one of its name while this is there."""
        return None

    @property
    def heeds(self) -> bool:
        """MAY: whether it stays as it is where another one ``keeps`` it so."""
        return True

    @property
    def needs_parent(self) -> bool:
        """MAY: whether the directory that holds ``place`` must be there before it is made."""
        return False

    @property
    def absent(self) -> bool:
        """MAY: whether it is to be gone, where that can be said without what is desired."""
        return self.desired() is None

    @property
    def part_of_file(self) -> bool | None:
        """MAY: True where it owns a part of a file's content, False the whole, None neither."""
        return None

    def refine(self, earlier: Any) -> Any:
        """MAY: this declaration laid over an ``earlier`` one of the same address in one run.

        Returns the merged resource, or None (the default): two declarations that differ
        contradict each other.
        """
        return None

    @property
    def takes(self) -> str | None:
        """MAY: what only one resource of this type can have on a host, such as "uid 1000"."""
        return None

    def unfinished(self) -> "Resource":
        """MAY: this one where the thing was begun to be made, by a run that failed or died.

        Then it also wants what belongs to making it and is not managed otherwise.
        """
        return self

    @property
    def governing(self) -> bool:
        """MAY: whether it decides for others; then ``governs`` is asked."""
        return False

    def governs(self, other: "Resource") -> Mapping[str, str]:
        """MAY: parameters and values that this one wants of ``other``, something within it.

        Where ``other`` leaves one of them open it is given that value; where it wants another,
        the two contradict each other.
        """
        return {}

    @property
    def spreads(self) -> bool:
        """MAY: whether it keeps what is below its place, beside others; ``among`` is asked then."""
        return False

    def among(self, others: Iterable["Resource"]) -> "Resource":
        """MAY: this one, leaving to ``others`` of its machine what they declare below its place.

        They are what this run has declared so far, and the record of what it has not.
        """
        return self

    @property
    def tracked(self) -> tuple[str, ...]:
        """MAY: properties beside the desired ones whose recorded values drift is compared with."""
        return ()

    @property
    def untracked(self) -> tuple[str, ...]:
        """MAY: desired properties that move by themselves, which drift does not compare."""
        return ()

    @property
    def exclusive(self) -> str:
        """MAY: two operations of one host with the same text never run at the same time."""
        return self.place or f"{self.type}:{self.name}"

    @property
    def sensitive(self) -> frozenset[str]:
        """MAY: properties whose values must not be seen; by default what the fields declare."""
        return frozenset(p.name for p in schema.params_of(type(self)).values() if p.doc.sensitive)

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        """MAY: the sensitive properties when ``actual`` is what is there."""
        return self.sensitive

    @property
    def observation_key(self) -> Hashable:
        """MAY: equal keys see the same observation. By default all the parameters."""
        return self

    def desired(self) -> State | None:
        """MUST: the managed properties, canonical; None for absent; unset ones left out."""
        raise TypeError(f"{type(self).__name__} does not say what it desires")

    def matches(self, name: str, desired: Value, actual: Value) -> bool:
        """MAY: whether ``actual`` satisfies ``desired`` for one property."""
        return differ.same(name, desired, actual)

    def drifted(self, name: str, recorded: Value, actual: Value) -> bool:
        """MAY: whether one property is no longer what was recorded of it."""
        return not self.matches(name, recorded, actual)

    def diff(self, actual: State | None) -> Diff:
        """Returns what has to be done, given what is there."""
        return differ.diff(self.desired(), actual, self.matches)

    def plan_check(self, actual: State | None) -> None:
        """MAY: refuse (TaskError), in the preview too, what must not be done to ``actual``."""

    async def observe(self, host: Host) -> State | None:
        """MUST: what is there, in canonical properties; None means absent. Never writes."""
        raise TypeError(f"{type(self).__name__} cannot be observed")

    async def apply(self, host: Host, change: Diff) -> None:
        """MUST: converge in one call, or raise. ``change`` says what differs."""
        raise TypeError(f"{type(self).__name__} cannot be applied")

    async def destroy(self, host: Host) -> None:
        """MUST: remove the thing; safe to repeat."""
        raise TypeError(f"{type(self).__name__} cannot be destroyed")

    async def revert(self, host: Host, origin: Origin) -> None:
        """MAY: bring back what was there before. By default for what was absent: destroy."""
        raise TypeError(f"{type(self).__name__} cannot be brought back")

    def saves(self, actual: State | None) -> tuple[str, ...]:
        """MAY: paths whose bytes must be kept before ``apply`` touches them."""
        return ()

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        """MAY: look closer before a change and refuse it (TaskError); runs in the preview too."""

    async def undoes(
        self, host: Host, change: Diff, others: Sequence["Resource"]
    ) -> "Resource | None":
        """MAY: which of ``others``, parts of its file that are as they should be, it would undo."""
        return None

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        """MAY: what ``apply`` will ask to be written, for a preview to hear what refuses it.

        It is refused for where it is written to, so that the content need not be in it.
        """
        return ()

    @classmethod
    async def preview_check_many(
        cls, host: Host, work: Sequence[tuple[Any, State | None, Diff]]
    ) -> Sequence[Checked]:
        """MAY: ``preview_check`` for a batch; an answer is None or the refusal of that one.

        Text is what the change does beside what it is declared to do, for plan and record.
        """
        return [
            await _caught(item.preview_check(host, seen, change)) for item, seen, change in work
        ]

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        """MAY: unified diffs by property, for people; never asked for sensitive properties."""
        return {}

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        """MAY: observe a batch; an answer is a state, None, or the error of that one."""
        return [await _caught(resource.observe(host)) for resource in resources]

    @classmethod
    async def known_as(cls, host: Host, seen: Sequence[tuple[Any, State | None]]) -> Sequence[str]:
        """MUST, where it ``has_aliases``: the names under which the host knows what was seen.

        Two names that are the same here are one thing: what is declared of it must agree.
        It is for types whose name is one field.
        """
        raise TypeError(f"{cls.__name__} does not say what its names stand for")

    @classmethod
    async def apply_many(
        cls, host: Host, work: Sequence[tuple[Any, Diff]]
    ) -> list[Exception | None]:
        """MAY: apply a batch; an answer is None or the error of that one."""
        answers = []
        for resource, change in work:
            if change.kind == "remove":
                answers.append(await _caught(resource.destroy(host)))
            else:
                answers.append(await _caught(resource.apply(host, change)))
        return answers


async def _caught(awaitable: Any) -> Any:
    try:
        return await awaitable
    except SlothError as error:
        return error


class Guard(Struct, frozen=True, kw_only=True):
    """When an action need not run: a path that exists, or what a command answers."""

    creates: str | None = None
    unless: str | None = None
    onlyif: str | None = None

    def __bool__(self) -> bool:
        return any((self.creates, self.unless, self.onlyif))


class Action(Declared, frozen=True, kw_only=True):
    """Something that is done: journalled, never "unchanged", never drift."""

    @property
    def title(self) -> str:
        """The name in the address of the operation, for example the unit that is restarted."""
        raise TypeError(f"{type(self).__name__} has no title")

    @property
    def guard(self) -> Guard:
        """MAY: when it need not run."""
        return Guard()

    @property
    def touches(self) -> Touches:
        """MAY: what it can change; everything on the host by default."""
        return EVERYTHING

    @property
    def predictable(self) -> Mapping[str, Value] | None:
        """MAY: its result in a preview, where that is known without doing it; None: unknown."""
        return None

    @property
    def waits_only(self) -> bool:
        """MAY: whether it changes nothing and only waits."""
        return False

    async def guarded(self, host: Host) -> str | None:
        """MAY: why it need not run now (asked just before), or None."""
        return None

    async def run(self, host: Host) -> Mapping[str, Value]:
        """MUST: do it and return what Lua sees; raise TaskError when it fails."""
        raise TypeError(f"{type(self).__name__} cannot be run")


class Query(Declared, frozen=True, kw_only=True):
    """A look at a host on behalf of the workflow; nothing is recorded."""

    @property
    def path(self) -> str | None:
        """MAY: the path that is looked at."""
        return None

    async def ask(self, host: Host) -> Value:
        """MUST: the answer, as Lua sees it."""
        raise TypeError(f"{type(self).__name__} cannot be asked")

    def predict(self, desired: State | None, content: str | None) -> Value:
        """MAY: the answer in a preview in which the path is predicted to become ``desired``."""
        raise LookupError


def declare(type_name: str, *functions: Function) -> Callable[[type[Any]], type[Any]]:
    """Names a type and its Lua functions: the decorator of every resource, action and query."""

    def decorate(cls: type[Any]) -> type[Any]:
        cls.type = type_name
        cls.functions = functions
        return cls

    return decorate
