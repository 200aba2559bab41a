"""A plan: the set of operations that a preview found, and whether a run keeps to it.

The set binds (address, kind, desired properties; for actions their task and ordinal), never the
order; what was observed binds only operations that follow nothing, in the preview as in the run,
which may do them in another order and more than once. Doing less is always allowed.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from sloth_runner.core import values
from sloth_runner.core.address import Address
from sloth_runner.core.errors import PlanStale
from sloth_runner.core.events import Event
from sloth_runner.core.values import State, Value
from sloth_runner.engine.program import MAIN


class Planned(Struct, frozen=True, kw_only=True):
    """One operation of a plan. ``desired`` and ``seen`` are checksums."""

    address: Address
    kind: str
    desired: str
    seen: str
    follows: bool = False


class Plan(Struct, kw_only=True):
    """What a preview found. ``open_tasks`` could not be predicted to their end.

    ``serial`` is the record's at the time: another one later means a new preview.
    ``rescues`` are the tasks that do something when they fail, which cannot be predicted either.
    ``writes`` are kind and name of what the workflow itself would write: told, but not bound,
    since what it notes when something fails could be in no plan.
    ``shown`` are the planned changes, ``told`` what else was said: tasks, diagnostics.
    """

    serial: int
    operations: dict[tuple[str, str, int], Planned] = field(default_factory=dict)
    open_tasks: set[str] = field(default_factory=set)
    rescues: set[str] = field(default_factory=set)
    writes: set[tuple[str, str]] = field(default_factory=set)
    shown: list[Event] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)

    def add(self, planned: Planned, ordinal: int = 0) -> None:
        """Adds an operation to the set."""
        self.operations[(str(planned.address), planned.desired, ordinal)] = planned

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do and nothing unknown."""
        return not self.shown and not self.open_tasks

    def check(
        self,
        address: Address,
        kind: str,
        desired: State | None,
        seen: State | None,
        *,
        task: str,
        ordinal: int = 0,
        disturbed: bool = False,
        after_failure: bool = False,
    ) -> None:
        """Raises PlanStale unless the plan holds this operation, or its task was left open.

        What a task does ``after_failure`` is left open where the plan said that it does
        something then. What was seen does not bind where this run has ``disturbed`` it
        before. Where the body could not be predicted, nor could any task.
        """
        if self._left_open(task) or (after_failure and task in self.rescues):
            return
        planned = self.operations.get((str(address), values.checksum(desired), ordinal))
        if planned is None:
            verb = "run" if kind == "action" else kind
            raise PlanStale(
                f"{address}: to {verb} it is not in the plan",
                hint="it was not done; look at a new plan",
            )
        if planned.follows or disturbed:
            return
        if planned.kind != kind or planned.seen != values.checksum(seen):
            raise PlanStale(
                f"{address}: it is not as it was when the plan was made",
                hint="it was not changed; look at a new plan",
                facts={"planned": planned.kind, "now": kind},
            )

    def foresaw(self, kind: str, name: str, *, task: str) -> bool:
        """Whether a write of the workflow itself is in the plan, or its task was left open."""
        return (kind, name) in self.writes or self._left_open(task)

    def _left_open(self, task: str) -> bool:
        return task in self.open_tasks or MAIN in self.open_tasks


def planned_action(address: Address, params: Mapping[str, Value]) -> Planned:
    """Returns the plan's entry for an action, which binds its parameters and its task."""
    return Planned(
        address=address,
        kind="action",
        desired=values.checksum(dict(params)),
        seen="",
        follows=True,
    )


def plan_order(event: Event, tasks: list[str]) -> tuple[int, str, int, str]:
    """Sorts a plan by task, line of the program and address: the same plan, the same text."""
    place = tasks.index(event.task) + 1 if event.task in tasks else 0
    file, _, line = (event.loc or "").rpartition(":")
    return (place, file, int(line) if line.isdigit() else 0, f"{event.host}/{event.res}")
