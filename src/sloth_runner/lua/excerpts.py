"""Lua source as it may be quoted: a report is passed on, and the file may hold secrets.

What is written out for a sensitive parameter is starred, in its place; so is what is given to a
variable, a field or a function that such a parameter is made of. In doubt, text of a file counts
as private.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, repeat

from sloth_runner.core import values
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Function
from sloth_runner.core.schema import params_of
from sloth_runner.lua.syntax import (
    Node,
    Source,
    argument_nodes,
    descendants,
    dotted,
    entries,
    literal,
    text_of,
)

HIDE = "hide"
"""The parameter of types whose text is private where it says so, or nothing else does."""

_LOOK_UPS = ("secret", "os.getenv")
"""Functions that are given only the name of a secret."""

_STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|\[(=*)\[.*?\]\2\]|\{.*?\}"
_ACCOUNT = re.compile(r"://[^/\s]*@")


def quotable(data: bytes) -> str:
    """Returns the source of a file with what may be a secret starred; lines stay what they are."""
    source = Source(data)
    data = data[len(data) - len(source.data) :]  # with its first line, whatever that is
    sensitive = _sensitive_names()
    found = _literals(_secrets(source.root, sensitive))
    spans = {(node.start_byte, node.end_byte) for node in found}
    spans |= {
        (node.start_byte, node.end_byte)
        for node in descendants(source.root)
        if node.type == "string" and _ACCOUNT.search(text_of(node))
    }
    pieces, end = [], 0
    for start, stop in sorted(spans):
        pieces.append(values.text(data[end:start]))
        pieces.append(_stars(values.text(data[max(start, end) : stop])))
        end = max(stop, end)
    text = "".join(pieces) + values.text(data[end:])
    if source.root.has_error:  # what is no Lua has no tree that could be trusted
        keys = "|".join(sorted(map(re.escape, sensitive)))
        pattern = re.compile(rf"(\b(?:{keys})\b[\]\"']*\s*=\s*)(?:{_STRING})", re.DOTALL)
        text = pattern.sub(lambda m: m[1] + _stars(m[0][len(m[1]) :]), text)
    return text


def _stars(text: str) -> str:
    return re.sub(r"[^\r\n]", "*", text)


def _sensitive_names() -> frozenset[str]:
    """Returns the names of sensitive parameters, whatever function takes them."""
    declared = {cls for cls, _ in registry().functions.values()}
    return frozenset(p.name for cls in declared for p in params_of(cls).values() if p.doc.sensitive)


def _secrets(root: Node, sensitive: frozenset[str]) -> Iterator[Node]:
    """Yields the expressions that secrets are given by, and those that their variables get."""
    given: dict[str, list[Node]] = {}
    pending: list[Node] = []
    for node in descendants(root):
        if node.type == "function_call":
            pending += _of_call(node)
        elif node.type == "table_constructor":
            pending += (entry.value for entry in entries(node) if entry.key in sensitive)
        for name, value in _given(node):
            given.setdefault(name, []).append(value)
            if name.rpartition(".")[2] in sensitive:
                pending.append(value)
    for name, value in _passed(root):
        given.setdefault(name, []).append(value)
    while pending:
        secret = pending.pop()
        yield secret
        for name in _names(secret):
            pending += given.pop(name, ())


def _of_call(call: Node) -> Iterator[Node]:
    """Yields the arguments of one call that are sensitive by what else it says."""
    name, arguments = dotted(call.child_by_field_name("name")), argument_nodes(call)
    if name == "stack.set_output" and len(arguments) > 2:
        if _options(arguments[2]).get("sensitive", True) is not False:
            yield arguments[1]
        return
    declared = registry().functions.get(name or "")
    table = next((node for node in arguments[:2] if node.type == "table_constructor"), None)
    if declared is None or table is None:
        return
    private = {*_private(*declared, _options(table))}
    known = _known(*declared) if private or _is_told_secrets(declared[0]) else None
    yield from (
        entry.value
        for entry in entries(table)
        if entry.key in private or (known and entry.key not in known)
    )


def _known(cls: type, function: Function) -> set[str]:
    """Returns the names that a call may give; another may be a private one, spelled wrong."""
    return {*function.names(function.form(cls))}


def _is_told_secrets(cls: type) -> bool:
    return any(param.doc.sensitive for param in params_of(cls).values())


def _options(table: Node) -> dict[str, object]:
    """Returns the named fields of a table, UNKNOWN for what only a run can tell."""
    if table.type != "table_constructor":
        return {}
    return {entry.key: literal(entry.value) for entry in entries(table)}


def _private(cls: type, function: Function, given: Mapping[str, object]) -> Iterable[str]:
    """Returns the written names of the parameters that are private in such a call."""
    params = params_of(cls)
    mode = given.get("mode", params["mode"].default if "mode" in params else None)
    open_to_all = isinstance(mode, str) and mode[-1:] in ("4", "5", "6", "7")
    hide = given.get("sensitive")
    if HIDE not in params or hide is False or (hide is None and open_to_all):
        return ()
    written = {field: name for name, field in function.rename.items()}
    names = {written.get(name, name) for name, param in params.items() if param.doc.private}
    return names - {function.source} | ({"vars"} if function.template else set())


def _given(node: Node) -> Iterator[tuple[str, Node]]:
    """Yields the names that get a value here, with what it is made of.

    ".b" stands for the field b of any table: who reads it need not know the table by its name.
    """
    if node.type == "function_declaration":
        body = node.child_by_field_name("body")
        if body is not None and (called := _name(node.child_by_field_name("name"))) is not None:
            yield called, body
    elif node.type in ("assignment_statement", "for_generic_clause"):
        for target, value in _pairs(node):
            if (variable := _name(target)) is not None:
                yield from ((known, value) for known in _ways_to(variable))
    elif node.type == "table_constructor" and not _is_argument(node):
        for entry in entries(node):
            if isinstance(entry.key, str):
                yield f".{entry.key}", entry.value


def _passed(root: Node) -> Iterator[tuple[str, Node]]:
    """Yields the parameters of the functions of a file, with what they are called with there."""
    taken: dict[str | None, list[list[Node]]] = {}
    for node in descendants(root):
        if node.type == "function_declaration":
            called = _name(node.child_by_field_name("name"))
            taken.setdefault(called, []).append(_parameters(node))
        elif node.type == "assignment_statement":
            for target, value in _pairs(node):
                if value.type == "function_definition":
                    taken.setdefault(_name(target), []).append(_parameters(value))
    for node in descendants(root):
        if node.type == "function_call":
            for parameters in taken.get(_name(node.child_by_field_name("name")), ()):
                for parameter, value in zip(parameters, argument_nodes(node), strict=False):
                    yield text_of(parameter), value


def _pairs(node: Node) -> Iterator[tuple[Node, Node]]:
    """Yields what an assignment or a loop gives values to; the last value may be several."""
    lists = {part.type: _code(part) for part in node.named_children}
    targets, given = lists.get("variable_list", []), lists.get("expression_list", [])
    return zip(targets, chain(given, repeat(given[-1])) if given else (), strict=False)


def _parameters(function: Node) -> list[Node]:
    parameters = function.child_by_field_name("parameters")
    return [] if parameters is None else _code(parameters)


def _code(node: Node) -> list[Node]:
    return [part for part in node.named_children if part.type not in ("comment", "attribute")]


def _is_argument(node: Node) -> bool:
    """Whether a table is what a function is called with: its fields are parameters."""
    return node.parent is not None and node.parent.type == "arguments"


def _names(node: Node) -> Iterator[str]:
    """Yields the names that an expression is made of, "a.b" and ".b" for a field."""
    pending = [node]
    while pending:
        part = pending.pop()
        name = _name(part)
        if name is None:
            pending += part.named_children
        else:
            yield from _ways_to(name)


def _ways_to(name: str) -> tuple[str, ...]:
    """Returns a name and, of a field, that which any table may have."""
    return (name, f".{name.rpartition('.')[2]}") if "." in name else (name,)


def _name(node: Node | None) -> str | None:
    """Returns "a.b.c" for a variable or a field, however it is written."""
    fields: list[str] = []
    while node is not None and node.type != "identifier":
        table, name = node.child_by_field_name("table"), node.named_children[-1:]
        if table is None or not name:
            return None
        field = literal(name[0]) if node.type == "bracket_index_expression" else text_of(name[0])
        if not isinstance(field, str):
            return None
        fields.append(field)
        node = table
    return None if node is None else ".".join([text_of(node), *reversed(fields)])


def _literals(expressions: Iterable[Node]) -> Iterator[Node]:
    """Yields what is written out in expressions, but not the keys that something is found by."""
    pending = list(expressions)
    while pending:
        node = pending.pop()
        if node.type in ("string", "number"):
            yield node
        elif node.type == "function_call":
            name = node.child_by_field_name("name")
            pending += [] if dotted(name) in _LOOK_UPS else node.named_children
        elif node.type == "bracket_index_expression":
            table = node.child_by_field_name("table")
            pending += [] if table is None else [table]
        elif node.type == "table_constructor":
            pending += (entry.value for entry in entries(node))
        else:
            pending += node.named_children
