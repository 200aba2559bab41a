"""Types that other distributions add."""

import sys
from pathlib import Path

import pytest

from sloth_runner.core.registry import registry

PLUGIN = """
from typing import Annotated

from sloth_runner.core.resource import Function, Resource, declare
from sloth_runner.core.schema import Doc


@declare("extra_thing", Function(name="extra.thing", doc="Keeps a thing."))
class Thing(Resource, frozen=True, kw_only=True):
    name: Annotated[str, Doc("Its name.", key=True)]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(place: Path, group: str) -> None:
    (place / "extra_types.py").write_text(PLUGIN)
    info = place / "extra_types-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-types\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nextra = extra_types\n")


def test_an_installed_distribution_adds_its_types(place: Path) -> None:
    install(place, "sloth_runner.resources")
    found = registry.__wrapped__()
    assert found.types["extra_thing"].__name__ == "Thing"
    assert found.functions["extra.thing"][0] is found.types["extra_thing"]


def test_entry_points_of_other_groups_add_nothing(place: Path) -> None:
    install(place, "console_scripts")
    assert "extra_thing" not in registry.__wrapped__().types


def test_a_plug_in_that_cannot_be_loaded_takes_nothing_with_it(place: Path) -> None:
    install(place, "sloth_runner.resources")
    (place / "extra_types.py").write_text("import nosuch")
    sys.modules.pop("extra_types", None)
    found = registry.__wrapped__()
    assert "file" in found.types
    assert "extra_types (ModuleNotFoundError: No module named 'nosuch')" in found.not_loaded
