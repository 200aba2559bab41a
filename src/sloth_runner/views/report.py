"""The failure report: what, where in the Lua, on which host, by which command, and what now."""

import shlex
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from sloth_runner.core import values
from sloth_runner.core.events import Diagnostic
from sloth_runner.core.values import Value
from sloth_runner.views.text import Line, Look, Span, clean, cut, line, padded

Source = Callable[[str], Sequence[str] | None]
"""Returns the lines of a Lua file, or None where it cannot be read."""

CALLERS = 8
"""Calls that are shown of those that led to a failure."""
TAIL = 20
"""Lines of output that a report shows of each stream."""

MOST = 5
"""Failures that are reported in full."""

_LABEL = 11
_GUTTER = 12
# Of the Lua that is shown where nothing is cut: a table can be one line of a megabyte.
_WIDEST = 200
_OUTPUTS = ("stderr", "stdout")


def sentence(text: str) -> str:
    """Returns text that came from anywhere as the beginning of a sentence."""
    shown = clean(text)
    return shown[:1].upper() + shown[1:]


def declined(failure: Diagnostic) -> Line:
    """Returns what is said where a person decided: that is no failure."""
    return line(f" {sentence('; '.join((failure.detail, *failure.effects)))}.")


def _no_source(_: str) -> None:
    return None


class Report(Struct, frozen=True, kw_only=True):
    """How failures are written; ``place`` shortens a FILE:LINE for people."""

    look: Look
    source: Source = _no_source
    place: Callable[[str], str] = str
    trace: bool = False

    def all(self, failures: Sequence[Diagnostic]) -> Iterator[Line]:
        """Returns the reports of the first failures, and how many more there are."""
        for failure in failures[:MOST]:
            yield from self.one(failure)
            yield line()
        if len(failures) > MOST:
            more = len(failures) - MOST
            yield line(f"{more} more failed; the stack's history has them all")

    def one(self, failure: Diagnostic) -> Iterator[Line]:
        """Returns the report of one failure."""
        title = failure.title or failure.msg
        yield line(Span(f"error[{failure.code}]", "failed"), Span(f": {clean(title)}", "bold"))
        for text in failure.detail.split("\n") if failure.detail else ():
            yield line(f"   {clean(text)}")
        yield from self._where(failure.loc)
        frames = failure.traceback.rstrip("\n").split("\n") if failure.traceback else []
        for index, caller in enumerate(() if self.trace else frames[1 : CALLERS + 1]):
            yield self._labelled("called at" if index == 0 else "", caller)
        yield from self._facts(failure)
        for index, effect in enumerate(failure.effects):
            yield self._labelled("effect" if index == 0 else "", effect)
        if failure.blocked:
            yield self._labelled("blocked", ", ".join(failure.blocked))
        for index, hint in enumerate(failure.hint.split("\n") if failure.hint else ()):
            yield self._labelled("hint" if index == 0 else "", hint)
        if self.trace and frames:
            yield from self._block("trace", frames, None)

    def _where(self, loc: str | None) -> Iterator[Line]:
        if loc is None:
            return
        file, _, number = loc.rpartition(":")
        yield line()
        yield line(f"   {clean(self.place(loc))}")
        lines = self.source(file) if number.isdigit() else None
        if lines is None:
            return
        yield from snippet(lines, int(number), self.look)
        yield line()

    def _facts(self, failure: Diagnostic) -> Iterator[Line]:
        facts = dict(failure.facts)
        outputs = {name: facts.pop(name) for name in _OUTPUTS if name in facts}
        if failure.task and "task" not in facts:
            host = {"host": facts.pop("host")} if "host" in facts else {}
            facts = {**host, "task": failure.task, **facts}
        for name, fact in facts.items():
            if name in ("resource", "action") and isinstance(fact, str):
                yield self._labelled(name, fact.removeprefix("local/"))
            elif isinstance(fact, str) and "\n" in fact.rstrip("\n"):
                yield from self._block(name, fact.rstrip("\n").split("\n"), TAIL)
            else:
                yield self._labelled(name, _fact(name, fact))
        for name, text in outputs.items():
            lines = str(text).rstrip("\n").split("\n") if str(text).strip() else []
            yield from self._block(name, lines, TAIL)

    def _labelled(self, label: str, text: str) -> Line:
        return line(Span(f"   {padded(clean(label), _LABEL - 1)} ", "dim"), clean(text))

    def _block(self, label: str, lines: Sequence[str], most: int | None) -> Iterator[Line]:
        if not lines:
            yield self._labelled(label, "(empty)")
            return
        shown = lines if most is None else lines[-most:]
        which = "" if len(shown) == len(lines) else f"(last {len(shown)} of {len(lines)} lines)"
        yield self._labelled(label, which)
        for text in shown:
            yield line(f"     {clean(text)}")


def snippet(
    lines: Sequence[str],
    number: int,
    look: Look,
    *,
    column: int | None = None,
    length: int = 1,
    note: str = "",
) -> Iterator[Line]:
    """Returns the Lua around line ``number`` (from 1), with a marker under it.

    ``column`` counts from 1 in characters; without it the code of the line is underlined.
    """
    if not 1 <= number <= len(lines):
        return
    code = lines[number - 1].rstrip("\r\n")
    if column is None:
        column, length = len(code) - len(code.lstrip()) + 1, len(code.strip())
    before, marked = (len(clean(one)) for one in (code[: column - 1], code[column - 1 :][:length]))
    room = max((look.width or _WIDEST) - _GUTTER, 1)
    left = max(0, before - room // 2) if before + min(marked, room // 4) > room else 0
    bar = look.sign("bar")
    for index in range(max(1, number - 1), min(len(lines), number + 1) + 1):
        text = cut(_from(left, clean(lines[index - 1].rstrip("\r\n")), look), room, look)
        yield line(Span(f"     {index:>4} {bar} {text}", "" if index == number else "dim"))
        if index == number:
            shown = max(1, min(marked, room - (before - left)))
            mark = Span("^" * shown + (f" {note}" if note else ""), "failed")
            yield line(f"          {bar} {' ' * (before - left)}", mark)


def _from(left: int, text: str, look: Look) -> str:
    """Returns a line without what stands before a column, with a sign in its place."""
    sign = look.sign("cut")
    return sign + text[left + len(sign) :] if left and len(text) > left else text[left:]


def _fact(name: str, fact: Value) -> str:
    if isinstance(fact, list | tuple):
        words = [str(word) for word in fact]
        return shlex.join(words) if name == "command" else ", ".join(words)
    if isinstance(fact, str):
        return fact.rstrip("\n")
    return values.encode(fact)
