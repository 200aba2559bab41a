"""Lua source as a syntax tree: literals, names and where they stand, without running anything."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import tree_sitter
import tree_sitter_lua
from msgspec import Struct

from sloth_runner.core import values
from sloth_runner.core.values import Value

Node = tree_sitter.Node


class _Unknown:
    """The one value of expressions that only a run can tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()


class Place(Struct, frozen=True):
    """Where something stands: line and column from 1, the column in characters, and its length."""

    line: int
    column: int
    length: int = 1


class Entry(Struct, frozen=True):
    """One field of a table: ``key`` is None for an item of a list, UNKNOWN where it is computed."""

    key: Any
    key_node: Node
    value: Node


class Source:
    """One parsed file. What only a shell or an editor reads of its first line is blanked out."""

    def __init__(self, data: bytes) -> None:
        self.data = _blanked(data)
        self.lines = self.data.split(b"\n")
        self.root = _parser().parse(self.data).root_node

    def place(self, node: Node) -> Place:
        """Returns where a node begins; its length ends with its first line."""
        row, column = node.start_point
        text = self.lines[row]
        end = node.end_point[1] if node.end_point[0] == row else len(text.rstrip())
        before = len(values.text(text[:column]))
        length = len(values.text(text[column:end]))
        return Place(row + 1, before + 1, max(1, length))


@functools.cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_lua.language()))


def _blanked(data: bytes) -> bytes:
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if data.startswith(b"#"):
        end = data.find(b"\n")
        end = len(data) if end < 0 else end
        return b" " * end + data[end:]
    return data


def text_of(node: Node) -> str:
    """Returns the source text of a node."""
    return values.text(node.text or b"")


def workflow_name(data: bytes) -> str | None:
    """Returns the literal name of the first ``workflow{}`` call of a file, or None."""
    for node in descendants(Source(data).root):
        if node.type == "function_call" and dotted(node.child_by_field_name("name")) == "workflow":
            table = argument_nodes(node)[:1]
            if table and table[0].type == "table_constructor":
                for entry in entries(table[0]):
                    if entry.key == "name":
                        name = literal(entry.value)
                        return name if isinstance(name, str) and name else None
            return None
    return None


def descendants(node: Node) -> Iterator[Node]:
    """Yields a node and everything below it, in the order of the text."""
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        pending += reversed(node.named_children)


def dotted(node: Node | None) -> str | None:
    """Returns "a.b.c" for an identifier or a chain of fields, None for anything else."""
    if node is None:
        return None
    if node.type == "identifier":
        return text_of(node)
    if node.type == "dot_index_expression":
        table, name = node.child_by_field_name("table"), node.child_by_field_name("field")
        outer = dotted(table)
        return None if outer is None or name is None else f"{outer}.{text_of(name)}"
    return None


def argument_nodes(call: Node) -> list[Node]:
    """Returns the arguments of a call, comments left out."""
    arguments = call.child_by_field_name("arguments")
    if arguments is None:
        return []
    return [node for node in arguments.named_children if node.type != "comment"]


def entries(table: Node) -> Iterator[Entry]:
    """Yields the fields of a table constructor."""
    for field in table.named_children:
        if field.type != "field":
            continue
        name, value = field.child_by_field_name("name"), field.child_by_field_name("value")
        if value is None:
            continue
        if name is None:
            yield Entry(None, field, value)
        elif field.children[0].type == "[":
            key = literal(name)
            yield Entry(key if isinstance(key, str) else UNKNOWN, name, value)
        else:
            yield Entry(text_of(name), name, value)


DEEPEST = 200
"""How deeply Lua itself lets expressions be nested."""


def literal(node: Node, room: int = DEEPEST) -> Value:
    """Returns the value of an expression that is written out, UNKNOWN for any other.

    ``room`` is how many levels more it may have.
    """
    kind = node.type
    if room == 0:
        return UNKNOWN
    if kind == "string":
        return _string(node)
    if kind == "number":
        return _number(text_of(node))
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind == "unary_expression" and text_of(node).startswith("-"):
        operand = node.child_by_field_name("operand")
        value = UNKNOWN if operand is None else literal(operand, room - 1)
        return -value if isinstance(value, int | float) and value is not True else UNKNOWN
    if kind == "parenthesized_expression" and len(node.named_children) == 1:
        return literal(node.named_children[0], room - 1)
    if kind == "table_constructor":
        return _table(node, room - 1)
    return UNKNOWN


_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "nil": None}


def _table(node: Node, room: int) -> Value:
    items: list[Value] = []
    named: dict[str, Value] = {}
    for entry in entries(node):
        value = literal(entry.value, room)
        if value is UNKNOWN or entry.key is UNKNOWN:
            return UNKNOWN
        if value is None:
            continue
        if entry.key is None:
            items.append(value)
        else:
            named[entry.key] = value
    if items and named:
        return UNKNOWN
    return items or named


def _number(text: str) -> Value:
    try:
        return int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]+", text) else _decimal(text)
    except ValueError:  # hexadecimal floats, which nobody writes
        return UNKNOWN


def _decimal(text: str) -> Value:
    if text.isdigit():
        return int(text)
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _string(node: Node) -> Value:
    text = node.text or b""
    if text[:1] == b"[":
        body = re.fullmatch(rb"\[(=*)\[(.*)\]\1\]", text, re.DOTALL)
        if body is None:
            return UNKNOWN
        return values.text(re.sub(rb"\A(\r\n|\n\r|\n|\r)", b"", body[2]))
    body_text = text[1:-1]
    if b"\\" not in body_text:
        return values.text(body_text)
    return values.text(_ESCAPE.sub(_unescaped, body_text))


_ESCAPE = re.compile(
    rb"\\(?:(\d{1,3})|x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]+)\}|z\s*|(\r\n|\n\r|.))", re.DOTALL
)
_SHORT = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _unescaped(found: "re.Match[bytes]") -> bytes:
    decimal, hexadecimal, point, other = found.groups()
    if decimal:
        return bytes([int(decimal) & 0xFF])
    if hexadecimal:
        return bytes.fromhex(hexadecimal.decode())
    if point:
        return chr(int(point, 16)).encode("utf-8", "surrogatepass")
    if other is None:
        return b""
    if other[:1] in b"\r\n":
        return b"\n"
    return _SHORT.get(other, other)
