"""Fixtures of the command tests."""

from pathlib import Path

import pytest

from cli.command import Sloth


@pytest.fixture
def sloth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sloth:
    """The command, in an empty folder and with an environment that says nothing."""
    for name in ("SLOTH_RUNNER_DB", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Sloth(tmp_path)
