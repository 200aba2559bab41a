"""``validate``: everything about a file that is certain without running it, all at once."""

import re
from collections.abc import Iterator
from pathlib import Path

from lupa import lua54

from sloth_runner.core import values
from sloth_runner.core.nearest import nearest
from sloth_runner.lua import vocabulary
from sloth_runner.lua.calls import check_call
from sloth_runner.lua.graphs import check_declarations
from sloth_runner.lua.problems import Problem, Severity, meant
from sloth_runner.lua.scopes import Names, Use, names_of
from sloth_runner.lua.syntax import Node, Source, descendants, text_of


def validate(file: str) -> list[Problem]:
    """Returns the problems of a file, in the order of its lines.

    A file with a syntax error is reported with that alone: what follows is guesswork.
    """
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        return [Problem(file=file, line=1, column=1, length=1, code="SR1002", message=why)]
    return validate_source(data, file)


def validate_source(data: bytes, file: str) -> list[Problem]:
    """Returns the problems of source text; ``file`` is its name in them."""
    source = Source(data)
    mistake = _syntax_error(source, file)
    if mistake is not None:
        return [mistake]
    found = _Findings(source, file)
    found.check()
    return sorted(found.problems, key=lambda p: (p.line, p.column, p.code))


def _syntax_error(source: Source, file: str) -> Problem | None:
    """Returns what the real compiler says, with a column where that can be found."""
    runtime = lua54.LuaRuntime(
        encoding=None, register_eval=False, register_builtins=False, max_memory=1 << 29
    )
    runtime.globals()[b"source"] = source.data
    why = runtime.execute('return (select(2, load(source, "=", "t", {})))')
    if why is None:
        return None
    text = values.text(bytes(why))
    parts = re.fullmatch(r"(?s)[^:]*:(\d+): (.*)", text)
    line, message = (int(parts[1]), parts[2]) if parts else (1, text)
    # Where the whole block had to be read first, Lua names the line of the statement at the end.
    meant_line = re.search(r"^(?:no visible label|break outside).* at line (\d+)$", message)
    if meant_line is not None:
        line = int(meant_line[1])
    column, length = _column(source, line, message)
    return Problem(
        file=file, line=line, column=column, length=length, code="SR1001", message=message
    )


def _column(source: Source, line: int, message: str) -> tuple[int, int]:
    """Returns column and length of the token that Lua complains of, or of the broken tree."""
    text = values.text(source.lines[line - 1]) if line <= len(source.lines) else ""
    token = re.search(r"(?:near|unknown attribute) '(.+)'$", message, re.DOTALL)
    if token is not None:
        first = token[1].split("\n", 1)[0]
        at = text.find(first)
        if at >= 0 and text.count(first) == 1:
            return at + 1, len(first)
        if at >= 0:  # which of several, the tree may know; Lua has read past all but the last
            return _broken_at(source, line, first) or (text.rfind(first) + 1, len(first))
    for node in descendants(source.root):
        if (node.is_error or node.is_missing) and node.start_point[0] == line - 1:
            place = source.place(node)
            return place.column, place.length
    code = text.strip()
    return text.find(code) + 1, max(1, len(code))


def _broken_at(source: Source, line: int, token: str) -> tuple[int, int] | None:
    """Returns where the broken part of a tree begins with ``token`` in a line."""
    for node in descendants(source.root):
        if node.is_error and node.start_point[0] == line - 1 and text_of(node).startswith(token):
            return source.place(node).column, len(token)
    return None


class _Findings:
    """The problems of one file whose syntax is right."""

    def __init__(self, source: Source, file: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._file = file
        self._names: Names = names_of(source.root)

    def check(self) -> None:
        names = self._names
        for use in names.uses:
            self._check_function(use)
            if self._is_ours(use):
                check_call(use, self._report)
        check_declarations(names, self._report)
        self._check_undefined()
        self._check_globals()

    def _report(
        self, node: Node, code: str, message: str, hint: str, severity: Severity = "error"
    ) -> None:
        place = self._source.place(node)
        self.problems.append(
            Problem(
                file=self._file,
                line=place.line,
                column=place.column,
                length=place.length,
                code=code,
                message=message,
                hint=hint,
                severity=severity,
            )
        )

    def _is_ours(self, use: Use) -> bool:
        """Whether a name is certainly the built-in one: the file gives it no other meaning."""
        names = self._names
        if use.root in names.written or "_ENV" in names.written:
            return False
        return not any(outer in names.extended for outer in _prefixes(use.name))

    def _check_function(self, use: Use) -> None:
        outer, _, name = use.name.rpartition(".")
        if not self._is_ours(use):
            return
        if not outer:
            self._check_module(use)
            return
        known = vocabulary.vocabulary().modules.get(outer)
        if known is None and use.call is not None:
            known = vocabulary.LIBRARY.get(outer)
        if known is None or name in known:
            return
        shown = ", ".join(f"{outer}.{one}" for one in sorted(known))
        guess = nearest(name, known)
        advice = f'; did you mean "{outer}.{guess}"?' if guess else ""
        self._report(use.node, "SR1202", f'there is no "{use.name}"{advice}', f"there is: {shown}")

    def _check_module(self, use: Use) -> None:
        """Reports a module that is called as if it were a function."""
        ours = vocabulary.vocabulary()
        if use.call is None or use.name not in ours.modules or use.name in vocabulary.LIBRARY:
            return
        shown = ", ".join(f"{use.name}.{one}" for one in sorted(ours.modules[use.name]))
        message = f'"{use.name}" is a module, not a function'
        self._report(use.node, "SR1202", message, f"there is: {shown}")

    def _check_undefined(self) -> None:
        known = vocabulary.vocabulary().names | self._names.written.keys()
        told: set[str] = set()
        for use in self._names.uses:
            if use.root in known or use.root in told:
                continue
            told.add(use.root)
            guess = meant(use.root, known, cutoff=0.6 if len(use.root) < 6 else 0.75)
            if self._names.outside and not guess:
                continue  # code from elsewhere may define it
            message = f'"{use.root}" is not defined in this file{guess}'
            self._report(use.node, "SR1401", message, "", "warning")

    def _check_globals(self) -> None:
        for name, node in self._names.written.items():
            if name in self._names.functions or "_ENV" in self._names.written:
                continue
            if name in vocabulary.vocabulary().names:
                message = f'"{name}" is given another meaning for the whole workflow'
            else:
                message = f'"{name}" is a global variable: it is lost when the run ends'
            hint = 'write "local" before it; what must last goes into stack.set_output or state.set'
            self._report(node, "SR1402", message, hint, "warning")


def _prefixes(name: str) -> Iterator[str]:
    """Yields "a" and "a.b" of "a.b.c"."""
    parts = name.split(".")
    for index in range(1, len(parts)):
        yield ".".join(parts[:index])
