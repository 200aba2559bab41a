"""The registry: whatever is declared is complete enough to be documented and called."""

import inspect
import subprocess
import sys
from collections import Counter

import pytest

from sloth_runner.core import schema
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Declared, Function, Resource

FUNCTIONS = registry().functions
TYPES = registry().types
CLASSES = sorted({cls for cls, _ in FUNCTIONS.values()} | set(TYPES.values()), key=lambda c: c.type)


def test_the_types_of_the_guide_are_there() -> None:
    assert {"package", "file", "directory", "symlink", "line", "service", "user", "group"} <= set(
        TYPES
    )


def test_what_is_read_from_the_sources_is_what_they_declare() -> None:
    fresh = registry.__wrapped__()
    assert fresh.names == set(FUNCTIONS)
    assert all(fresh.functions[name] == FUNCTIONS[name] for name in fresh.names)
    assert all(fresh.types[name] == TYPES[name] for name in TYPES)


def test_only_what_is_asked_for_is_imported() -> None:
    program = (
        "import sys; from sloth_runner.core.registry import registry;"
        "registry().functions['file_ops.content']; registry().types.get('line');"
        "print(*sorted(m.split('.')[-1] for m in sys.modules if m.startswith('sloth_runner.res')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"file", "line"} <= loaded
    assert not loaded & {"package", "service", "user", "repository"}, done.stderr


def test_the_functions_of_the_guide_are_there() -> None:
    assert {
        "pkg.install",
        "file_ops.copy",
        "file_ops.lineinfile",
        "systemd.ensure",
        "systemd.restart",
        "user.create",
        "user.modify",
    } <= set(FUNCTIONS)


def test_no_two_types_share_a_function() -> None:
    names = Counter(function.name for cls in CLASSES for function in cls.functions)
    assert [name for name, count in names.items() if count > 1] == []


def test_a_type_of_resources_shares_its_name_with_nothing() -> None:
    resources = Counter(cls.type for cls in CLASSES if issubclass(cls, Resource))
    others = {cls.type for cls in CLASSES if not issubclass(cls, Resource)}
    assert [name for name, count in resources.items() if count > 1] == []
    assert not others & set(resources)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_says_what_it_does(name: str) -> None:
    _, function = FUNCTIONS[name]
    assert all(part.isidentifier() for part in name.split("."))
    assert function.doc[:1].isupper() and function.doc.endswith(".")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.type)
def test_every_parameter_is_described(cls: type[Declared]) -> None:
    for param in schema.params_of(cls).values():
        assert param.doc.text.endswith("."), f"{cls.type}.{param.name}"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.type)
def test_a_type_begins_with_a_sentence(cls: type[Declared]) -> None:
    summary = (inspect.getdoc(cls) or "").partition("\n\n")[0]
    assert summary.endswith("."), cls.type


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_speaks_only_of_parameters_that_exist(name: str) -> None:
    cls, function = FUNCTIONS[name]
    fields = set(schema.params_of(cls))
    written = _written(cls, function)
    assert set(function.preset) <= fields
    assert set(function.rename.values()) <= fields
    assert set(function.accepts) <= set(written) | set(function.rename)
    if written:
        first_fields = {*written, *([function.each] if function.each else [])}
        assert function.first in first_fields
    if function.source is not None:
        assert function.source in written
    assert set(function.beside) <= set(written)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_what_a_function_decides_is_a_value_of_its_field(name: str) -> None:
    cls, function = FUNCTIONS[name]
    params = schema.params_of(cls)
    for field, value in function.preset.items():
        assert params[field].convert(value) == value


@pytest.mark.parametrize("cls", TYPES.values(), ids=lambda cls: cls.type)
def test_a_resource_is_frozen_and_gives_all_that_a_type_must(cls: type[Resource]) -> None:
    assert cls.__struct_config__.frozen
    for method in ("desired", "destroy"):
        assert getattr(cls, method) is not getattr(Resource, method), f"{cls.type}.{method}"
    for one, many in (("observe", "observe_many"), ("apply", "apply_many")):
        own = getattr(cls, one) is not getattr(Resource, one)
        batch = getattr(cls, many).__func__ is not getattr(Resource, many).__func__
        assert own or batch, f"{cls.type} has neither {one} nor {many}"


def _written(cls: type[Declared], function: Function) -> dict[str, str]:
    return {name: param.name for name, param in function.form(cls).written.items()}
