"""Every event, one frozen struct each: the only thing that readers are fed.

Durable events are decisions and are stored; ephemeral ones (output, progress, unchanged)
are only published. Sensitive values are redacted before an event is built, so no reader
ever holds one. An event as JSON is its fields plus ``type``; every one has ``msg``, a
complete sentence for a reader that knows no types.
"""

from typing import ClassVar

import msgspec

from sloth_runner.core import values
from sloth_runner.core.values import Value

SCHEMA = 1

Outcome = str
"""created changed unchanged removed ran failed skipped blocked unknown carried"""

OUTCOMES = (
    "created",
    "changed",
    "unchanged",
    "removed",
    "ran",
    "failed",
    "skipped",
    "blocked",
    "unknown",
    "carried",
)

SENSITIVE = "(sensitive)"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The base. ``host``, ``task``, ``res`` (address without host) and ``loc`` where they apply."""

    durable: ClassVar[bool] = True

    msg: str = ""
    level: str = "info"
    host: str | None = None
    task: str | None = None
    res: str | None = None
    loc: str | None = None

    @property
    def type(self) -> str:
        """The name of the event's type, as readers and the record know it."""
        return str(self.__struct_config__.tag)


class ChangeItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One property of a change; ``diff`` is a unified text diff where that says more."""

    path: str
    old: Value = None
    new: Value = None
    sensitive: bool = False
    diff: str | None = None


class StreamStart(Event, frozen=True, kw_only=True, tag="stream.start"):
    """A run, plan or drift check begins."""

    tool: str = ""
    stack: str = ""
    n: int | None = None
    kind: str = "run"
    argv: tuple[str, ...] = ()
    user: str = ""
    source: str | None = None
    previous_run: int | None = None


class ProgramLoaded(Event, frozen=True, kw_only=True, tag="program.loaded"):
    """The workflow's body has run and the graph is checked."""

    tasks: tuple[str, ...] = ()


class TaskStart(Event, frozen=True, kw_only=True, tag="task.start"):
    """A task begins an attempt, counted from 1."""

    attempt: int = 1


class TaskEnd(Event, frozen=True, kw_only=True, tag="task.end"):
    """A task ended: ``outcome`` is ok, failed, blocked, skipped, cancelled or unknown.

    In a plan, ``on_failure`` says that the task does something more should it fail.
    """

    outcome: str = "ok"
    ms: int = 0
    reason: str = ""
    unpredicted: str | None = None
    on_failure: bool = False


class ResourceStart(Event, frozen=True, kw_only=True, tag="resource.start"):
    """An operation is about to act: its intent is durable."""

    action: str = ""


class ResourceProgress(Event, frozen=True, kw_only=True, tag="resource.progress"):
    """What a long operation says of itself, at most once a second."""

    durable: ClassVar[bool] = False
    text: str = ""
    elapsed_ms: int = 0


class ResourceEnd(Event, frozen=True, kw_only=True, tag="resource.end"):
    """What became of a resource or an action; in a plan, what would become of it.

    ``cause`` is intentional (the workflow changed), corrective (the machine had drifted)
    or carried; ``follows`` names the predicted change that it may depend on; ``undo``
    says why it cannot be undone, where it cannot.
    """

    outcome: Outcome = "unchanged"
    action: str = ""
    cause: str | None = None
    changes: tuple[ChangeItem, ...] = ()
    ms: int = 0
    carried: bool = False
    planned: bool = False
    follows: str | None = None
    undo: str | None = None
    note: str | None = None
    reason: str | None = None


class ResourceUnchanged(Event, frozen=True, kw_only=True, tag="resource.unchanged"):
    """A resource was looked at and is as it should be."""

    durable: ClassVar[bool] = False


class ResourceDrift(Event, frozen=True, kw_only=True, tag="resource.drift"):
    """A recorded resource differs from its machine; ``old`` is recorded, ``new`` actual."""

    changes: tuple[ChangeItem, ...] = ()
    since: str | None = None
    missing: bool = False
    registered: bool = False


class Recovered(Event, frozen=True, kw_only=True, tag="resource.recovered"):
    """What became of an operation of a dead run: done, not done, half done or in doubt."""

    outcome: str = ""
    command: tuple[str, ...] = ()
    run_number: int = 0


class Orphaned(Event, frozen=True, kw_only=True, tag="resource.orphaned"):
    """A recorded resource that the workflow no longer claims; it stays where it is."""


class CommandOutput(Event, frozen=True, kw_only=True, tag="output"):
    """A line that a command printed."""

    durable: ClassVar[bool] = False
    stream: str = "stdout"
    text: str = ""
    truncated: bool = False


class Log(Event, frozen=True, kw_only=True, tag="log"):
    """What the workflow said with ``print`` or ``log``."""

    durable: ClassVar[bool] = False
    text: str = ""


class Warned(Event, frozen=True, kw_only=True, tag="warning"):
    """Something that a person should know and that stops nothing."""

    durable: ClassVar[bool] = False
    hint: str = ""


class Diagnostic(Event, frozen=True, kw_only=True, tag="diagnostic"):
    """A failure with all that is known of it."""

    code: str = ""
    title: str = ""
    detail: str = ""
    hint: str = ""
    facts: dict[str, Value] = {}
    effects: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    traceback: str = ""


class LockWait(Event, frozen=True, kw_only=True, tag="lock.wait"):
    """Another run holds the stack and we wait for it."""

    durable: ClassVar[bool] = False
    holder: str = ""


class StackOutput(Event, frozen=True, kw_only=True, tag="stack.output"):
    """An output was set to another value; ``value`` is "(sensitive)" for a sensitive one."""

    key: str = ""
    value: Value = None
    sensitive: bool = False
    planned: bool = False


class ProgramWrote(Event, frozen=True, kw_only=True, tag="program.wrote"):
    """The workflow itself wrote, or in a plan would write, what is no resource and no output.

    ``kind`` is "file" (of the controller, with ``io`` or ``os``), "key" (of the database),
    "stack_key" (of the stack alone) or "registration"; ``outcome`` is created, changed,
    removed, or unchanged where a run put back what it had found. Contents and values are
    never told: they may be anything.
    """

    kind: str = ""
    name: str = ""
    outcome: Outcome = "changed"
    planned: bool = False


class Summary(Event, frozen=True, kw_only=True, tag="summary"):
    """The last event of every stream: the counts and the exit code.

    ``written`` counts what the workflow itself set: outputs, keys, registrations, files of
    the controller. ``touched`` says whether a run changed anything, or may have.
    """

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    ran: int = 0
    written: int = 0
    failed: int = 0
    unknown: int = 0
    carried: int = 0
    blocked: int = 0
    skipped: int = 0
    orphaned: int = 0
    exit: int = 0
    seconds: float = 0.0
    result: str = "ok"
    checked: int = 0
    touched: bool = False


def payload(event: Event) -> dict[str, Value]:
    """Returns the JSON object of an event; a Summary and a TaskEnd show zero counts too."""
    data: dict[str, Value] = msgspec.to_builtins(event, str_keys=True)
    if isinstance(event, Summary):
        counts = {name: getattr(event, name) for name in event.__struct_fields__}
        data = {**{k: v for k, v in counts.items() if v not in (None, "")}, **data}
    data = {"type": event.type, **{k: v for k, v in data.items() if k != "type"}}
    result: dict[str, Value] = values.jsonable(data)
    return result
