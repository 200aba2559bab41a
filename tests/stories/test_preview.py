"""Promise 6: the preview tells the truth, and cannot write."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from machines.machine import SLOTH
from stories.story import Done, Story

GUIDE = """
workflow({name = "web-server-setup", description = "as in the guide, with files"})
task({name = "install", run = function()
    local status = file_ops.directory({path = HERE .. "/nginx"})
    if not status.changed then print("already installed") else print("installed") end
end})
task({name = "configure", depends_on = {"install"}, run = function()
    local result = file_ops.content({path = HERE .. "/nginx/conf", content = "listen 80;\\n"})
    if result.changed then exec.run("echo restart >>" .. HERE .. "/restarts") end
end})
task({name = "ensure", depends_on = {"configure"}, run = function()
    stack.set_output("nginx_port", "80")
    state.set("seen", 1)
    stack.register_resource({type = "custom", name = "x", properties = {a = 1}})
end})
"""


def ends(done: Done) -> list[tuple[str, str]]:
    """What ended how: (name of the thing without its folder, outcome)."""
    return [
        (event["res"].rpartition("/")[2], event["outcome"]) for event in done.of("resource.end")
    ]


def unpredicted(done: Done) -> dict[str, str]:
    """The tasks that could not be predicted, and past what."""
    return {e["task"]: e["unpredicted"] for e in done.of("task.end") if "unpredicted" in e}


def everything(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        if not path.name.startswith("streams-") and path.parent.name[:8] != "streams-":
            stat = path.lstat()
            found[str(path)] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)
    found.pop(str(folder))
    return found


def test_a_preview_shows_what_the_run_does_and_makes_nothing(story: Story) -> None:
    story.write(GUIDE)
    before = everything(story.folder)
    planned = story.plan()
    assert everything(story.folder) == before
    assert not story.db.exists()
    assert not story.db.parent.exists()
    assert planned.counts == {"created": 3, "ran": 1}
    ran = story.run()
    assert ran.counts == planned.counts
    assert sorted(ends(ran)) == sorted(ends(planned))
    assert story.plan().counts == {"unchanged": 3}


def test_a_preview_of_a_known_stack_adds_nothing_to_its_record(story: Story) -> None:
    story.run(GUIDE)
    kept = story.kept()
    lua = GUIDE.replace("listen 80", "listen 8080").replace('"80")', '"8080")')
    assert story.plan(lua).counts == {"changed": 1, "ran": 1, "unchanged": 2}
    assert story.sloth("--json", "stack", "outputs", "web-server-setup").json
    assert (story.here / "nginx/conf").read_text() == "listen 80;\n"
    assert story.kept() == kept


def test_what_was_predicted_is_read_back(story: Story) -> None:
    lua = """
        local one = file_ops.content({path = HERE .. "/a", content = "x"})
        local two = file_ops.content({path = HERE .. "/a", content = "x"})
        print(one.status, two.status, one.changed, two.changed, file_ops.exists(HERE .. "/a"),
              file_ops.read(HERE .. "/a"))
        state.set("k", 3)
        stack.set_output("o", "out")
        print(state.get("k"), state.increment("k"), stack.get_output("o"))
        local file = io.open(HERE .. "/written", "w")
        file:write("hello")
        file:close()
        print(io.open(HERE .. "/written"):read("a"))
        os.rename(HERE .. "/written", HERE .. "/renamed")
        print(io.open(HERE .. "/written") == nil, io.open(HERE .. "/renamed"):read("a"))
        os.remove(HERE .. "/renamed")
        print(io.open(HERE .. "/renamed") == nil)
        local status = stack.register_resource({type = "custom", name = "x"})
        print(status, stack.resource_exists("custom", "x"), stack.get_resource("custom", "x").state)
    """
    expected = [
        "created unchanged true false true x",
        "3 4 out",
        "hello",
        "true hello",
        "true",
        "created true pending",
    ]
    planned = story.plan(lua, "-v")
    assert [e["text"].replace("\t", " ") for e in planned.of("log")] == expected
    assert list(story.here.iterdir()) == []
    ran = story.run()
    assert [e["text"].replace("\t", " ") for e in ran.of("log")] == expected
    assert [p.name for p in story.here.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "reading",
    [
        "local x = result.stdout .. 'x'",
        "if result.stdout == 'x' then end",
        "print(#result.stdout)",
        "print(result:match('x'))",
        "print(tostring(result))",
        "for line in result.stdout:gmatch('.') do end",
        "if result.exit_code < 3 then end",
        "pcall(function() return result.stdout .. '' end)",
    ],
)
def test_reading_an_unknown_stops_the_task_there(story: Story, reading: str) -> None:
    planned = story.plan(f"""
        task({{name = "deploy", run = function()
            local result = exec.run("date")
            if result.changed and result.success then
                file_ops.content({{path = HERE .. "/before", content = "x"}})
            end
            {reading}
            file_ops.content({{path = HERE .. "/after", content = "x"}})
        end}})
        task({{name = "next", depends_on = {{"deploy"}}, run = function()
            file_ops.content({{path = HERE .. "/next", content = "x"}})
        end}})
        task({{name = "free", run = function() end}})
    """)
    assert planned.code == 0, planned
    outcomes = {event["task"]: event["outcome"] for event in planned.of("task.end")}
    assert outcomes["deploy"] == outcomes["next"] == "unknown"
    assert "web.lua:" in unpredicted(planned)["deploy"]
    names = [name for name, _ in ends(planned)]
    assert "before" in names and "next" in names and "after" not in names
    assert planned.summary["unknown"] == 2


def test_what_may_turn_out_smaller_says_what_it_follows(story: Story) -> None:
    (story.here / "conf").write_text("x\n")
    lua = """
        exec.run("true")
        file_ops.content({path = HERE .. "/conf", content = "x\\n"})
    """
    planned = story.plan(lua)
    follows = {e["res"].rpartition("/")[2]: e.get("follows") for e in planned.of("resource.end")}
    assert follows == {"command:true": None, "conf": "local/command:true"}
    assert story.run().counts == {"ran": 1, "unchanged": 1}


def test_os_execute_and_popen_are_actions(story: Story) -> None:
    planned = story.plan("""
        os.execute("touch " .. HERE .. "/made")
        io.popen("touch " .. HERE .. "/made")
    """)
    assert list(story.here.iterdir()) == []
    assert planned.counts.get("ran", 0) >= 1


def test_a_failure_that_is_certain_is_in_the_preview(story: Story) -> None:
    (story.here / "conf").mkdir()
    planned = story.plan('file_ops.content({path = HERE .. "/conf", content = "x"})')
    assert planned.code == 1
    assert "a directory" in planned.of("diagnostic")[0]["detail"]


def test_time_and_random_numbers_are_those_of_the_plan(story: Story) -> None:
    lua = """
        math.randomseed()
        file_ops.content({path = HERE .. "/a", content = os.time() .. " " .. math.random(1e9)})
    """
    done = at_a_terminal(story, lua, "y")
    assert done.code == 0, done
    assert (story.here / "a").exists()


def at_a_terminal(story: Story, lua: str, *answers: str) -> Done:
    """Runs the workflow with a person at a terminal, who answers each question in turn."""
    story.write(lua)
    return typed(story, "run", str(story.file), answers=answers)


def typed(
    story: Story, *argv: str, answers: Sequence[str], question: str = "Apply this plan?"
) -> Done:
    """Gives a command at a terminal, and an answer each time that it asks."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [SLOTH, "--db", story.db, "--color", "never", *argv],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": str(story.folder)},
    )
    os.close(theirs)
    shown, left, deadline = b"", list(answers), time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 0.1)
        if ready:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
            if left and shown.count(question.encode()) > len(answers) - len(left):
                os.write(ours, left.pop(0).encode() + b"\n")
    code = process.wait(10)
    os.close(ours)
    return Done(code, shown.decode(errors="replace"), "")


def test_a_person_sees_the_plan_and_says_yes(story: Story) -> None:
    done = at_a_terminal(story, GUIDE, "y")
    assert done.code == 0
    assert "+ file:" in done.out
    assert story.lines("restarts") == ["restart"]


@pytest.mark.parametrize("answer", ["n", ""])
def test_a_person_says_no_and_nothing_is_changed(story: Story, answer: str) -> None:
    done = at_a_terminal(story, GUIDE, answer)
    assert done.code == 8
    assert list(story.here.iterdir()) == []


def test_what_a_task_does_when_it_fails_is_announced_and_done(story: Story) -> None:
    lua = """
        task({name = "deploy", run = function()
            file_ops.content({path = HERE .. "/a", content = "x"})
            exec.run("exit 3")
        end, on_failure = function()
            exec.run("touch " .. HERE .. "/rolled-back")
            file_ops.remove({path = HERE .. "/b"})
        end})
        task({name = "quiet", run = function() end, on_failure = function() end})
    """
    (story.here / "b").touch()
    done = at_a_terminal(story, lua, "y")
    assert " ? task deploy: its on_failure, should it fail" in done.out
    assert "task quiet: " not in done.out
    assert done.code == 1
    assert sorted(p.name for p in story.here.iterdir()) == ["a", "rolled-back"]


def test_a_stack_is_kept_when_a_person_says_so(story: Story) -> None:
    story.run('file_ops.content({path = HERE .. "/a", content = "x"})')
    done = typed(story, "stack", "delete", "web", answers=["n"], question="Delete the record?")
    assert done.code == 8
    assert done.out.endswith(" The stack was kept; nothing was changed.\r\n")
    assert "error" not in done.out
    assert [row["address"] for row in story.sloth("stack", "resources", "web", "--json").json]


def test_without_a_terminal_it_wants_yes(story: Story) -> None:
    story.write(GUIDE)
    done = story.sloth("run", str(story.file))
    assert (done.code, list(story.here.iterdir())) == (2, [])
    assert "--yes" in done.err


@pytest.mark.parametrize(("force", "code"), [(False, 1), (True, 0)])
def test_what_is_too_large_to_be_kept_is_said_before_it_is_removed(
    story: Story, *, force: bool, code: int
) -> None:
    tree = story.here / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(bytes(3000))
    (story.here / "file").write_bytes(bytes(3000))
    lua = "".join(
        f'pcall(file_ops.remove, {{path = HERE .. "/{name}", force = {str(force).lower()}}}) '
        for name in ("tree", "file")
    )
    (tree / "big").touch()
    planned = story.plan(lua, "--max-preimage", "1000")
    ran = story.run(lua, "--max-preimage", "1000")
    ends = [[event["outcome"] for event in done.of("resource.end")] for done in (planned, ran)]
    assert ends[0] == ends[1] == (["removed"] * 2 if force else ["failed"] * 2)
    if force:
        told = [event["undo"] for event in planned.of("resource.end")]
        assert all("cannot be undone" in one for one in told)
    assert tree.exists() is not force


def test_what_cannot_be_predicted_is_not_called_undeclared(story: Story) -> None:
    lua = """
        local said = exec.run("cat /etc/debian_version").stdout
        file_ops.content({path = HERE .. "/a", content = said})
    """
    assert story.run(lua).code == 0
    planned = story.plan()
    assert (planned.code, planned.summary["orphaned"]) == (0, 0)


@pytest.mark.parametrize(
    "reading",
    [
        'if r.after.mode == "0644" then exec.run("touch " .. HERE .. "/locked") end',
        'if r.after.owner ~= "root" then exec.run("touch " .. HERE .. "/open") end',
        "for name in pairs(r.after) do exec.run('touch ' .. HERE .. '/' .. name) end",
        "json.encode(r)",
    ],
)
def test_what_a_new_thing_will_be_like_is_not_guessed(story: Story, reading: str) -> None:
    lua = f'local r = file_ops.content({{path = HERE .. "/a", content = "x"}}) {reading}'
    planned = story.plan(lua)
    assert planned.code == 0
    assert planned.summary["unknown"] == 1
    ran = story.run()
    assert ran.code == 0, ran


def test_what_is_declared_of_a_new_thing_is_known(story: Story) -> None:
    lua = """
        local r = file_ops.content({path = HERE .. "/a", content = "x", mode = "0644"})
        print(r.changed, r.status, r.after.mode)
    """
    planned, ran = story.plan(lua, "-v"), story.run(lua)
    assert planned.summary["unknown"] == 0
    assert planned.of("log")[0]["text"] == ran.of("log")[0]["text"]


def test_a_workflow_that_asks_for_a_resource_sees_what_it_has_just_made(story: Story) -> None:
    lua = """
        file_ops.content({path = HERE .. "/a", content = "x"})
        if stack.resource_exists("file", HERE .. "/a")
            and stack.get_resource("file", HERE .. "/a").state == "applied" then
            exec.run("touch " .. HERE .. "/b")
        end
    """
    planned, ran = story.plan(lua), story.run(lua)
    assert planned.counts == ran.counts == {"created": 1, "ran": 1}


def test_lua_files_are_loaded_as_the_preview_has_written_them(story: Story) -> None:
    (story.folder / "old.lua").write_text("return 1")
    lua = f"""
        local folder = "{story.folder}"
        local file = io.open(folder .. "/old.lua", "w")
        file:write("return 2")
        file:close()
        file_ops.content({{path = folder .. "/made.lua", content = "return 3"}})
        exec.run("true")
        print(dofile(folder .. "/old.lua"), require("made"), require("other"))
    """
    (story.folder / "other.lua").write_text("return 4")
    planned, ran = story.plan(lua, "-v"), story.run(lua)
    assert planned.code == ran.code == 0, planned
    assert planned.of("log")[0]["text"] == ran.of("log")[0]["text"] == "2\t3\t4"


def test_the_id_of_a_stack_that_is_not_made_yet_is_unknown(story: Story) -> None:
    lua = 'exec.run("echo " .. stack.get_id() .. " > " .. HERE .. "/id")'
    assert story.plan(lua).summary["unknown"] == 1
    assert story.run(lua).code == 0
    assert story.plan(lua).summary["unknown"] == 0


def test_what_is_filled_when_it_is_read_crosses_as_data(story: Story) -> None:
    lua = """
        print(json.encode({f = facts}) == json.encode({f = json.decode(json.encode(facts))}))
        local name = template.render("{{ f.hostname }}", {f = facts})
        print(name == facts.hostname, next(facts) ~= nil)
        task({name = "a", run = function() return {x = 1} end})
        task({name = "b", depends_on = {"a"}, run = function(ctx)
            print(json.encode(ctx.results))
            stack.set_output("r", ctx.results)
        end})
    """
    assert [event["text"] for event in story.run(lua).of("log")] == [
        "true",
        "true\ttrue",
        '{"a":{"x":1}}',
    ]
    assert story.sloth("stack", "outputs", "web", "r").out == '{"a":{"x":1}}\n'


def test_a_copy_that_has_no_folder_to_be_in_is_refused_by_the_plan(story: Story) -> None:
    (story.here / "page").write_text("page")
    copy = 'file_ops.fetch({src = HERE .. "/page", dest = HERE .. "/no/copy"})'
    planned, ran = story.plan(copy), story.run()
    assert planned.counts == ran.counts == {"failed": 1}
    made = f'file_ops.directory(HERE .. "/no")\n{copy}'
    assert story.plan(made).counts == story.run().counts == {"created": 2}


def test_a_copy_that_the_workflow_has_removed_is_fetched_again(story: Story) -> None:
    (story.here / "page").write_text("page")
    copy = 'file_ops.fetch({src = HERE .. "/page", dest = HERE .. "/copy"})'
    assert story.run(copy).counts == {"created": 1}
    lua = f'os.remove(HERE .. "/copy")\n{copy}'
    assert story.plan(lua).of("resource.end")[0]["follows"] == f"local/io:{story.here}/copy"
    assert story.run().counts == {"created": 1}
    assert story.lines("copy") == ["page"]
