"""What a workflow writes itself, with no resource and no action between.

Outputs, keys, marks of registrations and files of the controller: nothing of them is observed
or looked at for drift. But a plan lists them, a run that is bound to a plan says what was not
in it, and the record keeps what was written when.
"""

from collections.abc import Sequence
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


class _Write(Struct):
    caller: Caller
    first: Value
    last: Value


class Writes:
    """The writes of one run, or of one preview. What is put back by its end counts as nothing."""

    def __init__(
        self, counts: Counts, publish: Publish, *, preview: Plan | None, binding: Plan | None
    ) -> None:
        self.preview = preview
        self._counts = counts
        self._publish = publish
        self._binding = binding
        self._writes: dict[tuple[str, str], _Write] = {}

    def note(self, kind: str, name: str, caller: Caller, before: Value, after: Value) -> None:
        """Takes note of what was written, or in a preview would be; warns of the unforeseen."""
        if (kind, name) in self._writes:
            self._writes[(kind, name)].last = after
            return
        self._writes[(kind, name)] = _Write(caller, before, after)
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

    def event(
        self, kind: str, name: str, caller: Caller, before: Value, after: Value
    ) -> ProgramWrote:
        """Returns the event of one write, which tells what has come of it since the first."""
        known = self._writes.get((kind, name))
        first = before if known is None else known.first
        if same(first, after):
            outcome = "unchanged"
        elif first is ABSENT:
            outcome = "created"
        else:
            outcome = "removed" if after is ABSENT else "changed"
        return ProgramWrote(
            msg=f"{kind.replace('_', ' ')} {name} {outcome}",
            task=caller.task,
            loc=caller.place,
            kind=kind,
            name=name,
            outcome=outcome,
            planned=self.preview is not None,
        )

    def settle(self) -> Sequence[Event]:
        """At the end: counts what is other than before, and returns the events of a preview."""
        told: list[Event] = []
        for (kind, name), write in self._writes.items():
            if same(write.first, write.last):
                continue
            self._counts.add(WRITTEN)
            if kind != OUTPUT:  # it has an event of its own
                told.append(self.event(kind, name, write.caller, write.first, write.last))
        return told


def same(before: Value, after: Value) -> bool:
    """Whether two values, or ABSENT, are kept as the same."""
    if before is ABSENT or after is ABSENT:
        return before is after
    return encode(before) == encode(after)
