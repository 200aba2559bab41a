"""Promise 4: a change is not forgotten, whatever happens between it and what follows from it."""

import json

import pytest

from stories.story import Done, Story

WEB = """
task({name = "configure", run = function()
    local result = file_ops.content({path = HERE .. "/conf", content = "one\\n"})
    print("answer", result.changed, result.status, result.carried)
    if file_ops.exists(HERE .. "/trouble") then error("no restart today") end
    if result.changed then exec.run("echo restart >>" .. HERE .. "/restarts") end
end})
"""


def answers(done: Done) -> list[str]:
    """What the workflow was answered, in order."""
    return [event["text"].replace("\t", " ") for event in done.of("log")]


def trouble(story: Story, there: bool) -> None:
    if there:
        (story.here / "trouble").touch()
    else:
        (story.here / "trouble").unlink()


def test_a_change_is_answered_again_until_the_restart_has_happened(story: Story) -> None:
    trouble(story, True)
    first = story.run(WEB)
    assert (answers(first), first.code) == (["answer true created false"], 1)
    assert story.run().code == 1
    trouble(story, False)
    done = story.run()
    assert answers(done) == ["answer true created true"]
    assert done.counts == {"carried": 1, "ran": 1}
    assert story.lines("restarts") == ["restart"]
    again = story.run()
    assert answers(again) == ["answer false unchanged false"]
    assert again.counts == {"unchanged": 1}
    assert story.lines("restarts") == ["restart"]


def test_the_original_diff_is_told_again(story: Story) -> None:
    (story.here / "conf").write_text("zero\n")
    trouble(story, True)
    first = story.run(WEB)
    trouble(story, False)
    again = story.run()
    [told] = [e for e in first.of("resource.end") if e["res"].startswith("file:")]
    [carried] = [e for e in again.of("resource.end") if e["res"].startswith("file:")]
    assert carried["outcome"] == "carried"
    assert carried["carried"] is True
    assert [(c["path"], c["old"], c["new"]) for c in carried["changes"]] == [
        (c["path"], c["old"], c["new"]) for c in told["changes"]
    ]


def test_retries_of_one_run_are_owed_it_too(story: Story) -> None:
    done = story.run("""
        task({name = "configure", retries = 2, run = function(ctx)
            local result = file_ops.content({path = HERE .. "/conf", content = "one\\n"})
            print("answer", result.changed, result.carried)
            if ctx.attempt < 3 then error("not yet") end
        end})
    """)
    assert answers(done) == ["answer true false", "answer true true", "answer true true"]
    assert (done.summary["exit"], done.counts) == (0, {"created": 1, "carried": 2})


def test_every_dependent_has_to_succeed_first(story: Story) -> None:
    lua = (
        WEB.replace("no restart today", "never")
        + """
        task({name = "between", depends_on = {"configure"}, run = function() end})
        task({name = "check", depends_on = {"between"}, run = function()
            if file_ops.exists(HERE .. "/down") then error("it does not answer") end
        end})
    """
    )
    (story.here / "down").touch()
    story.run(lua)
    done = story.run()
    assert answers(done) == ["answer true created true"]
    assert story.lines("restarts") == ["restart", "restart"]
    (story.here / "down").unlink()
    assert answers(story.run()) == ["answer true created true"]
    assert answers(story.run()) == ["answer false unchanged false"]


def test_a_renamed_task_answers_for_the_old_one(story: Story) -> None:
    trouble(story, True)
    story.run(WEB)
    trouble(story, False)
    done = story.run(WEB.replace('"configure"', '"setup"'))
    assert answers(done) == ["answer true created true"]
    assert story.lines("restarts") == ["restart"]
    assert answers(story.run()) == ["answer false unchanged false"]


def test_an_orphan_carries_nothing(story: Story) -> None:
    trouble(story, True)
    story.run(WEB)
    trouble(story, False)
    done = story.run('task({name = "configure", run = function() end})')
    assert [e["res"] for e in done.of("resource.orphaned")] == [f"file:{story.here}/conf"]
    assert (story.here / "conf").exists()
    assert answers(story.run(WEB)) == ["answer false unchanged false"]
    assert story.lines("restarts") == []


def test_a_kill_between_the_change_and_the_restart_loses_nothing(story: Story) -> None:
    story.write("""
        local result = file_ops.content({path = HERE .. "/conf", content = "one\\n"})
        print("answer", result.changed, result.status, result.carried)
        exec.run("touch " .. HERE .. "/reached; sleep 0.1")
        goroutine.sleep(file_ops.exists(HERE .. "/go") and 0 or 60)
        if result.changed then exec.run("echo restart >>" .. HERE .. "/restarts") end
    """)
    running = story.start("--json", "--yes", "run", str(story.file))
    story.wait_for("reached")
    assert running.kill().code == -9
    (story.here / "go").touch()
    done = story.run(None, "--wait", "5s")
    assert answers(done) == ["answer true created true"]
    assert story.lines("restarts") == ["restart"]


def test_a_run_that_is_stopped_owes_what_it_did_not_reach(story: Story) -> None:
    trouble(story, True)
    for _ in range(3):  # as often as it takes
        story.run(WEB)
    trouble(story, False)
    assert answers(story.run()) == ["answer true created true"]


@pytest.mark.parametrize("where", ["body", "task"])
def test_what_is_carried_is_in_the_preview_with_what_follows_it(story: Story, where: str) -> None:
    lua = WEB
    if where == "body":
        lua = WEB.replace('task({name = "configure", run = function()', "").replace("end})", "")
    trouble(story, True)
    story.run(lua)
    trouble(story, False)
    planned = story.plan()
    assert planned.counts == {"carried": 1, "ran": 1}
    assert story.run().counts == planned.counts
    assert story.plan().counts == {"unchanged": 1}


def test_a_change_that_moves_into_a_task_is_not_forgotten(story: Story) -> None:
    body = """
        local r = file_ops.content({path = HERE .. "/a", content = "x"})
        if r.changed then exec.run(HERE .. "/restart") end
    """
    assert story.run(body).code == 1  # there is nothing to restart with yet
    (story.here / "restart").write_text("#!/bin/sh\necho restarted >> ${0%/*}/log\n")
    (story.here / "restart").chmod(0o755)
    moved = f'task({{name = "t", run = function() {body} end}})'
    assert story.run(moved).counts == {"ran": 1, "carried": 1}
    assert story.lines("log") == ["restarted"]
    assert story.run(moved).counts == {"unchanged": 1}


def test_a_change_that_moves_to_another_task_is_not_forgotten(story: Story) -> None:
    task = 'task({name = "%s", run = function() %s end}) '
    made = 'local r = file_ops.content({path = HERE .. "/a", content = "x"}) print(r.changed) '
    assert story.run(task % ("one", made + 'error("broken off")') + task % ("two", "")).code == 1
    moved = task % ("one", "") + task % ("two", made)
    assert story.run(moved).counts == {"carried": 1}
    assert story.run(moved).counts == {"unchanged": 1}


def test_a_registered_file_with_content_is_compared_by_it(story: Story) -> None:
    (story.here / "a").write_text("x\n")
    lua = """
        local spec = {type = "file", name = HERE .. "/a", properties = {content = "x\\n"}}
        print((stack.register_resource(spec)))
    """
    assert story.run(lua).of("log")[0]["text"] == "created"
    assert story.run().of("log")[0]["text"] == "unchanged"
    assert json.loads(story.sloth("stack", "drift", "web", "--json").out)["drifted"] == []
    (story.here / "a").write_text("other")
    assert story.run().of("log")[0]["text"] == "changed"
