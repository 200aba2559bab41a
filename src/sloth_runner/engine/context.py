"""Who asks: the facts of a call that the pipeline and the record need."""

from collections.abc import Mapping

from msgspec import Struct, field

from sloth_runner.core.address import Address
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ConflictError, Location, SlothError
from sloth_runner.core.events import ChangeItem
from sloth_runner.core.record import ResourceState
from sloth_runner.core.values import State, Value


class Caller(Struct, frozen=True, kw_only=True):
    """The task attempt and the line that a call comes from; ``function`` is ``pkg.install``.

    ``after_failure``: it is a part of what the task does once it has failed. ``leaves`` is the
    state of what is then as it should be: "orphaned" where nobody declares it any more.
    """

    task: str
    attempt: int
    function: str
    location: Location | None = None
    after_failure: bool = False
    leaves: ResourceState = "applied"

    @property
    def module(self) -> str:
        return self.function.partition(".")[0]

    @property
    def place(self) -> str | None:
        return str(self.location) if self.location else None

    def contradiction(self, detail: str, hint: str) -> ConflictError:
        """Returns the error of a declaration that another line of the workflow contradicts."""
        return ConflictError(
            detail,
            location=self.location,
            hint=hint,
            effects=("this declaration was not applied",),
        )

    def stopped(self, why: str) -> str:
        """Returns where a preview stops, and why, as it is told."""
        return f"{self.place or self.task} ({why})"


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one resource (or would, in a preview)."""

    address: Address
    status: str
    changed: bool
    carried: bool = False
    changes: tuple[ChangeItem, ...] = ()
    before: State | None = None
    after: State | None = None
    error: SlothError | None = None
    follows: Address | None = None
    partial: bool = False
    """Of a thing that is still to be made only what is declared is known of ``after``."""

    def as_value(self) -> dict[str, Value]:
        """Returns the table that the workflow sees."""
        return {
            "changed": self.changed,
            "status": self.status,
            "carried": self.carried,
            "diff": {
                item.path: {
                    k: v for k, v in (("old", item.old), ("new", item.new)) if v is not None
                }
                for item in self.changes
            },
            "before": self.before,
            "after": self.after,
            "address": str(self.address),
        }


WRITTEN = "written"

STATUS: Mapping[str, str] = {"create": "created", "change": "changed", "remove": "removed"}


def status_of(change: Diff) -> str:
    """Returns the outcome that carrying out ``change`` has."""
    return STATUS.get(change.kind, "unchanged")


class Counts(Struct):
    """How often each outcome happened; the one place where outcomes are counted.

    "written" is what is no resource: an output, a key, a mark of a registration, a file of Lua.
    """

    by_outcome: dict[str, int] = field(default_factory=dict)
    failed_tasks: int = 0
    """Those that failed by themselves, with no resource or action that did."""

    def add(self, outcome: str) -> None:
        """Counts one outcome."""
        self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + 1

    @property
    def touched(self) -> bool:
        """Whether anything may be other than before; what failed may have done a part of it."""
        done = ("created", "changed", "removed", "ran", "written", "failed")
        return any(self[outcome] for outcome in done)

    @property
    def checked(self) -> int:
        """How many resources and actions there were."""
        return sum(self.by_outcome.values()) - self[WRITTEN]

    @property
    def told(self) -> dict[str, int]:
        """What a summary and the record say of it."""
        failed = self["failed"] + self.failed_tasks
        return {**self.by_outcome, "failed": failed} if failed else dict(self.by_outcome)

    def __getitem__(self, outcome: str) -> int:
        return self.by_outcome.get(outcome, 0)
