"""From the arguments of a call to what it declares: resources, an action or a query."""

import posixpath
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from sloth_runner.core import forms, schema
from sloth_runner.core.errors import ParamError, TaskError
from sloth_runner.core.host import FileStat, Host
from sloth_runner.core.registry import Registry
from sloth_runner.core.resource import Function
from sloth_runner.core.schema import Content
from sloth_runner.core.values import Value
from sloth_runner.engine.context import Caller

Render = Callable[[str, Mapping[str, Value], str], str]
"""Renders template text with variables; the third argument is its name for messages."""


class Sources(Protocol):
    """The files of the controller that calls name.

    Both raise LookupError for what is no file, with the kind of what is there as its argument.
    """

    async def content(self, path: str, caller: Caller, *, by_path: bool) -> Content:
        """Returns what a file holds; with ``by_path`` the file itself will be opened."""
        ...

    async def text(self, path: str, caller: Caller) -> str:
        """Returns what a file holds, read into memory."""
        ...


class PresentSources:
    """The files as they are; ``stat`` follows links and knows the SHA-256 of a file."""

    def __init__(self, controller: Host, stat: Callable[[str], Awaitable[FileStat | None]]) -> None:
        self._controller = controller
        self._stat = stat

    async def content(self, path: str, caller: Caller, *, by_path: bool) -> Content:
        """Returns what a file holds (``Sources``)."""
        stat = await self._stat(path)
        if stat is None or stat.sha256 is None:
            raise LookupError(*([] if stat is None else [stat.kind]))
        return Content(sha256=stat.sha256, size=stat.size, path=path)

    async def text(self, path: str, caller: Caller) -> str:
        """Returns what a file holds, read into memory (``Sources``)."""
        text = await self._controller.read(path, follow=True)
        if text is None:
            raise LookupError
        return text


class Asked(Struct, frozen=True, kw_only=True):
    """What a call declares: one thing, or with ``several`` one for each of its names.

    ``host`` is where the call itself says that it goes.
    """

    declared: Sequence[Any]
    several: bool
    host: str | None


class Parameters:
    """Reads the arguments of calls; what is relative in them starts at ``folder``."""

    def __init__(
        self, *, registry: Registry, sources: Sources, render: Render, folder: str
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._render = render
        self._folder = folder
        self._forms: dict[str, forms.Form] = {}

    async def read(self, arguments: Sequence[Value], caller: Caller) -> Asked | None:
        """Returns what a call declares; None where its function declares nothing.

        Raises ParamError for what is wrong in the call, and TaskError for a source that is
        no file.
        """
        found = self._registry.functions.get(caller.function)
        if found is None:
            return None
        cls, function = found
        given = _table(function, arguments, caller)
        host = delegated(given, caller)
        several = function.each is not None and function.each in given
        names = given.pop(function.each, None) if function.each else None
        if several and function.first in given:
            raise ParamError(
                f"{caller.function}: give {function.first!r} or {function.each!r}, not both",
                location=caller.location,
            )
        await self._fill(given, function, caller)
        asked = (
            [{**given, function.first: name} for name in _names(names, function, caller)]
            if several
            else [given]
        )
        form = self._forms.get(function.name)
        if form is None:
            form = self._forms[function.name] = function.form(cls)
        read, place = form.read, caller.location
        return Asked(
            declared=[read(params, function=function.name, location=place) for params in asked],
            several=several,
            host=host,
        )

    async def _fill(self, given: dict[str, Value], function: Function, caller: Caller) -> None:
        """Replaces a file of the controller by its content; other paths on it get absolute."""
        for name in function.beside:
            if isinstance(given.get(name), str):
                given[name] = self._absolute(given[name])
        if function.source is None or not isinstance(given.get(function.source), str):
            return
        path = self._absolute(given[function.source])
        try:
            if function.template:
                variables = given.pop("vars", None) or {}
                text = await self._sources.text(path, caller)
                given[function.source] = self._render(text, variables, path)
            else:
                given[function.source] = await self._sources.content(
                    path, caller, by_path=function.by_path
                )
        except LookupError as missing:
            raise _no_source(function, path, missing, caller) from None

    def _absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._folder, path))


def delegated(given: dict[str, Value], caller: Caller) -> str | None:
    """Takes the host that a call says it goes to out of its parameters.

    Raises ParamError for what is not the name of one.
    """
    chosen = given.pop("delegate_to", None)
    if chosen is not None and (not isinstance(chosen, str) or not chosen or "/" in chosen):
        raise ParamError(
            f"{caller.function}: delegate_to is the name of a host, "
            f"not {schema.shown_value(chosen)}",
            location=caller.location,
        )
    return chosen


def _table(function: Function, arguments: Sequence[Value], caller: Caller) -> dict[str, Value]:
    """Returns the parameters of a call: one table, or the first parameter alone as text.

    A text may have the others in a table beside it. A whole number is let pass there: where the
    function itself is given to goroutine.map, it is the index.
    """
    first, *beside = arguments or [{}]
    given: Value = {} if first == [] else first
    if isinstance(first, str):
        others = beside.pop(0) if beside and isinstance(beside[0], dict) else {}
        given = {**others, function.first: first}
    if isinstance(given, dict) and all(value is None or type(value) is int for value in beside):
        return dict(given)
    raise ParamError(
        f"{caller.function} takes a table of parameters or one text",
        location=caller.location,
        hint=f"{caller.function}({{ {function.first} = ... }})",
    )


def _names(names: Value, function: Function, caller: Caller) -> Sequence[Value]:
    if isinstance(names, list) and names:
        return [name for index, name in enumerate(names) if name not in names[:index]]
    raise ParamError(
        f"{caller.function}: {function.each!r} is a list with at least one item",
        location=caller.location,
    )


def _no_source(function: Function, path: str, missing: LookupError, caller: Caller) -> TaskError:
    what = f"is a {missing.args[0]}, not a file" if missing.args else "does not exist"
    return TaskError(
        f"{caller.function}: {function.source} {path} {what}",
        location=caller.location,
        hint="a relative path starts at the folder of the workflow",
        effects=("nothing was changed",),
    )
