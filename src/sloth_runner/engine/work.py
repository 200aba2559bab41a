"""One resource on its way through the pipeline, and what is said of it."""

import contextlib
import copy
import time
from collections.abc import Sequence

from msgspec import Struct, structs

from sloth_runner.core import values
from sloth_runner.core.address import LOCAL, Address, escaped
from sloth_runner.core.diff import Change, Diff
from sloth_runner.core.errors import NotConverged, PluginFailed, SecretName, SlothError
from sloth_runner.core.events import ChangeItem, ResourceEnd
from sloth_runner.core.host import Host
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.record import Carry, ResourceRow, Run
from sloth_runner.core.resource import Checked, Resource
from sloth_runner.core.values import State
from sloth_runner.engine.context import Caller, Outcome, status_of
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.seal import change_items, redacted, redacted_state


class Work(Struct, frozen=True, kw_only=True):
    """A resource with its latest observation (``seen``) and what that leaves to do.

    ``began`` is on the monotonic clock, in seconds; ``disturbed`` says whether this run has
    done something before that may have touched it; ``aside`` is what the change does beside.
    """

    address: Address
    resource: Resource
    caller: Caller
    seen: State | None
    change: Diff
    began: float
    disturbed: bool = False
    aside: str | None = None

    @property
    def sensitive(self) -> frozenset[str]:
        return self.resource.sensitive_beside(self.seen)

    def as_if_touched(self) -> "Work":
        """Returns it as a change even where it matches now: an earlier change may touch it."""
        if self.change:
            return self
        desired = self.resource.desired()
        seen = self.seen or {}
        changes = tuple(Change(k, seen.get(k), v) for k, v in sorted((desired or {}).items()))
        return structs.replace(
            self, change=Diff("remove" if desired is None else "change", changes)
        )

    def left_over(self, after: State | None) -> NotConverged | None:
        """Returns the error for what does not match after it was applied, or None."""
        left = self.resource.diff(after)
        if not left:
            return None
        wrong = ", ".join(
            change.property
            if change.property in self.sensitive
            else f"{change.property} is {values.encode(change.old)}, "
            f"not {values.encode(change.new)}"
            for change in left.changes
        )
        return NotConverged(f"{self.address}: {wrong or left.kind}")

    async def shown(self, looking: Host) -> tuple[ChangeItem, ...]:
        """Returns the changes as people and readers may see them."""
        if self.change.kind == "change":  # what only an earlier change may touch is the same yet
            told = tuple(c for c in self.change.changes if c.old != c.new)
            return await structs.replace(self, change=Diff("change", told))._shown(looking)
        return await self._shown(looking)

    async def _shown(self, looking: Host) -> tuple[ChangeItem, ...]:
        sensitive, text_diffs = self.sensitive, {}
        if any(change.property not in sensitive for change in self.change.changes):
            drawing = self.resource.text_diff(looking, self.change)
            with contextlib.suppress(SlothError):  # a diff that cannot be drawn stops nothing
                text_diffs = dict(await answer_of(type(self.resource), drawing))
        return redacted(self.change, sensitive, text_diffs)

    def end(self, outcome: str, **rest: object) -> ResourceEnd:
        """Returns the event that says what became of it."""
        return end_event(
            self.address,
            self.caller,
            outcome,
            action=self.change.kind,
            ms=int((time.monotonic() - self.began) * 1000),
            note=self.aside,
            **rest,
        )

    def outcome(
        self,
        after: State | None,
        changes: tuple[ChangeItem, ...],
        *,
        error: SlothError | None = None,
        follows: Address | None = None,
    ) -> Outcome:
        """Returns what the workflow is told of it."""
        hidden = self.sensitive | self.resource.sensitive_beside(after)
        return Outcome(
            address=self.address,
            status="failed" if error else status_of(self.change),
            changed=error is None,
            changes=changes,
            before=redacted_state(self.seen, hidden),
            after=redacted_state(after, hidden),
            error=error,
            follows=follows,
        )


def left_as(item: Work, after: State | None) -> tuple[str, ...]:
    """Returns what a change that failed has left, by what is seen now."""
    name = shown_address(item.address)
    if after == item.seen:
        return (f"{name} is as it was",)
    if after is None:
        return (f"{name} was removed",)
    if item.seen is None:
        return (f"{name} was made, and is left as it is now",)
    names = sorted({*item.seen, *after})
    moved = [key for key in names if item.seen.get(key) != after.get(key)]
    return (f"{name} was changed before that: {', '.join(moved)}",)


def end_event(address: Address, caller: Caller, outcome: str, **rest: object) -> ResourceEnd:
    """Returns the event that ends the work at an address."""
    return ResourceEnd(
        msg=f"{address} {outcome}",
        level="error" if outcome == "failed" else "info",
        host=address.host,
        task=caller.task,
        res=without_host(address),
        loc=caller.place,
        outcome=outcome,
        **rest,  # type: ignore[arg-type]  # the fields of the event, by name
    )


def without_host(address: Address) -> str:
    """Returns ``TYPE:NAME``."""
    return f"{address.type}:{escaped(address.name)}"


def told(address: Address, error: Exception) -> Address:
    """Returns what may be told of an address, which is less where its name may be a secret."""
    return address._replace(name=error.shown) if isinstance(error, SecretName) else address


def shown_address(address: Address) -> str:
    """Returns an address for people, who need not be told that it is on this machine."""
    return without_host(address) if address.host == LOCAL else str(address)


def locate(error: SlothError, address: Address, caller: Caller, what: str = "resource") -> None:
    """Adds to ``error`` where it happened, as far as it does not say so itself."""
    if error.location is None:
        error.location = caller.location
    facts = {"host": address.host, "task": caller.task, what: str(address)}
    error.facts = {**facts, **error.facts}


async def checked(
    work: Sequence[Work], looking: Host, binding: Plan | None
) -> list[tuple[Work, Exception | None]]:
    """Returns each with what forbids its change, or None: its type, or a plan that is kept to."""
    answers: list[Checked] = [_forbidden(item, binding) for item in work]
    asked = [item for item, answer in zip(work, answers, strict=True) if answer is None]
    if asked:
        more = iter(await looked_closer(asked, looking))
        answers = [next(more) if answer is None else answer for answer in answers]
    return [
        (structs.replace(item, aside=answer), None) if isinstance(answer, str) else (item, answer)
        for item, answer in zip(work, answers, strict=True)
    ]


async def looked_closer(work: Sequence[Work], looking: Host) -> Sequence[Checked]:
    """Returns what the type of ``work`` finds before its changes (``preview_check``)."""
    cls = type(work[0].resource)
    closer = cls.preview_check_many(
        looking, [(item.resource, item.seen, item.change) for item in work]
    )
    try:
        return await answer_of(cls, closer)
    except SlothError as error:  # nothing can be said of any of them
        return [copy.copy(error) for _ in work]


def _forbidden(item: Work, binding: Plan | None) -> SlothError | None:
    try:
        item.resource.plan_check(item.seen)
        if binding is not None:
            binding.check(
                item.address,
                item.change.kind,
                item.resource.desired(),
                item.seen,
                task=item.caller.task,
                disturbed=item.disturbed,
                after_failure=item.caller.after_failure,
            )
    except SlothError as error:
        return error
    except Exception as error:
        return PluginFailed.of(type(item.resource), error)
    return None


def owed(
    row: ResourceRow | None, caller: Caller, *, run: Run, tasks: frozenset[str] | None
) -> Carry | None:
    """Returns the change of ``row`` that ``caller`` has still to follow through, or None.

    It is owed to the task that made it, in another attempt than that one. A task that no
    longer exists (``tasks`` are those that do, None while the body has not ended), or that
    has not declared it in this run so far, counts by whoever calls.
    """
    if row is None or row.carry is None:
        return None
    carry = row.carry
    if carry.task == caller.task:
        return None if (carry.run, carry.attempt) == (run.id, caller.attempt) else carry
    gone = tasks is None or carry.task not in tasks or row.claimed_run != run.number
    return carry if gone and carry.run != run.id else None


def carried(
    address: Address, debt: Carry, caller: Caller, shown: State | None, *, planned: bool
) -> tuple[Outcome, ResourceEnd]:
    """Returns the answer and the event for a change that is answered again."""
    changes = change_items(debt.diff)
    event = ResourceEnd(
        msg=f"{address} {debt.status} earlier, not yet followed through",
        host=address.host,
        task=caller.task,
        res=without_host(address),
        loc=caller.place,
        outcome="carried",
        cause="carried",
        changes=changes,
        carried=True,
        planned=planned,
    )
    outcome = Outcome(
        address=address,
        status=debt.status,
        changed=True,
        carried=True,
        changes=changes,
        before=shown,
        after=shown,
    )
    return outcome, event
