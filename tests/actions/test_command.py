"""Commands: what they are given, what comes back, and when they are not run."""

import time
from pathlib import Path
from typing import Any

import pytest

from actions.bench import action, do, guarded
from sloth_runner.core.errors import CommandFailed, HostError, ParamError, TaskTimedOut
from sloth_runner.core.resource import Guard


def run(**given: Any) -> dict[str, Any]:
    """Runs a command and returns what Lua sees."""
    return dict(do(action("exec.run", **given)))


def test_the_text_of_its_author_is_read_by_a_shell() -> None:
    assert run(cmd="echo a; echo b >&2; exit 0") == {
        "stdout": "a\n",
        "stderr": "b\n",
        "exit_code": 0,
        "success": True,
    }


@pytest.mark.parametrize("word", ["a b", "'", '"', "$(id)", "`id`", ";", "-x", "", "\n", "\udcff"])
def test_arguments_arrive_as_they_are(word: str) -> None:
    assert run(argv=["printf", "%s|", word, "end"])["stdout"] == f"{word}|end|"


def test_a_failing_command_is_an_error_with_what_it_said() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(cmd="echo out; echo why >&2; exit 7")
    assert failed.value.facts["exit code"] == 7
    assert (failed.value.facts["stdout"], failed.value.facts["stderr"]) == ("out", "why")


def test_without_the_check_it_is_an_answer() -> None:
    answer = run(cmd="exit 7", check=False)
    assert (answer["exit_code"], answer["success"]) == (7, False)


def test_a_signal_is_told_as_a_shell_tells_it() -> None:
    answer = run(argv=["sh", "-c", "kill -9 $$"], check=False)
    assert (answer["exit_code"], answer["signal"], answer["success"]) == (137, 9, False)
    with pytest.raises(CommandFailed, match="sh was ended by SIGKILL on ") as killed:
        run(argv=["sh", "-c", "kill -9 $$"])
    assert (killed.value.facts["exit code"], killed.value.facts["signal"]) == (137, "SIGKILL")


def test_it_gets_its_directory_variables_and_input(tmp_path: Path) -> None:
    answer = run(
        cmd='pwd; echo "$WORD $NUMBER"; cat',
        cwd=str(tmp_path),
        env={"WORD": "a 'b'", "NUMBER": 3},
        stdin="from stdin",
    )
    assert answer["stdout"] == f"{tmp_path}\na 'b' 3\nfrom stdin"


def test_without_input_it_reads_nothing() -> None:
    assert run(cmd="cat", timeout=5)["stdout"] == ""


def test_after_its_time_everything_that_it_started_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TaskTimedOut):
        run(cmd=f"(sleep 0.5; touch {tmp_path}/late) & sleep 30", timeout="200ms")
    assert time.monotonic() - began < 5
    time.sleep(0.6)
    assert not (tmp_path / "late").exists()


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(HostError, match="no-such-program"):
        run(argv=["no-such-program"])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"cmd": "x", "argv": ["x"]},
        {"cmd": " \n"},
        {"argv": []},
        {"argv": [""]},
        {"cmd": "x", "env": {"A=B": "c"}},
        {"cmd": "x", "env": {"A": True}},
        {"cmd": "x", "env": {"A": ["b"]}},
        {"cmd": "x", "timeout": "soon"},
        {"cmd": "x", "cwd": "here"},
        {"cmd": "x\0y"},
    ],
)
def test_what_cannot_be_run_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ParamError):
        action("exec.run", **given)


def test_secrets_are_in_no_representation() -> None:
    made = action("exec.run", cmd="true", env={"KEY": "hunter2"}, stdin="hunter3")
    assert "hunter" not in repr(made) + made.title
    with pytest.raises(ParamError) as refused:
        action("exec.run", cmd="true", env={"KEY": ["hunter4"]})
    assert "hunter" not in str(refused.value)


def test_a_guard_decides_by_how_its_command_ends(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    unless = action("exec.run", cmd="false", unless=f"test -e {flag}")
    onlyif = action("exec.run", cmd="false", onlyif=f"test -e {flag}")
    assert guarded(unless) is None
    assert guarded(onlyif) == f"onlyif: test -e {flag}"
    flag.touch()
    assert guarded(unless) == f"unless: test -e {flag}"
    assert guarded(onlyif) is None


def test_a_guard_sees_what_the_command_would_see(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    made = action(
        "exec.run",
        cmd="false",
        cwd=str(tmp_path),
        env={"NAME": "here"},
        onlyif='test -e "$NAME"',
    )
    assert guarded(made) is None


def test_all_guards_are_told_to_the_engine() -> None:
    made = action("exec.run", cmd="x", creates="/a", unless="b", onlyif="c")
    assert made.guard == Guard(creates="/a", unless="b", onlyif="c")
    assert not action("exec.run", cmd="x").guard


def test_its_title_is_one_line() -> None:
    assert action("exec.run", cmd="make install").title == "make install"
    assert action("exec.run", argv=["a", "b c"]).title == "a 'b c'"
    assert action("exec.run", cmd="\nset -e\nmake\n").title == "set -e ..."
    assert len(action("exec.run", cmd="x" * 1000).title) < 120


@pytest.mark.parametrize("function", ["os.execute", "io.popen"])
def test_the_functions_of_lua_answer_instead_of_raising(function: str) -> None:
    made = action(function, command="echo out; exit 3")
    assert do(made) == {"stdout": "out\n", "stderr": "", "exit_code": 3, "success": False}
    assert made.title == "echo out; exit 3"
