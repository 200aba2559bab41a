"""What the record holds: plain rows, shared by the engine, the store and the commands.

Times are UTC in ISO 8601 with microseconds and ``Z``.
"""

import datetime
from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct, field

from sloth_runner.core.address import Address
from sloth_runner.core.values import State, Value

ResourceState = Literal["pending", "applied", "failed", "drift", "orphaned"]
StackStatus = Literal["new", "running", "applied", "failed", "cancelled"]
Provenance = Literal["created", "adopted", "modified"]
RunKind = Literal["run", "drift", "fix", "accept", "import", "destroy", "undo"]


def now() -> str:
    """Returns the present moment as the record writes it."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    return stamp.replace("+00:00", "Z")


class Stack(Struct, frozen=True, kw_only=True):
    """An isolated, named unit of record. ``serial`` grows with every change of the record."""

    id: str
    name: str
    version: str
    status: StackStatus
    created_at: str
    updated_at: str
    serial: int
    lineage: str
    workflow: str | None = None
    description: str = ""


class Run(Struct, frozen=True, kw_only=True):
    """One execution, numbered from 1 in its stack. ``counts`` are outcomes by name."""

    id: str
    stack: str
    number: int
    kind: RunKind
    who: str
    command: str
    source_hash: str
    started_at: str
    finished_at: str | None = None
    result: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Carry(Struct, frozen=True, kw_only=True):
    """A change that is still owed to its task: answered again until all depend on it is done.

    ``attempt`` is the attempt of ``task`` in run ``run`` (a run id) that made the change, or 0
    where that attempt was told of a failure instead.
    """

    task: str
    run: str
    attempt: int
    status: str
    diff: tuple[Mapping[str, Value], ...]


class ResourceRow(Struct, frozen=True, kw_only=True):
    """What is recorded of one managed thing.

    ``params`` rebuild the resource without Lua; ``desired`` are the properties that were
    asked for, ``actual`` those that were seen after; sensitive ones are sealed in all
    three. ``order`` is the order of creation. ``registered`` rows come from
    ``stack.register_resource``. ``origin`` is what was there before we came.
    """

    address: Address
    module: str
    registered: bool
    params: Mapping[str, Value]
    desired: State | None
    actual: State | None
    checksum: str
    state: ResourceState
    provenance: Provenance
    order: int = 0
    origin: Mapping[str, Value] | None = None
    carry: Carry | None = None
    drift: tuple[Mapping[str, Value], ...] = ()
    drift_since: str | None = None
    error: str | None = None
    task: str | None = None
    location: str | None = None
    protect: bool = False
    claimed_run: int = 0
    run: int = 0
    created_at: str = ""
    updated_at: str = ""
    last_applied: str | None = None

    @property
    def key(self) -> tuple[Address, bool]:
        """What identifies the row in its stack."""
        return (self.address, self.registered)


class Operation(Struct, frozen=True, kw_only=True):
    """An intent and, later, its result: one create, change, removal or action.

    ``result`` is None while the operation is under way or in doubt; then "done", "failed"
    or, settled after a crash, "not done". ``previous`` is the pre-image (sealed actual
    state and saved blobs). ``command`` is the argument list of an action, for its report.
    """

    id: str
    run: str
    address: Address
    kind: str
    task: str
    attempt: int
    ordinal: int
    registered: bool
    row: Mapping[str, Value] | None
    previous: Mapping[str, Value] | None
    diff: tuple[Mapping[str, Value], ...]
    command: tuple[str, ...] = ()
    location: str | None = None
    started_at: str = ""
    ended_at: str | None = None
    result: str | None = None


class CommandRecord(Struct, frozen=True, kw_only=True):
    """A process group that an operation started, so that a later run can find survivors."""

    id: str
    operation: str
    host: str
    argv: tuple[str, ...]
    process_group: int
    start_time: int
    boot: str
    finished: bool = False


class StoredEvent(Struct, frozen=True, kw_only=True):
    """A durable event: ``data`` is its JSON object, complete and redacted."""

    run: str
    seq: int
    at: str
    type: str
    address: str | None
    data: Mapping[str, Value]


class Output(Struct, frozen=True, kw_only=True):
    """A named value of a stack; a sensitive one is stored encrypted."""

    key: str
    value: Value
    sensitive: bool
    updated_at: str
    run: int


class Holder(Struct, frozen=True, kw_only=True):
    """Who holds a stack: shown to whoever is refused."""

    who: str
    pid: int
    since: str
    command: str
    run: int


class Digest(NamedTuple):
    """A known SHA-256 of a file, with the stat it belongs to (see ``fresh``).

    ``hashed_at_ns`` is the moment of hashing on the clock of the file system's host.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str
    hashed_at_ns: int
