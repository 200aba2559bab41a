"""Fixtures of the engine tests."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.script import Deployment
from sloth_runner.core.registry import registry


@pytest.fixture(scope="package")
def plugin() -> Iterator[None]:
    """The types of ``plugin``, found the way those of third parties are."""
    place = str(Path(__file__).parent / "plugin")
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    registry.cache_clear()
    yield
    sys.path.remove(place)
    registry.cache_clear()


@pytest.fixture
def deployment(tmp_path: Path, plugin: None) -> Deployment:
    """An empty place to deploy to, with the types of the plug-in."""
    return Deployment(tmp_path)
