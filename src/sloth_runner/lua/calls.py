"""Checks the calls of a file against what the functions take, as far as it is written out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sloth_runner.core import schema
from sloth_runner.core.errors import ParamError
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Declared, Function
from sloth_runner.core.schema import Param, WrongValue
from sloth_runner.core.values import Value
from sloth_runner.lua import vocabulary
from sloth_runner.lua.problems import meant
from sloth_runner.lua.scopes import Use
from sloth_runner.lua.syntax import UNKNOWN, Entry, Node, argument_nodes, entries, literal

Report = Callable[..., None]
"""Takes a node, a code, a message and a hint."""


def check_call(use: Use, report: Report) -> None:
    """Reports what is certainly wrong with a call of one of our functions."""
    if use.call is None:
        return
    arguments = argument_nodes(use.call)
    found = registry().functions.get(use.name)
    if found is not None:
        _Declared(use, *found, report=report).check(arguments)
    elif use.name == "stack.register_resource" and _is_table(arguments, 0):
        _keys(arguments[0], vocabulary.REGISTER_KEYS, use.name, report)
    elif use.name == "stack.update_resource" and _is_table(arguments, 2):
        _update(arguments[2], use.name, report)


def _is_table(arguments: Sequence[Node], index: int) -> bool:
    return len(arguments) > index and arguments[index].type == "table_constructor"


def _keys(table: Node, known: Sequence[str], function: str, report: Report) -> Iterator[Entry]:
    """Reports unknown keys; returns the entries."""
    found = list(entries(table))
    for entry in found:
        if isinstance(entry.key, str) and entry.key not in known:
            message = f'{function} has no parameter "{entry.key}"{meant(entry.key, known)}'
            report(entry.key_node, "SR1203", message, f"{function} takes: {', '.join(known)}")
    return iter(found)


def _update(table: Node, function: str, report: Report) -> None:
    for entry in _keys(table, vocabulary.UPDATE_KEYS, function, report):
        state = literal(entry.value) if entry.key == "state" else UNKNOWN
        if state is not UNKNOWN and state not in ("applied", "failed"):
            report(
                entry.value,
                "SR1204",
                f'state is "applied" or "failed", not {schema.shown_value(state)}',
                "",
            )


class _Declared:
    """One call of a resource, action or query."""

    def __init__(
        self, use: Use, cls: type[Declared], function: Function, *, report: Report
    ) -> None:
        self._use = use
        self._cls = cls
        self._function = function
        self._report = report
        self._params = schema.params_of(cls)
        self._form = function.form(cls)
        self._written = {name: param.name for name, param in self._form.written.items()}
        self._known = function.names(self._form)

    def check(self, arguments: Sequence[Node]) -> None:
        first = arguments[0] if arguments else None
        name = self._use.name
        hint = f"{name}({{ {self._function.first} = ... }})"
        takes = f"{name} takes a table of parameters or one text"
        if first is None:
            self._missing(set(), self._use.node)
        elif first.type == "table_constructor":
            self._table(first, set())
        elif first.type == "string":
            self._convert(self._function.first, first)
            if len(arguments) == 1:
                self._missing({self._function.first}, first)
            elif arguments[1].type == "table_constructor":
                self._table(arguments[1], {self._function.first})
        elif literal(first) is not UNKNOWN:
            self._report(first, "SR1204", takes, hint)
        beside = first is not None and first.type == "string" and _is_table(arguments, 1)
        for more in arguments[2 if beside else 1 :]:
            if more.type in ("string", "table_constructor"):
                self._report(more, "SR1204", takes, hint)

    def _table(self, table: Node, given: set[str]) -> None:
        complete, all_known = True, True
        values: dict[str, Value] = {}
        for entry in entries(table):
            if not isinstance(entry.key, str):
                complete = False
            elif entry.key not in self._known:
                all_known = False
                self._unknown(entry)
            else:
                given.add(entry.key)
                values[entry.key] = self._convert(entry.key, entry.value)
        wrong = any(value is _WRONG for value in values.values())
        if complete and all_known and not wrong and not self._missing(given, table):
            self._together(table, values)

    def _unknown(self, entry: Entry) -> None:
        name = self._use.name
        message = f'{name} has no parameter "{entry.key}"{meant(entry.key, self._known)}'
        self._report(entry.key_node, "SR1203", message, f"{name} takes: {', '.join(self._known)}")

    def _missing(self, given: set[str], node: Node) -> bool:
        """Reports required parameters that are not given; whether there are any."""
        function = self._function
        required = [
            written
            for written, field in self._written.items()
            if self._params[field].required
            and written not in given
            and not (function.each in given and written == function.first)
        ]
        if required:
            names = " and ".join(f'"{name}"' for name in required)
            hint = f"{self._use.name} takes: {', '.join(self._known)}"
            self._report(node, "SR1205", f"{self._use.name} needs {names}", hint)
        return bool(required)

    def _convert(self, written: str, node: Node) -> Value:
        """Reports a value that its parameter does not take; returns it as it was written."""
        value = literal(node)
        if value is UNKNOWN or value is None:
            return value
        function = self._function
        if written == function.each:
            return self._convert_each(node)
        field = self._written.get(written)
        if field is None or written == function.source or written in function.beside:
            return value
        return self._checked(written, self._params[field], value, node)

    def _convert_each(self, table: Node) -> Value:
        param = self._params[self._written[self._function.first]]
        if table.type != "table_constructor":
            message = f'"{self._function.each}" is a list with at least one item'
            self._report(table, "SR1204", message, "")
            return _WRONG
        checked = [
            self._checked(param.name, param, literal(entry.value), entry.value)
            for entry in entries(table)
            if literal(entry.value) is not UNKNOWN
        ]
        return _WRONG if any(one is _WRONG for one in checked) else UNKNOWN

    def _checked(self, written: str, param: Param, value: Value, node: Node) -> Value:
        try:
            param.convert(value)
        except WrongValue as wrong:
            self._report(node, "SR1204", f'"{written}": {wrong}', "")
            return _WRONG
        return value

    def _together(self, table: Node, given: dict[str, Value]) -> None:
        """Reports rules across parameters, where all of them are written out."""
        function = self._function
        given.pop("delegate_to", None)
        known = {name: value for name, value in given.items() if value is not None}
        open_ones = any(value is UNKNOWN for value in known.values())
        if function.source or function.beside or open_ones:
            return
        try:
            self._form.read(known, function=self._use.name)
        except ParamError as error:
            detail = error.detail.removeprefix(f"{self._use.name}: ")
            self._report(table, "SR1204", detail, error.hint)


_WRONG: Any = object()
"""A value that was reported."""
