"""Fixtures of the resource tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.bench import Bench, bench


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder for what a test makes."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Bench]:
    """This machine, to try resources on."""
    saved = tmp_path / "saved"
    saved.mkdir()
    with bench(saved) as ready:
        yield ready
