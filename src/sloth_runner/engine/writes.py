"""What a workflow writes itself, with no resource and no action between.

Outputs, keys, marks of registrations and files of the controller: nothing of them is observed
or looked at for drift. But a plan lists them, a run that is bound to a plan says what was not
in it, and the record keeps what was written when.
"""

from typing import Final

from msgspec import Struct

from sloth_runner.core.events import Event, ProgramWrote, Warned
from sloth_runner.core.values import Value, encode
from sloth_runner.engine.bus import Publish
from sloth_runner.engine.context import WRITTEN, Caller, Counts
from sloth_runner.engine.plan import Plan

OUTPUT = "output"
KEY = "key"
STACK_KEY = "stack_key"
REGISTRATION = "registration"
FILE = "file"

ABSENT: Final = object()
"""Where nothing is."""


class _Foreseen(Struct):
    caller: Caller
    before: Value
    after: Value


class Writes:
    """The writes of one run, or of one preview, where they add up until its end."""

    def __init__(
        self, counts: Counts, publish: Publish, *, preview: Plan | None, binding: Plan | None
    ) -> None:
        self.preview = preview
        self._counts = counts
        self._publish = publish
        self._binding = binding
        self._told: set[tuple[str, str]] = set()
        self._foreseen: dict[tuple[str, str], _Foreseen] = {}

    def foresee(self, kind: str, name: str, caller: Caller, before: Value, after: Value) -> None:
        """Takes note of what a preview would write; the last value is what it comes to."""
        known = self._foreseen.setdefault((kind, name), _Foreseen(caller, before, after))
        known.after = after

    def foreseen(self) -> list[Event]:
        """Returns, and counts, what a preview found that would be written."""
        found: list[Event] = []
        for (kind, name), write in self._foreseen.items():
            found.append(self.event(kind, name, write.caller, write.before, write.after))
            self.count(kind, name, caller=write.caller)
        return found

    def event(
        self, kind: str, name: str, caller: Caller, before: Value, after: Value
    ) -> ProgramWrote:
        """Returns the event of one write. What was written and put back counts as changed."""
        outcome = "changed"
        if (before is ABSENT) is not (after is ABSENT):
            outcome = "created" if before is ABSENT else "removed"
        return ProgramWrote(
            msg=f"{kind.replace('_', ' ')} {name} {outcome}",
            task=caller.task,
            loc=caller.place,
            kind=kind,
            name=name,
            outcome=outcome,
            planned=self.preview is not None,
        )

    def count(self, kind: str, name: str, *, caller: Caller) -> None:
        """Counts what was written, however often, once; warns where a plan did not hold it."""
        if (kind, name) in self._told:
            return
        self._told.add((kind, name))
        self._counts.add(WRITTEN)
        if self.preview is not None:
            self.preview.writes.add((kind, name))
        elif self._binding is not None and not self._binding.foresaw(kind, name, task=caller.task):
            self._publish(
                Warned(
                    msg=f"{kind.replace('_', ' ')} {name} was written, and was not in the plan",
                    level="warn",
                    task=caller.task,
                    loc=caller.place,
                )
            )


def same(before: Value, after: Value) -> bool:
    """Whether two values, or ABSENT, are kept as the same."""
    if before is ABSENT or after is ABSENT:
        return before is after
    return encode(before) == encode(after)
