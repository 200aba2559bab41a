"""Errors: exit codes, help, and what never reaches a terminal."""

import os
import subprocess
from pathlib import Path

import pytest

from cli.command import Sloth
from sloth_runner.cli.failing import explained
from sloth_runner.cli.settings import Settings
from sloth_runner.core import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.ParamError("x"), 2),
        (errors.TaskError("x"), 1),
        (errors.Unreachable("x"), 4),
        (errors.Locked("x"), 5),
        (errors.RecordError("x"), 6),
        (errors.PlanStale("x"), 7),
        (errors.Cancelled("x"), 8),
        (errors.TimedOut("x"), 9),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 0),
    ],
)
def test_each_error_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sloth_runner.cli.failing.hush", lambda _: None)
    assert explained(error, Settings(db="/nowhere/db"), []) == code


def test_a_bug_of_ours_leaves_a_private_file_and_no_traceback(
    sloth: Sloth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.python_version", lambda: 1 / 0)
    done = sloth("version", "--color", "never")
    assert done.code == 70
    assert "Traceback" not in done.err
    [crash] = (Path(f"{sloth.db}.d") / "crashes").iterdir()
    assert str(crash) in done.err
    assert crash.stat().st_mode & 0o777 == 0o600
    assert crash.parent.stat().st_mode & 0o777 == 0o700
    assert "ZeroDivisionError" in crash.read_text()


def test_a_crash_file_holds_no_values_of_the_command_line(
    sloth: Sloth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sloth_runner.state.store.Store.kv_set", lambda *_: 1 / 0)
    assert sloth("state", "set", "key", "hunter2").code == 70
    [crash] = (Path(f"{sloth.db}.d") / "crashes").iterdir()
    assert "hunter2" not in crash.read_text()


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rnu"], "'run'"),
        (["stack", "resorces", "x"], "'resources'"),
        (["stack", "show", "wbe"], '"web"'),
        (["state", "delete", "colour"], '"color"'),
        (["run", "siet.lua"], '"site.lua"'),
        (["run", "wbe"], '"web"'),
        (["stack", "list", "--jsno"], "--json"),
    ],
)
def test_a_typing_mistake_gets_advice(sloth: Sloth, arguments: list[str], meant: str) -> None:
    sloth("stack", "new", "web")
    sloth("state", "set", "color", "red")
    sloth.write("")
    done = sloth(*arguments)
    assert done.code in (1, 2)
    assert done.out == ""
    assert meant in done.err


def test_wrong_usage_names_the_help_that_explains_it(sloth: Sloth) -> None:
    done = sloth("stack", "show")
    assert done.code == 2
    assert done.err.startswith("error[SR1000]: wrong input\n   missing argument")
    assert "sloth-runner stack show --help" in done.err


def test_a_damaged_record_is_named_and_kept(sloth: Sloth) -> None:
    sloth.db.parent.mkdir()
    sloth.db.write_bytes(b"not a database" * 100)
    done = sloth("stack", "list")
    assert done.code == 6
    assert str(sloth.db) in done.err
    assert sloth.db.read_bytes() == b"not a database" * 100


@pytest.mark.parametrize("arguments", [["stack", "list"], ["stack", "show", "x"], ["run", "x"]])
def test_a_record_that_cannot_be_looked_at_is_no_bug(sloth: Sloth, arguments: list[str]) -> None:
    done = sloth(*arguments, "--db", f"/tmp/{'x' * 300}")
    assert done.code == 6
    assert "cannot be opened for writing: File name too long" in done.err


def test_a_full_disk_under_the_output_is_said(sloth: Sloth) -> None:
    sloth("stack", "new", "web")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            sloth.argv("stack", "list"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_run_fails_whether_or_not_its_output_is_taken(sloth: Sloth, options: list[str]) -> None:
    flow = sloth.write('for i = 1, 9 do print(i) end exec.run({ argv = { "false" } })')
    reading, writing = os.pipe()
    os.close(reading)
    for output in (writing, os.open("/dev/full", os.O_WRONLY)):
        done = subprocess.run(
            sloth.argv("run", flow, "--yes", *options),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(output)
        assert done.returncode == 1
        assert options or "error[SR2101]: a command failed" in done.stderr


def test_a_run_whose_output_is_lost_is_no_success(sloth: Sloth) -> None:
    flow = sloth.write('file_ops.content({ path = "@/made", content = "x" })')
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            sloth.argv("run", flow, "--yes"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"standard output cannot be written" in done.stderr
    assert (sloth.folder / "made").exists()


def test_a_number_that_is_none_is_asked_for_in_words(sloth: Sloth) -> None:
    for arguments in (["run", "x", "--parallel", "0"], ["stack", "history", "web", "last"]):
        done = sloth(*arguments)
        assert done.code == 2
        assert "expected a whole number from 1" in done.err


def test_advice_can_be_pasted_whatever_the_name(sloth: Sloth) -> None:
    assert "sloth-runner run 'a b' -f" in sloth("stack", "new", "a b").err
    assert "sloth-runner run 'a b' -f" in sloth("run", "a b").err
    flow = sloth.write('exec.run({ argv = { "false" } })')
    assert "stack history 'a b' 1" in sloth("run", "a b", "-f", flow, "--yes").err


def test_a_reader_that_has_enough_is_no_error(sloth: Sloth) -> None:
    for number in range(3):
        sloth("stack", "new", f"s{number}")
    command = subprocess.list2cmdline(sloth.argv("stack", "list"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} 2>err | true; cat err"],
        cwd=sloth.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "Error" not in done.stdout + done.stderr


def test_names_with_control_characters_cannot_drive_the_terminal(sloth: Sloth) -> None:
    done = sloth("stack", "show", "x\x1b[2J\x07")
    assert "\x1b" not in done.err
    assert "\x07" not in done.err


def test_global_options_stand_before_or_after_the_command(sloth: Sloth) -> None:
    sloth("stack", "new", "web")
    assert sloth("--json", "stack", "list").json == sloth("stack", "list", "--json").json
    other = str(sloth.folder / "other.db")
    assert sloth("stack", "list", "--db", other, "--json").json == []


def test_a_mistake_in_a_module_says_from_where_it_was_called(sloth: Sloth) -> None:
    sloth.write('return { web = function() file_ops.content({ pth = "@/x" }) end }', "roles.lua")
    done = sloth("run", sloth.write('local roles = require("roles")\nroles.web()'), "--yes")
    assert done.code == 2
    assert "roles.lua:1" in done.err
    assert "called at  site.lua:2: in the body of the file" in done.err
