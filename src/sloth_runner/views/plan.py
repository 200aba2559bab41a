"""A plan as text: what would be done, property by property, and what cannot be known."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from sloth_runner.core.events import (
    ChangeItem,
    Event,
    Orphaned,
    ProgramWrote,
    ResourceEnd,
    StackOutput,
    TaskEnd,
)
from sloth_runner.views.phrases import VERBS, counts_line, lines_changed, whole_value
from sloth_runner.views.text import Line, Look, Span, cells, clean, line, padded, shorten
from sloth_runner.views.words import count, host_prefix, value

_INDENT = "       "
_COLUMN = 12


class PlanText(Struct, frozen=True, kw_only=True):
    """How a plan is written; ``diff_lines`` limits each text diff (None: all of it)."""

    look: Look
    place: Callable[[str], str] = str
    diff_lines: int | None = None

    def lines(self, events: Sequence[Event], *, unchanged: int | None = None) -> Iterator[Line]:
        """Returns the plan of ``events``; ``unchanged`` is how many need nothing, if known."""
        found = _Found.of(events)
        for task, group in found.by_task.items():
            yield line(Span(f" {clean(task)}", "bold"))
            for event in group:
                yield from self.operation(event)
            yield line()
        for section in (
            self.outputs(found.outputs.values()),
            self.writes(found.writes.values()),
            self._open(found),
        ):
            if section:
                yield from (*section, line())
        yield from self._orphans(found.orphans)
        yield line(" Plan: ", *self.totals(found, unchanged))
        final = sum(1 for event in found.all if event.undo)
        if final:
            yield line(f"       {count(final, 'operation')} cannot be undone")

    def operation(self, event: ResourceEnd) -> Iterator[Line]:
        """Returns the lines of one operation."""
        yield self._headline(event)
        if event.outcome == "failed":
            yield line(Span(f"{_INDENT}{clean(event.reason or 'would fail')}", "failed"))
        if event.carried:
            yield line(f"{_INDENT}changed in an earlier run, and not yet followed through")
        else:
            for item in event.changes:
                yield from self._change(item, event.outcome)
        yield from self._notes(event)

    def totals(self, found: "_Found", unchanged: int | None) -> Line:
        """Returns the counts of a plan, "nothing to do" where they are all zero."""
        counts = dict(found.counts)
        if unchanged:
            counts["unchanged"] = unchanged
        if not any(counts.get(name) for name in counts if name != "unchanged"):
            checked = f" ({count(unchanged, 'resource')} checked)" if unchanged else ""
            return line(f"nothing to do{checked}")
        words = {**VERBS, "carried": "to follow through", "unknown": "not predicted"}
        return counts_line(counts, self.look, words)

    def outputs(self, outputs: Collection[StackOutput]) -> Sequence[Line]:
        """Returns the lines of the outputs that were, or would be, set."""
        return _section(" Outputs", [output_line(output) for output in outputs])

    def writes(self, writes: Collection[ProgramWrote]) -> Sequence[Line]:
        """Returns the lines of what the workflow wrote, or would write, itself."""
        return _section(" Written by the workflow itself", [self.write(one) for one in writes])

    def write(self, event: ProgramWrote) -> Line:
        """Returns the line of one write of the workflow itself."""
        kind, _, of = event.kind.partition("_")
        name = event.name.removeprefix("local/") if kind == "registration" else event.name
        what = f"key {clean(name)} of this stack" if of else f"{kind} {clean(name)}"
        return self._placed(event, event.outcome, what, "")

    def _headline(self, event: ResourceEnd) -> Line:
        name = host_prefix(event.host) + (event.res or "")
        undo = "" if event.outcome != "ran" or not event.undo else "cannot be undone"
        return self._placed(event, event.outcome, name, undo)

    def _placed(self, event: Event, outcome: str, name: str, undo: str) -> Line:
        """Returns a line with the sign of an outcome, and its place at the right."""
        place = self.place(event.loc) if event.loc else ""
        width = self.look.width
        room = None if width is None else width - 7 - len(place) - (len(undo) + 2 if undo else 0)
        name = shorten(name, room, self.look)
        spans = [Span("   "), self.look.mark(outcome), Span(f" {name}")]
        if undo:
            spans.append(Span(f"  {undo}", "dim"))
        if place:
            gap = 2 if width is None else width - sum(cells(s.text) for s in spans) - len(place)
            spans.append(Span(" " * max(gap, 2) + place, "dim"))
        return tuple(spans)

    def _change(self, item: ChangeItem, outcome: str) -> Iterator[Line]:
        look = self.look
        name = padded(clean(item.path), _COLUMN - 1) + " "
        shown = whole_value(item.diff) if item.diff else None
        if item.sensitive:
            same = item.old is None or item.new is None
            what = "(sensitive)" if same else "(sensitive value differs)"
            yield line(f"{_INDENT}{name}{what}")
        elif item.diff and shown is None:
            yield line(f"{_INDENT}{name}{lines_changed(item.diff, look, new=item.old is None)}")
            yield from self._diff(item.diff)
        else:
            old, new = shown or (item.old, item.new)
            new = None if outcome == "removed" else new
            yield line(f"{_INDENT}{name}{value(old)} {look.sign('arrow')} {value(new)}")

    def _diff(self, text: str) -> Iterator[Line]:
        lines = text.split("\n")
        shown = lines if self.diff_lines is None else lines[: self.diff_lines]
        for one in shown:
            style = {"+": "created", "-": "removed", "@": "dim", "\\": "dim"}.get(one[:1], "")
            yield line(Span(f"{_INDENT}  {clean(one)}", style))
        hidden = len(lines) - len(shown)
        if hidden:
            yield line(Span(f"{_INDENT}  ({count(hidden, 'more line')} of this diff)", "dim"))

    def _notes(self, event: ResourceEnd) -> Iterator[Line]:
        if event.follows:
            follows = event.follows.removeprefix("local/")
            yield line(
                f"{_INDENT}",
                self.look.mark("unknown"),
                f" follows {follows}, so it may turn out otherwise",
            )
        if event.cause == "corrective":
            yield line(f"{_INDENT}it differs from what the last run left")
        if event.note:
            yield line(f"{_INDENT}{clean(event.note)}")
        if event.undo and event.outcome != "ran":
            yield line(f"{_INDENT}", self.look.mark("failed"), f" {_undo(event.undo)}")

    def _open(self, found: "_Found") -> Sequence[Line]:
        told = [(task, self._past(task)) for task in found.open_tasks]
        told += [(task, "its on_failure, should it fail") for task in found.rescues]
        mark = self.look.mark("unknown")
        lines = [
            line("   ", mark, f" task {clean(task.task or '')}: {what}") for task, what in told
        ]
        return _section(" Not predicted", lines)

    def _past(self, task: TaskEnd) -> str:
        why = task.unpredicted or "it depends on what cannot be known yet"
        at, space, rest = why.partition(" (")
        return clean(f"past {self.place(at)}{space}{rest}")

    def _orphans(self, orphans: Sequence[Orphaned]) -> Iterator[Line]:
        if not orphans:
            return
        yield line(Span(" No longer declared, kept", "bold"))
        for orphan in orphans:
            place = self.place(orphan.loc) if orphan.loc else ""
            last = f"  last at {place}" if place else ""
            name = f" {host_prefix(orphan.host)}{orphan.res or ''}"
            yield line("   ", self.look.mark("skipped"), name, Span(last, "dim"))
        yield line()


def output_line(output: StackOutput) -> Line:
    """Returns the line of an output that was, or would be, set."""
    shown = "(sensitive)" if output.sensitive else value(output.value)
    return line(f"   {clean(output.key)} = {shown}")


def _section(title: str, lines: Sequence[Line]) -> Sequence[Line]:
    return [line(Span(title, "bold")), *lines] if lines else []


def _undo(text: str) -> str:
    shown = clean(text)
    return shown if "undone" in shown else f"cannot be undone: {shown}"


class _Found(Struct, kw_only=True):
    """The events of a plan, sorted by what they are."""

    all: list[ResourceEnd] = field(default_factory=list)
    by_task: dict[str, list[ResourceEnd]] = field(default_factory=dict)
    outputs: dict[str, StackOutput] = field(default_factory=dict)
    writes: dict[tuple[str, str], ProgramWrote] = field(default_factory=dict)
    open_tasks: list[TaskEnd] = field(default_factory=list)
    failing: list[TaskEnd] = field(default_factory=list)
    orphans: list[Orphaned] = field(default_factory=list)

    @property
    def rescues(self) -> list[TaskEnd]:
        """The tasks that change something, and do something more should they fail."""
        return [t for t in self.failing if t.outcome == "unknown" or t.task in self.by_task]

    @classmethod
    def of(cls, events: Iterable[Event]) -> "_Found":
        found = cls()
        for event in events:
            if isinstance(event, ResourceEnd) and event.outcome not in ("unchanged", "skipped"):
                found.all.append(event)
                found.by_task.setdefault(event.task or "main", []).append(event)
            elif isinstance(event, StackOutput):
                found.outputs[event.key] = event
            elif isinstance(event, ProgramWrote):
                found.writes[(event.kind, event.name)] = event
            elif isinstance(event, Orphaned):
                found.orphans.append(event)
            elif isinstance(event, TaskEnd):
                if event.outcome == "unknown":
                    found.open_tasks.append(event)
                if event.on_failure:
                    found.failing.append(event)
        return found

    @property
    def counts(self) -> Mapping[str, int]:
        counts: dict[str, int] = {
            "unknown": len(self.open_tasks),
            "written": len(self.outputs) + len(self.writes),
        }
        for event in self.all:
            counts[event.outcome] = counts.get(event.outcome, 0) + 1
        return counts
