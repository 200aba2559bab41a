"""Every Lua block of the documentation is run: previewed here, for real on a booted machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.blocks import CHECKOUT, PAGES, Block, blocks
from machines.machine import Machine
from sloth_runner.cli.app import call

SLOTH = Path(sys.prefix, "bin/sloth-runner")
LUA = [block for page in PAGES for block in blocks(page, "lua")]
# What only a Debian host has: looked at on the booted machine, not on whatever runs the tests.
# The reference repeats the docstrings of the types, whose laws preview them too.
GUIDES = [block for block in LUA if not block.page.startswith("docs/reference/")]
OF_THE_SYSTEM = ("pkg.", "systemd.", "user.", "group.", "wait.", "ini.")
BESIDE = sorted((CHECKOUT / "examples/web-server").iterdir())


def sloth(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs our command with a record of its own in a folder."""
    environment = {**os.environ, "SLOTH_RUNNER_DB": str(folder / "stacks.db")}
    argv = [str(SLOTH), *map(str, words)]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that blocks name as their sources."""
    for path in BESIDE:
        shutil.copy(path, tmp_path)
    return tmp_path


def test_there_are_blocks_to_run() -> None:
    assert len(LUA) > 40


def test_every_block_is_valid(tmp_path: Path) -> None:
    for number, block in enumerate(LUA):
        (tmp_path / f"{number}.lua").write_text(block.code)
    files = [f"{number}.lua" for number, block in enumerate(LUA) if "ini." not in block.code]
    done = sloth("validate", *files, folder=tmp_path)
    named = {f"{n}.lua": str(block) for n, block in enumerate(LUA) if f"{n}.lua:" in done.stderr}
    assert done.returncode == 0, f"{named}\n{done.stderr}"


@pytest.mark.parametrize(
    "block", [b for b in GUIDES if not any(word in b.code for word in OF_THE_SYSTEM)], ids=str
)
def test_a_block_can_be_previewed_and_writes_nothing(
    block: Block,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (folder / "block.lua").write_text(block.code)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SLOTH_RUNNER_DB", str(folder / "stacks.db"))
    before = sorted(folder.iterdir())
    # In this process: starting the command anew takes longer than the preview.
    code = call(["plan", "block.lua", "--json"])
    shown, talk = capfd.readouterr()
    assert code == 0, f"{block}\n{shown}{talk}"
    assert json.loads(shown.splitlines()[-1])["type"] == "summary"
    assert sorted(folder.iterdir()) == before


@pytest.fixture(scope="module")
def host(machine_image: Path) -> Iterator[Machine]:
    """A machine for all blocks, with what they take for granted."""
    with Machine(machine_image) as booted:
        for path in BESIDE:
            booted.write(f"/root/{path.name}", path.read_bytes())
        # apt only knows what is in its index, and the web server that a block waits for must run.
        booted.sh("apt-get -q update && apt-get -qy install nginx")
        booted.sh("cd /tmp && mkdir -p sloth-sample/app && tar czf app.tgz -C /etc hostname")
        booted.sh("mv /tmp/app.tgz /tmp/sloth-sample/app.tar.gz")
        yield booted


@pytest.mark.parametrize("block", [b for b in LUA if "ini." not in b.code], ids=str)
def test_a_block_runs_for_real_and_a_second_run_makes_nothing(block: Block, host: Machine) -> None:
    host.sh("rm -rf /root/block.db*")
    host.write("/root/block.lua", block.code)
    for attempt in ("first", "second"):
        done = host.sloth(
            "--db", "/root/block.db", "run", "block.lua", "--yes", "--json", check=False
        )
        assert done.returncode == 0, f"{block}, {attempt} run\n{done.stdout}{done.stderr}"
    summary = json.loads(done.stdout.splitlines()[-1])
    made = {name: summary[name] for name in ("created", "changed", "removed", "carried")}
    assert not any(made.values()), f"{block}: {made}"
