"""Changes and counts in the words that people read."""

from collections.abc import Iterable, Mapping

from sloth_runner.core.events import SENSITIVE, ChangeItem
from sloth_runner.core.values import Value
from sloth_runner.views.text import Line, Look, Span, clean, line
from sloth_runner.views.words import HASH, brief, count

VERBS: Mapping[str, str] = {
    "created": "to create",
    "changed": "to change",
    "removed": "to remove",
    "ran": "to run",
    "written": "to write",
}
"""What a plan says of the outcomes that it predicts, in the order of its last line."""

COUNTED = (
    "created",
    "changed",
    "removed",
    "ran",
    "written",
    "carried",
    "failed",
    "blocked",
    "skipped",
    "unknown",
    "unchanged",
)
"""The outcomes of a summary, in the order in which they are shown."""


_SHORT = 50
"""Characters of a line that is shown instead of counted."""


def diff_counts(diff: str) -> tuple[int, int]:
    """Returns how many lines a unified diff adds and removes."""
    lines = diff.split("\n")
    added = sum(1 for text in lines if text.startswith("+"))
    removed = sum(1 for text in lines if text.startswith("-"))
    return added, removed


def lines_changed(diff: str, look: Look, *, new: bool) -> str:
    """Returns the size of a text change: lines added and removed, or those of a new text."""
    added, removed = diff_counts(diff)
    if new and not removed:
        return count(added, "line")
    return f"+{added} {look.sign('minus')}{removed} lines"


def change_phrase(item: ChangeItem, look: Look, *, new: bool) -> str:
    """Returns one change of a property in a few words."""
    name = clean(item.path)
    if item.sensitive:
        return f"{name} {SENSITIVE}"
    if item.diff:
        whole = whole_value(item.diff)
        pair = whole or (None if _is_hash(item.new) else _one_line(item.diff))
        if pair is not None:
            from_old = "" if pair[0] is None else f"{clean(pair[0])} {look.sign('arrow')} "
            return f"{name} {from_old}{clean(pair[1])}"
        return lines_changed(item.diff, look, new=new)
    if _is_hash(item.old) or _is_hash(item.new):
        return name
    if item.old is None:
        return f"{name} {brief(item.new)}"
    if item.new is None:
        return f"{name} removed"
    return f"{name} {brief(item.old)} {look.sign('arrow')} {brief(item.new)}"


def whole_value(diff: str) -> tuple[str | None, str] | None:
    """Returns the old value (None: absent) and the new one where a diff is of nothing more.

    So a package says which version a pattern comes to. Diffs of texts name their lines (@@).
    """
    lines = diff.rstrip("\n").split("\n")
    old = [text[1:] for text in lines if text.startswith("-")]
    new = [text[1:] for text in lines if text.startswith("+")]
    if len(old) > 1 or len(new) != 1 or len(old) + len(new) != len(lines):
        return None
    return (old[0] if old else None), new[0]


def _one_line(diff: str) -> tuple[str, str] | None:
    """Returns the old and the new line of a diff that replaces one short line, or None."""
    lines = [text for text in diff.rstrip("\n").split("\n") if text[:1] in ("+", "-")]
    old, new = (lines[0], lines[1]) if len(lines) == 2 else ("", "")
    if old[:1] != "-" or new[:1] != "+" or max(len(old), len(new)) > _SHORT:
        return None
    return old[1:], new[1:]


def _is_hash(item: Value) -> bool:
    return isinstance(item, str) and item.startswith(HASH)


def changes_phrase(changes: Iterable[ChangeItem], look: Look, *, outcome: str) -> str:
    """Returns what changed in one line; nothing for a removal, which says it all."""
    if outcome == "removed":
        return ""
    new = outcome == "created"
    shown = [change_phrase(c, look, new=new) for c in changes if not (new and _is_hash(c.new))]
    shown += [
        lines_changed(c.diff, look, new=True)
        for c in changes
        if new and _is_hash(c.new) and c.diff and not c.sensitive
    ]
    return ", ".join(shown)


def counts_line(
    counts: Mapping[str, int], look: Look, words: Mapping[str, str] | None = None
) -> Line:
    """Returns "+ 4 created   ~ 2 changed": every count that is not zero, with its sign."""
    spans: list[Span] = []
    for name in COUNTED:
        number = counts.get(name, 0)
        if number:
            word = (words or {}).get(name, name)
            style = look.style(name)
            spans += [Span("   ") if spans else Span("")]
            spans.append(Span(f"{look.symbol(name)} {number:,} {word}", style))
    return line(*spans)
