"""The first signal stops cleanly wherever a run is, the second at once; deadlines hold."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from stories.story import Done, Running, Story

REACHED = 'io.open(HERE .. "/reached", "w"):close()'
TASK = "task({{name = 'first', {more} run = function() {reached} {body} end}}) {second}"
SECOND = """
task({name = "second", depends_on = {"first"}, run = function()
    exec.run("touch " .. HERE .. "/second")
end})
"""
BUSY = {
    "a loop before any call": (REACHED + " while true do end", ""),
    "a loop that catches everything": (
        REACHED + " while true do pcall(function() while true do end end) end",
        "",
    ),
    "a body that declares": (
        "task({name = 'a', depends_on = {'b'}, run = function() end})"
        f"{REACHED} goroutine.sleep(60) task({{name = 'b', run = function() end}})",
        "",
    ),
    "a loop that calls": ("while true do file_ops.exists(HERE) end", "task"),
    "a sleep": ("goroutine.sleep(60)", "task"),
    "a retry that waits": ("error('again')", "retries = 3, retry_delay = 60,"),
    "a channel": (
        "goroutine.spawn(function() goroutine.sleep(60) end) goroutine.channel():receive()",
        "task",
    ),
    "a wait for a port": ("wait.port({host = '127.0.0.1', port = 1, timeout = 60})", "task"),
}


def started(story: Story, lua: str, *argv: str) -> Running:
    """Starts a run and waits until it has got where it says that it is."""
    story.write(lua)
    running = story.start("--json", "--yes", "run", str(story.file), *argv)
    story.wait_for("reached")
    return running


def process_of(story: Story, out: int, *before: str) -> subprocess.Popen[bytes]:
    """Starts a run as a process of its own, whose output goes to a descriptor."""
    argv = [sys.executable, "-m", "sloth_runner", "--db", str(story.db), "-y", "run"]
    return subprocess.Popen([*before, *argv, str(story.file)], stdout=out, stderr=out)


def endings(done: Done) -> dict[str, str]:
    return {event["task"]: event["outcome"] for event in done.of("task.end")}


def history(story: Story) -> list[str]:
    return [run["result"] for run in story.sloth("--json", "stack", "history", "web").json]


def in_doubt(story: Story) -> int:
    with closing(sqlite3.connect(story.db)) as record:
        asked = "SELECT count(*) FROM operations WHERE result IS NULL"
        return int(record.execute(asked).fetchone()[0])


@pytest.mark.parametrize("busy", BUSY.values(), ids=BUSY)
def test_a_stop_is_clean_wherever_the_run_is(story: Story, busy: tuple[str, str]) -> None:
    body, more = busy
    tasks = more.removeprefix("task")
    lua = TASK.format(more=tasks, reached=REACHED, body=body, second=SECOND) if more else body
    running = started(story, lua)
    running.send(signal.SIGTERM)
    done = running.wait(10)
    assert (done.code, done.summary["result"], done.err) == (8, "cancelled", "")
    assert not (story.here / "second").exists()
    assert set(endings(done).values()) <= {"ok", "cancelled", "blocked"}
    assert set(endings(done)) >= ({"first", "second"} if more else {"main"})
    assert done.of("diagnostic") == []
    assert (history(story), in_doubt(story)) == (["cancelled"], 0)


def test_what_runs_is_finished_and_recorded_before_a_stop(story: Story) -> None:
    lua = """
        task({name = "a", run = function()
            exec.run("touch " .. HERE .. "/reached; sleep 0.5; touch " .. HERE .. "/end")
            exec.run("touch " .. HERE .. "/next")
        end})
        task({name = "b", run = function() while true do file_ops.exists(HERE) end end})
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        running = started(story, lua)
        running.send(number)
        done = running.wait(10)
        assert (done.code, done.counts) == (8, {"ran": 1})
        assert {path.name for path in story.here.iterdir()} == {"end", "reached"}
        assert in_doubt(story) == 0
        for name in ("end", "reached"):
            (story.here / name).unlink()
    assert story.run('exec.run("true")').of("resource.recovered") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_at_once(story: Story, number: signal.Signals, code: int) -> None:
    running = started(story, 'exec.run("touch " .. HERE .. "/reached; sleep 0.7")')
    running.send(number)
    story.wait_until(lambda: "nothing new starts" in running.out)
    running.send(number)
    assert running.wait(5).code == code
    done = story.run('exec.run("true")', "--wait", "10s")
    assert [event["outcome"] for event in done.of("resource.recovered")] == ["in doubt"]
    assert history(story) == ["ok", "killed"]


def test_a_reader_that_does_not_read_cannot_keep_it_from_ending(story: Story) -> None:
    story.write(REACHED + ' while true do print(("x"):rep(1000)) end')
    reading, writing = os.pipe()
    with os.fdopen(reading), process_of(story, writing) as process:
        os.close(writing)
        story.wait_for("reached")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143


@pytest.mark.parametrize("body", ["while true do end", 'exec.run("sleep 60")'])
def test_the_deadline_of_a_run_ends_whatever_it_does(story: Story, body: str) -> None:
    lua = f"task({{name = 't', run = function() {body} end}})"
    for argv in (("run", "--yes"), ("plan",)) if "while" in body else (("run", "--yes"),):
        story.write(lua)
        done = story.sloth("--json", *argv, str(story.file), "--timeout", "200ms")
        assert (done.code, done.summary["result"]) == (9, "timeout")
        assert endings(done) == {"main": "ok", "t": "cancelled"}


def test_a_stop_while_the_lock_is_waited_for_is_clean(story: Story) -> None:
    first = started(story, 'exec.run("touch " .. HERE .. "/reached; sleep 60")')
    second = story.start("--json", "--yes", "run", str(story.file), "--wait", "1m")
    story.wait_until(lambda: "lock.wait" in second.out)
    second.send(signal.SIGTERM)
    done = second.wait(5)
    assert (done.code, done.summary["result"]) == (8, "cancelled")
    assert f"pid {first.pid}" in done.of("lock.wait")[0]["msg"]
    child = first.kill()
    assert child.code == -9


def test_a_stop_in_a_preview_is_clean_and_leaves_nothing(story: Story) -> None:
    story.write("while true do pcall(file_ops.exists, HERE) end")
    running = story.start("--json", "plan", str(story.file))
    story.wait_until(lambda: "stream.start" in running.out)
    running.send(signal.SIGHUP)
    done = running.wait(5)
    assert (done.code, done.summary["result"]) == (8, "cancelled")
    assert not story.db.parent.exists()


DRIFTS = """
local thing = resource.define({
    type = "thing",
    observe = function(name)
        local there = file_ops.exists(HERE .. "/" .. name)
        if file_ops.exists(HERE .. "/slow") then
            exec.run("touch " .. HERE .. "/reached; sleep 0.5")
        end
        return there and {} or nil
    end,
    create = function(name)
        exec.run("touch " .. HERE .. "/reached; sleep 0.5; touch " .. HERE .. "/" .. name)
    end,
})
thing("a") thing("b")
"""


@pytest.mark.parametrize("fix", [False, True])
def test_a_stop_while_drift_is_looked_for_or_repaired_is_clean(story: Story, fix: bool) -> None:
    story.run(DRIFTS)
    for name in ("a", "b", "reached"):
        (story.here / name).unlink()
    if not fix:
        (story.here / "slow").touch()
    running = story.start("stack", "drift", "web", *(["--fix"] if fix else []))
    story.wait_for("reached")
    running.send(signal.SIGTERM)
    done = running.wait(10)
    assert done.code == 8
    assert "nothing new starts" in done.err
    assert (history(story)[0], in_doubt(story)) == ("cancelled", 0)
    assert ((story.here / "a").exists(), (story.here / "b").exists()) == (fix, False)


def test_what_was_started_to_outlive_its_terminal_does(story: Story) -> None:
    story.write(REACHED + ' exec.run("sleep 0.3")')
    with process_of(story, subprocess.DEVNULL, "nohup") as process:
        story.wait_for("reached")
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 0


def test_a_stop_while_a_failed_task_ends_its_commands_still_waits_for_them(story: Story) -> None:
    lua = """
        goroutine.spawn(function()
            exec.run({cwd = HERE, cmd = "trap 'touch reached; sleep 0.3; touch end; exit 1' TERM; "
                .. "touch begun; while :; do sleep 0.05; done"})
        end)
        while not file_ops.exists(HERE .. "/begun") do goroutine.sleep(0.01) end
        error("it failed")
    """
    running = started(story, lua)
    running.send(signal.SIGTERM)
    done = running.wait(10)
    assert (story.here / "end").exists()
    assert (done.code, in_doubt(story)) == (8, 0)


def test_a_task_that_is_too_slow_says_which_call_it_waited_for(story: Story) -> None:
    ran = story.run("""
        task({name = "slow", timeout = "200ms", run = function()
            file_ops.content({path = HERE .. "/a", content = "x"})
            exec.run("sleep 30")
        end})
    """)
    [told] = ran.of("diagnostic")
    assert (told["code"], told["facts"]) == ("SR2009", {"during": "exec.run"})
    assert told["loc"].endswith("web.lua:4")
    assert (ran.code, ran.summary["failed"]) == (1, 1)


def test_a_second_signal_ends_a_regular_expression_that_never_ends(story: Story) -> None:
    (story.here / "a").write_text("a" * 40 + "!\n")
    story.write('file_ops.lineinfile({path = HERE .. "/a", regexp = "^(a+)+$", line = "aaa"})')
    running = story.start("run", str(story.file), "--yes", "--json")
    time.sleep(0.7)
    for _ in range(2):
        running.send(signal.SIGINT)
        time.sleep(0.3)
    assert running.wait(5).code == 130
