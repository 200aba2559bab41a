"""Finds the types: every module of ``sloth_runner.resources`` and ``.actions``, and plug-ins.

Third parties add types through the entry point group ``sloth_runner.resources``, whose
values are modules.
"""

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from msgspec import Struct

from sloth_runner.core.resource import Action, Declared, Function, Query, Resource

_PACKAGES = ("sloth_runner.resources", "sloth_runner.actions")
_GROUP = "sloth_runner.resources"


class Registry(Struct, frozen=True, kw_only=True):
    """All declared types, by type name and by Lua function."""

    types: Mapping[str, type[Resource]]
    functions: Mapping[str, tuple[type[Declared], Function]]


@functools.cache
def registry() -> Registry:
    """Returns the registry of this installation; the same object each time."""
    types: dict[str, type[Resource]] = {}
    functions: dict[str, tuple[type[Declared], Function]] = {}
    for module in _modules():
        for cls in _declared(module):
            if issubclass(cls, Resource):
                types[cls.type] = cls
            for function in cls.functions:
                functions[function.name] = (cls, function)
    return Registry(types=types, functions=functions)


def _modules() -> Iterator[ModuleType]:
    for package_name in _PACKAGES:
        package = importlib.import_module(package_name)
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
            if not info.name.startswith("_"):
                yield importlib.import_module(f"{package_name}.{info.name}")
    yield from _plugged_in()


def _plugged_in() -> Iterator[ModuleType]:
    """Yields the modules that other distributions add."""
    if not any(_may_add(Path(place)) for place in sys.path):
        return
    from importlib.metadata import entry_points  # it costs more than all our own types

    for entry in entry_points(group=_GROUP):
        module = entry.load()
        if inspect.ismodule(module):
            yield module


def _may_add(place: Path) -> bool:
    """Whether a distribution installed at ``place`` of the import path may add types."""
    if not place.is_dir():
        return place.exists()  # an archive: only importlib.metadata can look into it
    return any(
        f"[{_GROUP}]" in file.read_text("utf-8", "replace")
        for info in place.glob("*-info")
        if (file := info / "entry_points.txt").is_file()
    )


def _declared(module: ModuleType) -> Iterator[type[Declared]]:
    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, Resource | Action | Query)
            and value.__module__ == module.__name__
            and "type" in vars(value)
        ):
            yield value
