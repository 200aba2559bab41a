"""Fixtures of the stories that need no host of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stories.story import Story, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The process that commands are forked from."""
    with Zygote() as warm:
        yield warm


@pytest.fixture
def story(tmp_path: Path, zygote: Zygote) -> Story:
    """An empty folder, an empty record and no workflow yet."""
    return Story(tmp_path, zygote)
