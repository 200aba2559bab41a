"""Promise 5: kill -9 at any instant loses no record, leaves no lock and does nothing twice."""

import itertools
import os
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from stories.story import Done, Story, Zygote

pytestmark = pytest.mark.crash

WORKFLOW = """
task({name = "configure", run = function()
    local conf = file_ops.content({path = HERE .. "/conf", content = "new\\n"})
    local line = file_ops.lineinfile({path = HERE .. "/hosts", line = "web", regexp = "^web"})
    file_ops.remove({path = HERE .. "/old"})
    if conf.changed or line.changed then exec.run("echo restart >>" .. HERE .. "/restarts") end
    exec.run({cmd = "echo made >>" .. HERE .. "/made", creates = HERE .. "/made"})
end})
task({name = "register", depends_on = {"configure"}, run = function()
    stack.register_resource({type = "custom", name = "r", properties = {a = 1}})
end})
"""


def a_site(folder: Path, zygote: Zygote) -> Story:
    folder.mkdir()
    story = Story(folder, zygote)
    (story.here / "conf").write_text("old\n")
    (story.here / "hosts").write_text("localhost\n")
    (story.here / "old").write_text("x")
    story.write(WORKFLOW)
    return story


def integrity(story: Story) -> str:
    if not story.db.exists():
        return "ok"
    with closing(sqlite3.connect(story.db)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def in_place(story: Story) -> dict[str, int]:
    """The files that are as the workflow wants them, each with its inode."""
    wanted = {"conf": "new\n", "hosts": "localhost\nweb\n"}
    return {
        name: (story.here / name).stat().st_ino
        for name, content in wanted.items()
        if (story.here / name).read_text() == content
    }


def torn(story: Story) -> list[str]:
    """The files that are neither as they were nor as they are to be, and what lies beside."""
    allowed = {
        "conf": {"old\n", "new\n"},
        "hosts": {"localhost\n", "localhost\nweb\n"},
    }
    return [
        name
        for name, contents in allowed.items()
        if (story.here / name).read_text() not in contents
    ]


@pytest.mark.parametrize("at", ["commit", "write"])
def test_a_run_killed_at_any_step_is_finished_by_the_next(
    at: str, tmp_path: Path, zygote: Zygote
) -> None:
    for step in itertools.count(1):
        story = a_site(tmp_path / str(step), zygote)
        if story.run(kill={"at": at, "step": step}).code == 0:
            break
        assert integrity(story) == "ok"
        assert torn(story) == []
        already = in_place(story)
        done = story.run()
        assert (done.code, done.err) == (0, ""), (step, done.out)
        assert set(in_place(story)) == {"conf", "hosts"}
        assert {n: i for n, i in in_place(story).items() if n in already} == already
        assert story.lines("restarts")
        assert story.lines("made") == ["made"]
        assert sorted(p.name for p in story.here.iterdir()) == [
            "conf",
            "hosts",
            "made",
            "restarts",
        ]
        if step % 4 == 0:
            assert story.run().counts == {"unchanged": 4, "skipped": 1}
            assert {row["state"] for row in story.resources()} == {"applied"}
    assert step > 8, "the matrix is too small to be true"


def started(story: Story, lua: str) -> Done:
    """Starts a workflow, kills it when it has made ``reached`` and returns what it had told."""
    story.write(lua)
    running = story.start("--json", "--yes", "run", str(story.file))
    story.wait_for("reached")
    return running.kill()


def test_the_next_run_tells_what_it_found(story: Story) -> None:
    lua = """
        file_ops.content({path = HERE .. "/conf", content = "x"})
        exec.run("touch " .. HERE .. "/reached; sleep 0.2; echo done >>" .. HERE .. "/log")
    """
    assert started(story, lua).code == -9
    done = story.run(None, "--wait", "10s")
    [found] = done.of("resource.recovered")
    assert (found["outcome"], found["level"]) == ("in doubt", "warn")
    assert " ".join(found["command"]).startswith(f"touch {story.here}")
    assert found["loc"].startswith("web.lua:") or found["loc"].startswith(str(story.file))
    assert story.lines("log") == ["done", "done"], "it was left to end, and then run again"
    assert story.run().of("resource.recovered") == []


def test_a_guarded_command_that_had_been_done_is_not_done_again(story: Story) -> None:
    lua = """
        exec.run({cmd = "echo >>" .. HERE .. "/made; touch " .. HERE .. "/reached; sleep 0.2",
                  creates = HERE .. "/made"})
    """
    started(story, lua)
    done = story.run(None, "--wait", "10s")
    assert [e["outcome"] for e in done.of("resource.recovered")] == ["not done"]
    assert done.counts == {"skipped": 1}
    assert len(story.lines("made")) == 1


def test_children_of_a_killed_run_are_named_and_nothing_is_begun(story: Story) -> None:
    lua = """
        exec.run("echo $$ >" .. HERE .. "/reached; sleep 30")
        file_ops.content({path = HERE .. "/conf", content = "x"})
    """
    started(story, lua)
    child = int((story.here / "reached").read_text())
    try:
        done = story.run()
        assert done.code == 5
        [told] = done.of("diagnostic")
        assert str(child) in told["detail"]
        assert "--wait" in told["hint"]
        os.kill(child, 0)  # nobody ended it
        assert not (story.here / "conf").exists()
    finally:
        os.killpg(child, 9)
    assert story.run(lua.replace("; sleep 30", "")).code == 0


def test_children_of_a_killed_run_are_waited_for(story: Story) -> None:
    started(story, 'exec.run("touch " .. HERE .. "/reached; sleep 1; touch " .. HERE .. "/end")')
    began = time.monotonic()
    done = story.run('file_ops.content({path = HERE .. "/conf", content = "x"})', "--wait", "20s")
    assert done.code == 0
    assert (story.here / "end").exists()
    assert time.monotonic() - began < 15
    assert "killed" in done.of("lock.wait")[0]["msg"]


def test_a_killed_run_holds_nothing_and_is_in_the_history(story: Story) -> None:
    started(story, 'exec.run("touch " .. HERE .. "/reached; sleep 0.1")')
    done = story.run('print("hello")\nexec.run("true")', "--wait", "10s")
    assert done.code == 0
    runs = story.sloth("--json", "stack", "history", "web").json
    assert [(run["run"], run["result"]) for run in runs] == [(2, "ok"), (1, "killed")]
    [stack] = story.sloth("--json", "stack", "list").json
    assert stack["status"] == "applied"


def test_a_kill_while_a_large_file_is_written_leaves_the_old_one(story: Story) -> None:
    (story.here / "big").write_text("old\n")
    lua = 'file_ops.content({path = HERE .. "/big", content = string.rep("x", 8000000)})'
    story.write(lua)
    for pause in (0.02, 0.04, 0.06, 0.08, 0.1, 0.12):
        running = story.start("--json", "--yes", "run", str(story.file))
        time.sleep(pause)
        running.kill()
        size = (story.here / "big").stat().st_size
        assert size in (4, 8_000_000)
    assert story.run(None).code == 0
    assert sorted(p.name for p in story.here.iterdir()) == ["big"]


def test_a_drift_check_after_a_kill_settles_what_was_in_doubt(
    tmp_path: Path, zygote: Zygote
) -> None:
    for step in itertools.count(1):
        story = a_site(tmp_path / str(step), zygote)
        first = 'file_ops.content({path = HERE .. "/conf", content = "first"})'
        assert story.run(first).code == 0
        story.write(first.replace("first", "second"))
        ended = story.run(kill={"at": "commit", "step": step}).code == 0
        told = story.sloth("stack", "drift", "web", "--json")
        assert (told.json["drifted"], told.json["missing"]) == ([], []), (step, told)
        content = (story.here / "conf").read_text()
        assert story.sloth("stack", "drift", "web", "--fix", "--yes").code == 0
        assert (story.here / "conf").read_text() == content
        if ended:
            break
    assert step > 5


def test_the_history_of_a_killed_run_says_what_it_did_and_when(story: Story) -> None:
    story.write("""
        file_ops.content({path = HERE .. "/a", content = "x"})
        exec.run("sleep 0.5")
    """)
    running = story.start("run", str(story.file), "--yes", "--json")
    while not (story.here / "a").exists():
        time.sleep(0.02)
    time.sleep(0.2)
    running.kill()
    time.sleep(1.2)
    assert story.run().code == 0
    killed = story.sloth("--json", "stack", "history", "web").json[-1]
    assert (killed["result"], killed["counts"]) == ("killed", {"created": 1})
    spent = datetime.fromisoformat(killed["finished_at"]) - datetime.fromisoformat(
        killed["started_at"]
    )
    assert spent.total_seconds() < 1
    shown = story.sloth("stack", "history", "web", "2").out
    assert (
        " recovered: local/command:sleep 0.5 was interrupted in an earlier run: in doubt" in shown
    )
