"""Finds the types: every module of ``sloth_runner.resources`` and ``.actions``, and plug-ins.

Third parties add types through the entry point group ``sloth_runner.resources``, whose
values are modules. Our own modules are imported when one of their names is asked for: what
they declare is read from their source, since importing all of them costs more than a run
with nothing to do.
"""

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from msgspec import Struct

from sloth_runner.core.resource import Action, Declared, Function, Query, Resource

T = TypeVar("T")
Load = Callable[[], ModuleType]

_PACKAGES = ("sloth_runner.resources", "sloth_runner.actions")
_GROUP = "sloth_runner.resources"
# Both begin with plain text, which is what makes looking for them fast; what may stand before
# it is looked at afterwards.
_TYPE = re.compile(r'\n@declare\(\s*"(\w+)"')
_FUNCTION = re.compile(r'Function(?<!\wFunction)\(\s*name="([\w.]+)"')


class Registry(Struct, frozen=True, kw_only=True):
    """All declared types, by type name and by Lua function; ``names`` are those functions.

    ``broken`` are plug-ins that could not be loaded, with the reason.
    """

    types: Mapping[str, type[Resource]]
    functions: Mapping[str, tuple[type[Declared], Function]]
    names: frozenset[str]
    broken: Mapping[str, str] = {}

    @property
    def not_loaded(self) -> str:
        """Says which plug-ins could not be loaded and why; nothing where all could."""
        told = "; ".join(f"{name} ({why})" for name, why in sorted(self.broken.items()))
        return f"these plug-ins could not be loaded: {told}" if told else ""


@functools.cache
def registry() -> Registry:
    """Returns the registry of this installation; the same object each time."""
    types: dict[str, Load] = {}
    functions: dict[str, Load] = {}
    for name, source in _own_modules():
        load = functools.partial(importlib.import_module, name)
        types |= dict.fromkeys(_TYPE.findall(source), load)
        functions |= dict.fromkeys(_FUNCTION.findall(source), load)
    broken: dict[str, str] = {}
    for module in _plugged_in(broken):
        load = functools.partial(_itself, module)
        types |= dict.fromkeys(_types(module), load)
        functions |= dict.fromkeys(_functions(module), load)
    return Registry(
        types=OnDemand(types, _types),
        functions=OnDemand(functions, _functions),
        names=frozenset(functions),
        broken=broken,
    )


class OnDemand(Mapping[str, T]):
    """What modules declare, by name, imported when it is asked for; listing it imports all.

    ``modules`` load the module that speaks of a name, ``found`` returns what one declares.
    """

    def __init__(
        self, modules: Mapping[str, Load], found: Callable[[ModuleType], Mapping[str, T]]
    ) -> None:
        self._modules = dict(modules)
        self._found = found
        self._known: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        load = self._modules.pop(name, None)
        if load is not None:
            self._known |= self._found(load())
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        for name in list(self._modules):
            self.get(name)
        return iter(self._known)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _own_modules() -> Iterator[tuple[str, str]]:
    """Yields the name and the source of each module of ours that may declare something."""
    for package_name in _PACKAGES:
        package = importlib.import_module(package_name)
        for folder in package.__path__:
            for file in sorted(_names(folder)):
                if file.endswith(".py") and not file.startswith("_"):
                    source = Path(folder, file).read_text("utf-8")
                    yield f"{package_name}.{file.removesuffix('.py')}", source


def _plugged_in(broken: dict[str, str]) -> Iterator[ModuleType]:
    """Yields the modules that other distributions add; notes why others cannot be loaded."""
    if not any(_may_add(place) for place in sys.path):
        return
    from importlib.metadata import entry_points  # it costs more than all our own types

    for entry in entry_points(group=_GROUP):
        try:
            module = entry.load()
        except Exception as error:
            broken[entry.value] = f"{type(error).__name__}: {error}"
            continue
        if inspect.ismodule(module):
            yield module


def _may_add(place: str) -> bool:
    """Whether a distribution installed at ``place`` of the import path may add types."""
    try:
        there = _names(place)
    except NotADirectoryError:
        return True  # an archive: only importlib.metadata can look into it
    except OSError:
        return False
    return any(
        f"[{_GROUP}]" in file.read_text("utf-8", "replace")
        for name in there
        if name.endswith("-info") and (file := Path(place, name, "entry_points.txt")).is_file()
    )


def _names(folder: str) -> list[str]:
    with os.scandir(folder or ".") as entries:
        return [entry.name for entry in entries]


def _itself(module: ModuleType) -> ModuleType:
    return module


def _types(module: ModuleType) -> dict[str, type[Resource]]:
    return {cls.type: cls for cls in _declared(module) if issubclass(cls, Resource)}


def _functions(module: ModuleType) -> dict[str, tuple[type[Declared], Function]]:
    return {f.name: (cls, f) for cls in _declared(module) for f in cls.functions}


def _declared(module: ModuleType) -> Iterator[type[Declared]]:
    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, Resource | Action | Query)
            and value.__module__ == module.__name__
            and "type" in vars(value)
        ):
            yield value
