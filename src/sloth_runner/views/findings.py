"""The findings of ``validate`` as text: each with the Lua around it and a mark under the place."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from sloth_runner.views.report import Source, snippet
from sloth_runner.views.text import Line, Look, Span, clean, line
from sloth_runner.views.words import count


class Finding(Protocol):
    """What is shown of one problem; line and column count from 1."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...
    @property
    def severity(self) -> str: ...


def findings(
    found: Sequence[Finding], look: Look, *, source: Source, place: Callable[[str], str]
) -> Iterator[Line]:
    """Returns the lines of all findings."""
    for finding in found:
        style = "failed" if finding.severity == "error" else "changed"
        head = Span(f"{finding.severity}[{finding.code}]", style)
        yield line(head, Span(f": {finding.title}", "bold"))
        yield line(f"   {clean(place(finding.file))}:{finding.line}:{finding.column}")
        yield from _body(finding, source(finding.file), look)
        if finding.hint:
            yield line(Span("   hint       ", "dim"), clean(finding.hint))
        yield line()


def _body(finding: Finding, lines: Sequence[str] | None, look: Look) -> Iterator[Line]:
    message = clean(finding.message)
    if lines is None or not 1 <= finding.line <= len(lines):
        yield line(f"   {message}")
        return
    yield from snippet(
        lines, finding.line, look, column=finding.column, length=finding.length, note=message
    )


def total(found: Sequence[Finding], files: int) -> str:
    """Returns the last line: how much was found in how many files."""
    errors = sum(1 for finding in found if finding.severity == "error")
    warnings = len(found) - errors
    if not found:
        return f" {count(files, 'file')} checked, nothing to report."
    parts = [count(errors, "error")] if errors else []
    parts += [count(warnings, "warning")] if warnings else []
    return f" {' and '.join(parts)} in {count(files, 'file')}."
