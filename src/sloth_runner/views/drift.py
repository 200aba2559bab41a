"""What drifted, as text: recorded against actual, property by property, and since when."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from sloth_runner.core.events import ChangeItem, ResourceDrift
from sloth_runner.views.text import Line, Look, Span, clean, line, padded
from sloth_runner.views.words import count, host_prefix, value

_INDENT = "       "


class Found(Struct, frozen=True, kw_only=True):
    """What a check of a stack found; addresses as text, ``unchecked`` with the reason.

    ``unseen`` are those that could not be looked at, though they should have been.
    """

    stack: str
    checked: int
    seconds: float
    drifted: Sequence[ResourceDrift] = ()
    missing: Sequence[ResourceDrift] = ()
    unreachable: Sequence[str] = ()
    unchecked: Sequence[tuple[str, str]] = ()
    unseen: Sequence[tuple[str, str]] = ()
    repaired: Sequence[str] = ()
    fixed: bool = False
    failed: int = 0


class DriftText(Struct, frozen=True, kw_only=True):
    """How drift is written; ``since`` puts a time of the record in words."""

    look: Look
    since: Callable[[str], str] = str
    duration: Callable[[float], str] = str

    def lines(self, found: Found) -> Iterator[Line]:
        """Returns everything that a check found, what drifted first."""
        yield from self._drifted(found)
        yield from self._section("Not checked", "skipped", found.unchecked)
        yield from self._section("Could not be checked", "failed", found.unseen)
        unreachable = [(address, "its host does not answer") for address in found.unreachable]
        yield from self._section("Unreachable", "failed", unreachable)
        yield from self._section("Put back", "changed", [(one, "") for one in found.repaired])
        yield self._total(found)
        yield from self._advice(found)

    def _drifted(self, found: Found) -> Iterator[Line]:
        events = [*found.drifted, *found.missing]
        if not events:
            return
        yield line(Span(" Drifted", "bold"))
        for event in events:
            yield from self.one(event)
        yield line()

    def one(self, event: ResourceDrift) -> Iterator[Line]:
        """Returns the lines of one resource that drifted."""
        mark = self.look.mark("removed" if event.missing else "drift")
        since = f"  first seen {self.since(event.since)}" if event.since else ""
        gone = "  is gone" if event.missing else ""
        name = host_prefix(event.host) + (event.res or "")
        name += " (registered)" if event.registered else ""
        yield line("   ", mark, f" {name}{gone}", Span(since, "dim"))
        if event.missing:
            return
        for item in event.changes:
            yield self._property(item)

    def _property(self, item: ChangeItem) -> Line:
        name = padded(clean(item.path), 11)
        if item.sensitive:
            return line(f"{_INDENT}{name} (sensitive value differs)")
        return line(f"{_INDENT}{name} recorded {value(item.old)}   actual {value(item.new)}")

    def _section(
        self, title: str, outcome: str, entries: Iterable[tuple[str, str]]
    ) -> Iterator[Line]:
        if not entries:
            return
        yield line(Span(f" {title}", "bold"))
        for address, why in dict.fromkeys(entries):
            tail = f": {clean(why)}" if why else ""
            yield line("   ", self.look.mark(outcome), f" {address.removeprefix('local/')}{tail}")
        yield line()

    def _total(self, found: Found) -> Line:
        drifted = len(found.drifted) + len(found.missing)
        spent = self.duration(found.seconds)
        if not (drifted or found.unreachable or found.unseen):
            rest = f", {len(found.unchecked)} not checked" if found.unchecked else ""
            if found.checked == 0:
                return line(f" {clean(found.stack)}: nothing to check{rest}.")
            checked = count(found.checked, "resource")
            return line(f" No drift: {checked} checked in {spent}, all as recorded{rest}.")
        parts = [f"{drifted} drifted", f"{found.checked - drifted} in order"]
        parts += [f"{len(found.unreachable)} unreachable"] if found.unreachable else []
        unchecked = len(found.unchecked) + len(found.unseen)
        parts += [f"{unchecked} not checked"] if unchecked else []
        parts += [f"{len(found.repaired)} put back"] if found.fixed else []
        parts += [f"{found.failed} failed"] if found.failed else []
        between = f" {self.look.sign('dot')} "
        return line(f" {between.join(parts)} in {spent}")

    def _advice(self, found: Found) -> Iterator[Line]:
        events = [*found.drifted, *found.missing]
        ours = [event for event in events if not event.registered and not found.fixed]
        stack = shlex.quote(clean(found.stack))
        if ours:
            yield line(f" Put back:    sloth-runner stack drift {stack} --fix")
        if ours and not ours[0].missing:
            address = shlex.quote(f"{ours[0].host}/{ours[0].res}")
            yield line(f" Keep as is:  sloth-runner stack accept {stack} {address}")
        if any(event.registered for event in events):
            yield line(" What is registered only its workflow can settle: run that again")
