"""Text as lines, edited without losing how they end: pure, no host, no files.

A line ends with "\\n" or "\\r\\n"; only the last may end with nothing, and stays so unless
it is empty.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from sloth_runner.core.errors import ParamError, Refused

DIFF_LIMIT = 256 * 1024
"""Texts of more characters than this are not shown as a diff."""
_PATIENCE = 2000
"""Two middles of more lines than this are not aligned line by line: that is quadratic."""


class Lines(Struct):
    """A text: ``texts`` are its lines, ``ends`` what ends each of them."""

    texts: list[str]
    ends: list[str]

    @classmethod
    def of(cls, text: str) -> "Lines":
        """Returns ``text`` as lines; ``str`` of the result is ``text`` again."""
        *whole, rest = text.split("\n")
        texts = [line.removesuffix("\r") for line in whole]
        ends = ["\r\n" if line.endswith("\r") else "\n" for line in whole]
        return cls([*texts, rest], [*ends, ""]) if rest else cls(texts, ends)

    def __str__(self) -> str:
        whole = "".join(part for pair in zip(self.texts, self.ends, strict=True) for part in pair)
        # Without an end, an empty line is none.
        unseen = bool(self.texts) and not (self.texts[-1] or self.ends[-1])
        return whole + self.end if unseen else whole

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def end(self) -> str:
        """How most lines end; "\\n" in a text of at most one line."""
        windows = self.ends.count("\r\n")
        return "\r\n" if windows > self.ends.count("\n") else "\n"

    def insert(self, at: int, new: Sequence[str]) -> None:
        """Puts lines before line ``at`` (from 0). A text without a last newline stays one."""
        ends = [self.end] * len(new)
        if new and self.ends and at == len(self) and not self.ends[-1]:
            self.ends[-1] = "\r\n" if self.texts[-1].endswith("\r") else self.end
            ends[-1] = ""
        self.texts[at:at] = new
        self.ends[at:at] = ends

    def remove(self, start: int, stop: int) -> None:
        """Takes the lines from ``start`` up to ``stop`` out."""
        unfinished = 0 < start < stop == len(self) and not self.ends[-1]
        del self.texts[start:stop], self.ends[start:stop]
        if unfinished and self.texts[-1]:
            self.ends[-1] = ""

    def matching(self, pattern: re.Pattern[str]) -> list[int]:
        """Returns the numbers (from 0) of the lines in which ``pattern`` is found."""
        return [at for at, line in enumerate(self.texts) if pattern.search(line)]

    def place(self, insertafter: str | None, insertbefore: str | None) -> int:
        """Returns where a new line goes: beside the last line that matches, else at the end."""
        if insertbefore == "BOF":
            return 0
        if insertbefore is not None:
            return (self.matching(re.compile(insertbefore)) or [len(self)])[-1]
        if insertafter is not None and insertafter != "EOF":
            return (self.matching(re.compile(insertafter)) or [len(self) - 1])[-1] + 1
        return len(self)


def check_pattern(name: str, pattern: str | None, flags: int = 0) -> None:
    """Raises ParamError when the parameter ``name`` is not a regular expression."""
    if pattern is None:
        return
    try:
        re.compile(pattern, flags)
    except re.error as error:
        raise ParamError(
            f"parameter {name!r}: {pattern!r} is not a regular expression: {error}",
            hint="the syntax is that of Python's re module",
        ) from None


def check_place(insertafter: str | None, insertbefore: str | None) -> None:
    """Raises ParamError unless at most one place is given and is one."""
    if insertafter is not None and insertbefore is not None:
        raise ParamError("give 'insertafter' or 'insertbefore', not both")
    if insertafter != "EOF":
        check_pattern("insertafter", insertafter)
    if insertbefore != "BOF":
        check_pattern("insertbefore", insertbefore)


def unified(before: str, after: str) -> str | None:
    """Returns a unified diff with three lines of context, or None where that shows nothing.

    That is so for texts above 256 KiB and for data that is not text.
    """
    if any(len(text) > DIFF_LIMIT or _is_binary(text) for text in (before, after)):
        return None
    import difflib  # only what differs needs it

    old, new = before.split("\n"), after.split("\n")
    for lines in (old, new):
        if not lines[-1]:
            lines.pop()
        else:
            lines[-1] += "\n\\ No newline at end of file"
    return "\n".join(list(difflib.unified_diff(old, new, n=3, lineterm=""))[2:])


def undone(before: str, after: str, now: str) -> str:
    """Returns ``now`` with the edit that once led from ``before`` to ``after`` taken back.

    Where nothing else was changed since, that is ``before``, byte for byte; otherwise only
    the lines of that edit change. Raises Refused when one of them is not there any more.
    """
    if now == after:
        return before
    if now == before:
        return now
    old, new, lines = Lines.of(before), Lines.of(after), Lines.of(now)
    for start, stop, back in reversed(_hunks(new.texts, old.texts)):
        gone = new.texts[start:stop]
        at = _nearest(lines.texts, gone, start) if gone else _after(lines.texts, new.texts, start)
        if len(gone) == len(back):
            lines.texts[at : at + len(gone)] = back
        else:
            lines.remove(at, at + len(gone))
            lines.insert(at, back)
    return str(lines)


def _hunks(new: Sequence[str], old: Sequence[str]) -> list[tuple[int, int, Sequence[str]]]:
    """Returns what turns ``new`` back into ``old``: replace new[start:stop] by these lines."""
    head = 0
    while head < min(len(new), len(old)) and new[head] == old[head]:
        head += 1
    tail = 0
    while tail < min(len(new), len(old)) - head and new[-1 - tail] == old[-1 - tail]:
        tail += 1
    mine, theirs = new[head : len(new) - tail], old[head : len(old) - tail]
    if len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [(head + i, head + i + 1, [was]) for i, (is_, was) in pairs if is_ != was]
    if max(len(mine), len(theirs)) > _PATIENCE:
        return [(head, head + len(mine), theirs)]
    import difflib  # only what differs needs it

    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    return [
        (head + a, head + b, theirs[c:d])
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag != "equal"
    ]


def _nearest(lines: Sequence[str], wanted: Sequence[str], near: int) -> int:
    """Returns where ``wanted`` stands in ``lines``, as close to ``near`` as possible."""
    size = len(wanted)
    found = [
        at
        for at in range(len(lines) - size + 1)
        if lines[at] == wanted[0] and list(lines[at : at + size]) == list(wanted)
    ]
    if not found:
        raise Refused(
            f"the line {wanted[0][:200]!r} that was written is not there any more, "
            "so it cannot be taken back",
            hint="edit the file by hand",
        )
    return min(found, key=lambda at: abs(at - near))


def _after(lines: Sequence[str], new: Sequence[str], start: int) -> int:
    """Returns where lines go that once stood before ``new[start]``: after the one above them."""
    if start == 0:
        return 0
    above = [at for at, line in enumerate(lines) if line == new[start - 1]]
    return min(above, key=lambda at: abs(at - start + 1)) + 1 if above else min(start, len(lines))


def _is_binary(text: str) -> bool:
    return "\0" in text or any("\udc80" <= char <= "\udcff" for char in text)
