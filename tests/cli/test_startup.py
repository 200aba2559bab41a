"""What short commands load: each module costs everybody who waits at a prompt."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import Sloth

HEAVY = {"asyncio", "asyncssh", "cryptography", "jinja2", "lupa", "rich", "yaml"}
PROBE = (
    "import sys\n"
    "from sloth_runner.cli.app import call\n"
    "code = call(sys.argv[1:])\n"
    "print(code, *sorted(sys.modules), file=sys.stderr)\n"
)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["stack", "--help"]])
def test_short_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code, modules = loaded(arguments)
    assert code == "0"
    assert modules & (HEAVY | {"msgspec", "dataclasses"}) == set()
    assert not any(
        name.startswith(("sloth_runner.engine", "sloth_runner.state")) for name in modules
    )


def test_listing_stacks_loads_the_record_and_nothing_heavy(sloth: Sloth) -> None:
    sloth("stack", "new", "web")
    code, modules = loaded(["--db", str(sloth.db), "stack", "list"])
    assert code == "0"
    assert "sqlite3" in modules
    assert modules & HEAVY == set()
    assert not any(name.startswith("sloth_runner.engine") for name in modules)


def test_a_run_loads_nothing_that_it_does_not_use(sloth: Sloth) -> None:
    (sloth.folder / "true.lua").write_text('exec.run("true")')
    for command in ("plan", "run"):
        code, modules = loaded(["--db", str(sloth.db), command, "true.lua", "--yes"], sloth.folder)
        assert code == "0"
        assert "asyncio" in modules
        assert not modules & {"ssl", "_ssl", "typing_extensions"}


def test_what_it_did_not_use_can_be_loaded_after_all(tmp_path: Path) -> None:
    program = (
        "from sloth_runner.cli.app import call\n"
        f"call(['--db', {str(tmp_path / 'none.db')!r}, 'stack', 'drift', 'none'])\n"
        "import sys\n"
        "assert 'msgspec' in sys.modules and 'asyncio' in sys.modules\n"
        "import ssl, typing_extensions\n"
        "ssl.create_default_context()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def loaded(arguments: list[str], folder: Path | None = None) -> tuple[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    code, *modules = done.stderr.splitlines()[-1].split()
    return code, set(modules)


def test_every_command_that_is_listed_exists_and_explains_itself(sloth: Sloth) -> None:
    for group in ([], ["stack"], ["state"]):
        for name in commands_in(sloth(*group, "--help").out):
            told = sloth(*group, name, "--help")
            assert told.code == 0
            assert "Usage: sloth-runner" in told.out


def commands_in(help_text: str) -> list[str]:
    section = help_text.partition("Commands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in section.splitlines() if line[2:3].strip()]


def test_the_module_runs_like_the_command(sloth: Sloth) -> None:
    done = sloth.process("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("sloth-runner ")


def test_the_version_is_told_to_programs_too(sloth: Sloth) -> None:
    assert set(sloth("version", "--json").json) == {"version", "python"}
