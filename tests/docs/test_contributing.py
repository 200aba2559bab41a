"""The worked example of CONTRIBUTING.md is a plug-in that works as it stands there."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.blocks import CHECKOUT, blocks
from sloth_runner.core.registry import registry

SLOTH = Path(sys.prefix, "bin/sloth-runner")
PAGE = CHECKOUT / "CONTRIBUTING.md"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with the module and the metadata that installing it would write."""
    place = tmp_path / "plugin"
    metadata = place / "sloth_ini-1.0.dist-info"
    metadata.mkdir(parents=True)
    [module] = blocks(PAGE, "python")
    (place / "sloth_ini.py").write_text(module.code)
    [group, entry] = blocks(PAGE, "toml")[0].code.split("\n")[:2]
    assert group == '[project.entry-points."sloth_runner.resources"]'
    (metadata / "entry_points.txt").write_text(
        "[sloth_runner.resources]\n" + entry.replace('"', "") + "\n"
    )
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sloth-ini\nVersion: 1.0\n")
    return place


class Stack:
    """A workflow beside its record, run with the plug-in installed."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        self.file = folder / "app.ini"
        self.workflow = folder / "ini.lua"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(plugin),
            "SLOTH_RUNNER_DB": str(folder / "stacks.db"),
        }

    def declare(self, value: str) -> None:
        place = f'path = "{self.file}", section = "web", key = "port"'
        self.workflow.write_text(f'ini.value({{ {place}, value = "{value}" }})')

    def sloth(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SLOTH), *words], env=self.environment, capture_output=True, text=True
        )

    def summary(self, *words: str) -> dict[str, int]:
        done = self.sloth(*words, str(self.workflow), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return counts


@pytest.fixture
def stack(tmp_path: Path, plugin: Path) -> Stack:
    return Stack(tmp_path, plugin)


def test_it_makes_a_file_that_is_missing_and_a_second_run_changes_nothing(stack: Stack) -> None:
    stack.declare("80")
    assert stack.summary("run", "--yes")["created"] == 1
    assert stack.file.read_text() == "[web]\nport = 80\n"
    before = stack.file.stat()
    assert stack.summary("run", "--yes")["unchanged"] == 1
    after = stack.file.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_it_leaves_the_rest_of_a_file_as_it_is(stack: Stack) -> None:
    stack.file.write_text("; by hand\n[web]\nport = 1\n[db]\nport = 2")
    stack.declare("80")
    assert stack.summary("plan")["changed"] == 1
    assert stack.file.read_text() == "; by hand\n[web]\nport = 1\n[db]\nport = 2"
    assert stack.summary("run", "--yes")["changed"] == 1
    assert stack.file.read_text() == "; by hand\n[web]\nport = 80\n[db]\nport = 2"


def test_its_drift_names_the_value_and_is_put_back(stack: Stack) -> None:
    stack.declare("80")
    stack.summary("run", "--yes")
    stack.file.write_text("[web]\nport = 81\n")
    report = json.loads(stack.sloth("stack", "drift", "ini", "--json").stdout)
    [found] = report["drifted"]
    assert found["address"] == f"local/ini_value:{stack.file}:web:port"
    assert found["changes"] == [{"property": "value", "recorded": "80", "actual": "81"}]
    fixed = stack.sloth("stack", "drift", "ini", "--fix", "--yes")
    assert fixed.returncode == 0, fixed.stderr
    assert stack.file.read_text() == "[web]\nport = 80\n"


def test_a_parameter_that_is_spelled_wrong_is_refused_with_advice(stack: Stack) -> None:
    stack.workflow.write_text('ini.value({ path = "/x", section = "a", keys = "b", value = "c" })')
    done = stack.sloth("run", "--yes", str(stack.workflow))
    assert done.returncode == 2
    assert "did you mean 'key'" in done.stderr


@pytest.fixture
def loaded(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in in the registry of this process."""
    monkeypatch.syspath_prepend(plugin)
    importlib.invalidate_caches()
    registry.cache_clear()
    yield
    registry.cache_clear()
    sys.modules.pop("sloth_ini", None)


def test_it_gets_a_reference_page(loaded: None) -> None:
    from sloth_runner import docs

    page = docs.pages()["ini.md"]
    assert (
        "| `section` | text | **required** | The name of the section. Part of the name. |" in page
    )
    assert "Compared with the machine, where given: `value`." in page
