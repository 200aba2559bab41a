"""Running commands: held, watched, ended, and never given to a shell."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hosts.asking import NOBODY, names_in, run
from sloth_runner.core.errors import HostError, TaskTimedOut
from sloth_runner.core.host import Command, Host, StartedCommand
from sloth_runner.core.values import raw, text
from sloth_runner.hosts import primitives
from sloth_runner.hosts.processes import boot_id, process_alive


def error_of(host: Host, *argv: str, **more: object) -> HostError:
    with pytest.raises(HostError) as caught:
        run(host, *argv, **more)
    return caught.value


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def test_words_arrive_as_they_are(host: Host) -> None:
    words = [
        "",
        " a  b ",
        "line\nline",
        "'\"",
        "; id",
        "$(id)",
        "-n",
        "*",
        text(b"\xff"),
        "\\0",
        "é",
    ]
    result = run(host, "printf", r"%s\0", *words)
    assert raw(result.stdout) == b"".join(raw(word) + b"\0" for word in words)
    assert (result.exit_code, result.stderr, result.argv[0]) == (0, "", "printf")


def test_output_and_exit_code_are_whatever_they_are(host: Host) -> None:
    result = run(host, "sh", "-c", r"printf 'a\377\0b'; printf err >&2; exit 7")
    assert (raw(result.stdout), result.stderr, result.exit_code) == (b"a\xff\0b", "err", 7)
    assert run(host, "sh", "-c", "kill -9 $$").exit_code == -9
    assert 0.05 <= run(host, "sleep", "0.05").elapsed < 5


def test_a_missing_program_is_named_before_anything_is_started(host: Host, tmp_path: Path) -> None:
    started: list[StartedCommand] = []
    error = error_of(host, "no-such-program", "x", on_started=started.append)
    assert (error.errno_name, "no-such-program" in error.detail) == ("ENOENT", True)
    assert started == []
    (tmp_path / "plain").write_text("x")
    assert error_of(host, str(tmp_path / "plain")).errno_name == "EACCES"
    assert error_of(host, str(tmp_path / "none")).errno_name == "ENOENT"
    missing = error_of(host, "true", cwd=str(tmp_path / "none"))
    assert (missing.errno_name, str(tmp_path / "none") in missing.detail) == ("ENOENT", True)
    assert error_of(host, "echo", "a\0b").errno_name == "EINVAL"
    assert error_of(host, "").errno_name == "EINVAL"
    assert error_of(host, "true", user="no-such-user").errno_name == "EINVAL"
    assert error_of(host, "true", env={"A=B": "x"}).errno_name == "EINVAL"


def test_programs_are_found_by_the_path_of_the_command(host: Host, tmp_path: Path) -> None:
    program = tmp_path / "ours"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert run(host, "ours", env={"PATH": str(tmp_path)}).stdout == "found\n"
    assert run(host, "./ours", cwd=str(tmp_path)).stdout == "found\n"
    assert error_of(host, "ours", cwd=str(tmp_path)).errno_name == "ENOENT"
    relative = error_of(host, "ours", cwd=str(tmp_path), env={"PATH": ".::"})
    assert relative.errno_name == "ENOENT"


def test_input_is_given_whole_and_none_is_empty(host: Host) -> None:
    data = "x\0\n" * 1_000_000
    assert run(host, "cat", stdin=data).stdout == data
    assert run(host, "cat").stdout == ""
    assert run(host, "cat", stdin="\n").stdout == "\n"
    assert run(host, "true", stdin=data).exit_code == 0
    assert run(host, "sh", "-c", "exec 0<&-; sleep 0.1; echo on", stdin=data).stdout == "on\n"


def test_the_environment_is_ours_with_what_is_given(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("OURS", "kept")
    monkeypatch.delenv("LANG", raising=False)
    said = run(host, "env", env={"GIVEN": "a\nb=$(id)", "EMPTY": ""}).stdout
    assert "OURS=kept\n" in said
    assert "GIVEN=a\nb=$(id)\n" in said
    assert "EMPTY=\n" in said
    assert "LANG=C.UTF-8\n" in said
    assert "PATH=/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin\n" in said
    assert run(host, "pwd", cwd=str(tmp_path)).stdout == f"{tmp_path}\n"


@pytest.mark.root
def test_another_account_gets_its_own_clean_environment(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_ROOT", "x")
    said = run(
        host, "sh", "-c", "id -u; id -g; id -G; env", user="nobody", env={"GIVEN": "1"}
    ).stdout
    lines = said.splitlines()
    assert lines[:3] == [str(NOBODY)] * 3
    assert "SECRET_OF_ROOT" not in said
    assert {"USER=nobody", "LOGNAME=nobody", "HOME=/nonexistent", "GIVEN=1"} <= set(lines)
    assert run(host, "id", "-u", user=str(NOBODY)).stdout == f"{NOBODY}\n"


def test_no_descriptor_of_ours_reaches_a_command(host: Host, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        said = run(host, "sh", "-c", "ls -l /proc/$$/fd").stdout
    assert str(tmp_path) not in said
    numbers = {line.split()[8] for line in said.splitlines()[1:]}
    assert {"0", "1", "2"} <= numbers
    assert "pipe" not in "".join(line for line in said.splitlines() if line.split()[8:9] > ["2"])


def test_it_has_a_session_and_a_group_of_its_own(host: Host) -> None:
    started: list[StartedCommand] = []
    result = run(host, "sh", "-c", "echo $$; ps -o pgid=,sid= -p $$", on_started=started.append)
    assert set(result.stdout.split()) == {str(started[0].process_group)}


def test_nothing_happens_before_the_start_is_noted(host: Host, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    seen: list[object] = []

    def note(started: StartedCommand) -> None:
        time.sleep(0.1)
        stat = Path(f"/proc/{started.process_group}/stat").read_text().rpartition(")")[2].split()
        seen.append((mark.exists(), int(stat[19]) == started.start_time))
        seen.append(process_alive(started.process_group, started.start_time, boot_id()))

    assert run(host, "touch", str(mark), on_started=note).ok
    assert seen == [(False, True), True]
    assert mark.exists()


def test_a_start_that_cannot_be_noted_never_happens(host: Host, tmp_path: Path) -> None:
    started: list[StartedCommand] = []

    def fail(command: StartedCommand) -> None:
        started.append(command)
        raise RuntimeError("the record is full")

    with pytest.raises(RuntimeError, match="full"):
        run(host, "touch", str(tmp_path / "mark"), on_started=fail)
    assert not is_running(started[0].process_group)
    assert names_in(tmp_path) == []


def test_lines_are_told_as_they_come(host: Host) -> None:
    told: list[tuple[str, str, float]] = []
    run(
        host,
        "sh",
        "-c",
        r"echo one; sleep 0.3; printf 'tw\377o\n' >&2; printf three",
        on_output=lambda stream, line: told.append((stream, line, time.monotonic())),
    )
    assert [entry[:2] for entry in told] == [
        ("stdout", "one"),
        ("stderr", text(b"tw\xffo")),
        ("stdout", "three"),
    ]
    assert told[1][2] - told[0][2] > 0.2


def test_ten_megabytes_come_whole(host: Host) -> None:
    told = [0]

    def count(_stream: str, line: str) -> None:
        told[0] += len(line)

    result = run(host, "sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x", on_output=count)
    assert (len(result.stdout), set(result.stdout), told[0]) == (10_000_000, {"x"}, 10_000_000)


def test_more_than_can_be_kept_is_an_error_and_the_command_still_ends(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primitives, "CAPTURE_LIMIT", 1000)
    script = f"head -c 100000 /dev/zero; touch '{tmp_path}/end'"
    error = error_of(host, "sh", "-c", script)
    assert (error.errno_name, error.facts["exit code"]) == ("EFBIG", 0)
    assert (tmp_path / "end").exists()
    monkeypatch.setattr(primitives, "CAPTURE_LIMIT", 100_000)
    assert len(run(host, "sh", "-c", script).stdout) == 100_000


def test_a_timeout_ends_the_whole_group(host: Host, tmp_path: Path) -> None:
    began = time.monotonic()
    script = f"sleep 60 & echo $! > '{tmp_path}/pid'; echo said; wait"
    with pytest.raises(TaskTimedOut) as caught:
        run(host, "sh", "-c", script, timeout=0.2)
    assert time.monotonic() - began < 1.5
    assert caught.value.facts["stdout"] == "said"
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_what_ignores_sigterm_is_killed_two_seconds_later(host: Host, tmp_path: Path) -> None:
    began = time.monotonic()
    script = (
        f"trap '' TERM; (sleep 60; sleep 60) & echo $! > '{tmp_path}/pid'; wait; wait; sleep 60"
    )
    with pytest.raises(TaskTimedOut):
        run(host, "sh", "-c", script, timeout=0.1)
    assert 2.0 < time.monotonic() - began < 4.0
    wait_for(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_what_ends_cleanly_on_sigterm_has_time_for_it(host: Host, tmp_path: Path) -> None:
    script = f"trap 'sleep 0.3; touch {tmp_path}/clean; exit 3' TERM; echo up; sleep 60 & wait"
    with pytest.raises(TaskTimedOut):
        run(host, "sh", "-c", script, timeout=0.2)
    assert (tmp_path / "clean").exists()


def test_what_a_command_started_has_time_too(host: Host, tmp_path: Path) -> None:
    inner = f"trap 'sleep 0.3; touch {tmp_path}/clean; exit' TERM; echo up; sleep 60 & wait"
    with pytest.raises(TaskTimedOut):
        run(host, "sh", "-c", f"({inner}) & exec sleep 60", timeout=0.2)
    assert (tmp_path / "clean").exists()


def test_cancelling_ends_the_group_before_it_returns(host: Host, tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    async def cancelled() -> None:
        command = Command(argv=("sh", "-c", f"sleep 60 & echo $! > '{pid}'; wait"))
        task = asyncio.ensure_future(host.run(command))
        while not (pid.exists() and pid.read_text()):  # noqa: ASYNC110  (it is no task that sets it)
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_running(int(pid.read_text()))

    began = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - began < 1.5


def test_cancelling_a_held_command_means_that_it_never_runs(host: Host, tmp_path: Path) -> None:
    noting, noted = threading.Event(), threading.Event()

    def note(_started: StartedCommand) -> None:
        noting.set()
        noted.wait(5)

    async def cancelled() -> None:
        command = Command(argv=("touch", str(tmp_path / "mark")))
        task = asyncio.ensure_future(host.run(command, on_started=note))
        while not noting.is_set():  # noqa: ASYNC110  (it is no task that sets it)
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.sleep(0)
        noted.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert names_in(tmp_path) == []


def test_a_grandchild_that_holds_the_output_does_not_hold_us(host: Host, tmp_path: Path) -> None:
    began = time.monotonic()
    result = run(host, "sh", "-c", f"sleep 30 & echo $! > '{tmp_path}/pid'; echo said")
    assert time.monotonic() - began < 2
    assert (result.stdout, result.exit_code) == ("said\n", 0)
    pid = int((tmp_path / "pid").read_text())
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


def test_many_commands_run_side_by_side(host: Host) -> None:
    async def many() -> list[str]:
        runs = (host.run(Command(argv=("sh", "-c", f"sleep 0.3; echo {n}"))) for n in range(30))
        return [result.stdout for result in await asyncio.gather(*runs)]

    began = time.monotonic()
    assert asyncio.run(many()) == [f"{n}\n" for n in range(30)]
    assert time.monotonic() - began < 4


def test_without_process_descriptors_the_end_is_found_too(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert run(host, "sh", "-c", "echo out; exec >&- 2>&-; sleep 0.1; exit 4").exit_code == 4
    assert run(host, "echo", "out").stdout == "out\n"


CONTROLLER = """
import sys
from primitives import run
print("up", flush=True)
run(["sh", "-c", sys.argv[1]], on_started=lambda *found: print(*found, flush=True))
"""


@pytest.fixture
def controller(tmp_path: Path) -> "subprocess.Popen[str]":
    """A process that runs a command which prints for a second, and then leaves a mark."""
    script = (
        f"sleep 30 & touch '{tmp_path}/begun'; for n in 1 2 3 4 5; do echo a line; sleep 0.1; "
        f"done; touch '{tmp_path}/end'; wait"
    )
    folder = str(Path(primitives.__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.append({folder!r})\n{CONTROLLER}", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_a_command_survives_the_death_of_its_run_and_can_be_found(
    controller: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert controller.stdout is not None
    assert controller.stdout.readline() == "up\n"
    group, start_time = map(int, controller.stdout.readline().split())
    wait_for((tmp_path / "begun").exists)
    controller.kill()
    controller.wait()
    controller.stdout.close()

    wait_for((tmp_path / "end").exists)
    assert process_alive(group, start_time, boot_id())
    assert not process_alive(group, start_time + 1, boot_id())
    assert not process_alive(group, start_time, "another boot")
    os.kill(group, signal.SIGKILL)  # the leader; "sleep" is still of its group
    wait_for(lambda: not is_running(group))
    assert process_alive(group, start_time, boot_id())
    os.killpg(group, signal.SIGKILL)
    wait_for(lambda: not process_alive(group, start_time, boot_id()))


def test_a_held_command_ends_without_a_trace_when_its_run_dies(tmp_path: Path) -> None:
    code = "import os, signal\nfrom primitives import run\n"
    code += "def die(group, start_time):\n    print(group, flush=True)\n"
    code += "    os.kill(os.getpid(), signal.SIGKILL)\n"
    code += "run(['touch', sys.argv[1]], on_started=die)"
    folder = str(Path(primitives.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({folder!r})\n{code}", tmp_path / "x"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == -9
    wait_for(lambda: not is_running(int(done.stdout)))
    assert names_in(tmp_path) == []
