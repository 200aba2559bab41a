"""What a workflow writes itself: files with io and os, keys, marks of registrations, outputs."""

import json
import tarfile
from pathlib import Path

import pytest

from stories.story import Done, Story

Write = tuple[str, str, str]

EVERYTHING = """
    local function put(name, mode, text)
        local file = assert(io.open(HERE .. "/" .. name, mode))
        file:write(text)
        file:close()
    end
    task({name = "files", run = function()
        put("new", "w", "x")
        put("old", "a", "more")
        local file = io.open(HERE .. "/edited", "r+")
        file:seek("set", 2)
        file:write("X")
        file:close()
        os.remove(HERE .. "/gone")
        os.rename(HERE .. "/from", HERE .. "/to")
        put("draft", "w", "whole")
        os.rename(HERE .. "/draft", HERE .. "/replaced")
        io.output(HERE .. "/default")
        io.write("by default")
        io.close()
    end})
    task({name = "keys", depends_on = {"files"}, run = function()
        state.set("set", {1, 2})
        state.set("changed", "other")
        state.delete("deleted")
        state.increment("counted", 2)
        state.compare_swap("swapped", "from", "to")
        stack.state.set("own", true)
        stack.set_output("out", 1)
        stack.update_resource("custom", "known", {state = "failed", error = "worn out"})
        stack.delete_resource("custom", "left")
    end})
"""

BEFORE = """
    state.set("changed", "value")
    state.set("deleted", "value")
    state.set("swapped", "from")
    stack.register_resource({type = "custom", name = "known"})
    stack.register_resource({type = "custom", name = "left"})
    print(stack.get_id())
"""

SAME = """
    local file = io.open(HERE .. "/old", "w")
    file:write("old")
    file:close()
    io.open(HERE .. "/edited", "a"):close()
    os.remove(HERE .. "/nowhere")
    local name = os.tmpname()
    io.open(name, "w"):write("scratch")
    os.remove(name)
    io.open("/dev/null", "w"):write("nothing")
    state.set("changed", "value")
    state.delete("nothing")
    state.compare_swap("swapped", "else", "to")
    stack.register_resource({type = "custom", name = "known"})
    stack.update_resource("custom", "known", {state = "applied"})
    stack.resource_exists("custom", "left")
"""


def writes(done: Done, here: Path) -> set[Write]:
    """What was told as written: kind, name without its folder, outcome."""
    return {
        (event["kind"], event["name"].replace(f"{here}/", ""), event["outcome"])
        for event in done.of("program.wrote")
    }


@pytest.fixture
def site(story: Story) -> Story:
    story.run(BEFORE)
    for name in ("old", "edited", "gone", "from", "replaced"):
        (story.here / name).write_text(name)
    return story


def test_a_plan_lists_what_the_run_then_writes(site: Story) -> None:
    listed = {
        ("file", "new", "created"),
        ("file", "old", "changed"),
        ("file", "edited", "changed"),
        ("file", "gone", "removed"),
        ("file", "from", "removed"),
        ("file", "to", "created"),
        ("file", "replaced", "changed"),
        ("file", "default", "created"),
        ("key", "set", "created"),
        ("key", "changed", "changed"),
        ("key", "deleted", "removed"),
        ("key", "counted", "created"),
        ("key", "swapped", "changed"),
        ("stack_key", "own", "created"),
        ("registration", "local/custom:known", "changed"),
        ("registration", "local/custom:left", "removed"),
    }
    kept, files = site.kept(), sorted(site.here.iterdir())
    planned = site.plan(EVERYTHING)
    assert (site.kept(), sorted(site.here.iterdir())) == (kept, files)
    assert writes(planned, site.here) == listed
    assert all(event["planned"] for event in planned.of("program.wrote"))
    assert planned.summary["written"] == len(listed) + 1
    ran = site.run()
    assert writes(ran, site.here) == listed
    assert ran.summary["written"] == len(listed) + 1
    found = {p.name: p.read_text() for p in site.here.iterdir()}
    assert found == {
        "new": "x",
        "old": "oldmore",
        "edited": "edXted",
        "to": "from",
        "replaced": "whole",
        "default": "by default",
    }


def test_what_is_written_again_is_told_by_what_has_come_of_it(site: Story) -> None:
    lua = """
        state.increment("new")
        state.increment("new")
        state.set("changed", "other")
        state.set("changed", "another")
        state.set("deleted", "other")
        state.delete("deleted")
    """
    shown = ("+ key new", "~ key changed", "- key deleted")
    site.write(lua)
    planned = site.sloth("plan", str(site.file))
    ran = site.sloth("run", str(site.file), "--yes")
    kept = site.sloth("stack", "history", "web", "2")
    for done in (planned, ran, kept):
        assert all(f"   {line}  web.lua:" in done.out for line in shown), done.out


def test_what_comes_out_the_same_is_not_listed(site: Story) -> None:
    for done in (site.plan(SAME), site.run()):
        assert writes(done, site.here) == set()
        assert done.summary["written"] == 0
    site.file.write_text(site.file.read_text())
    said = site.sloth("run", str(site.file), "--yes", "-q")
    assert (said.code, said.out) == (0, "")


def test_each_write_says_where_it_is_made(site: Story) -> None:
    planned = site.plan('\n\nstate.set("a", 1)\nio.open(HERE .. "/b", "w"):close()')
    assert [event["loc"].rpartition("/")[2] for event in planned.of("program.wrote")] == [
        "web.lua:3",
        "web.lua:4",
    ]


@pytest.mark.parametrize(
    "write",
    [
        'state.set("a", 1)',
        'stack.state.increment("a")',
        'io.open(HERE .. "/a", "w"):close()',
        'os.remove(HERE .. "/old")',
        'stack.set_output("a", 1)',
        'stack.delete_resource("custom", "left")',
    ],
)
def test_a_write_alone_is_something_to_do(site: Story, write: str) -> None:
    site.write(write)
    planned = site.sloth("plan", str(site.file), "--detailed-exitcode")
    assert planned.code == 3
    assert " Plan: * 1 to write\n" in planned.out
    ran = site.sloth("run", str(site.file), "--yes", "--detailed-exitcode")
    assert ran.code == 3
    assert "   * 1 written\n" in ran.out
    assert "othing to do" not in planned.out + ran.out


def test_what_is_written_and_put_back_is_kept_and_is_nothing_to_do(site: Story) -> None:
    lua = """
        state.set("lock", 1)
        state.set("lock", 2)
        stack.update_resource("custom", "known", {state = "failed", error = "broken"})
        io.open(HERE .. "/scratch", "w"):write("x"):close()
        os.remove(HERE .. "/scratch")
        stack.update_resource("custom", "known", {state = "applied"})
        state.delete("lock")
    """
    planned = site.plan(lua)
    assert (writes(planned, site.here), planned.summary["written"]) == (set(), 0)
    ran = site.run()
    told = [(event["kind"], event["outcome"]) for event in ran.of("program.wrote")]
    assert told == [
        ("key", "created"),
        ("key", "created"),
        ("registration", "changed"),
        ("registration", "unchanged"),
        ("key", "unchanged"),
    ]
    assert ran.summary["written"] == 0
    again = site.sloth("run", str(site.file), "--yes")
    assert "Nothing to do" in again.out
    assert "Written by" not in again.out


def test_the_history_keeps_what_was_written_but_no_value(story: Story) -> None:
    secret = "s3cr3t-of-nobody"
    ran = story.run(f"""
        state.set("token", "{secret}")
        io.open(HERE .. "/a", "w"):write("{secret}"):close()
    """)
    shown = story.sloth("stack", "history", "web", "1")
    assert f" + file {story.here}/a" in shown.out
    assert " + key token" in shown.out
    events = json.dumps(story.sloth("--json", "stack", "history", "web", "1").json)
    assert "program.wrote" in events
    for text in (ran.out, ran.err, shown.out, events):
        assert secret not in text


# What resources and a program do to the same files.


def test_a_file_that_the_workflow_removed_is_made_again(story: Story) -> None:
    lua = """
        os.remove(HERE .. "/a")
        file_ops.content({path = HERE .. "/a", content = "x"})
    """
    for follows in (None, f"local/io:{story.here}/a"):
        [end] = story.plan(lua).of("resource.end")
        assert end.get("follows") == follows
        assert story.run(lua).counts == {"created": 1}
        assert (story.here / "a").read_text() == "x"


def test_a_file_is_made_from_what_the_workflow_wrote(story: Story) -> None:
    lua = """
        io.open(HERE .. "/source", "wb"):write("a\\0\\xff {{ 1 + 1 }}"):close()
        file_ops.copy({src = HERE .. "/source", dest = HERE .. "/copy"})
        io.open(HERE .. "/source.j2", "w"):write("a {{ 1 + 1 }}"):close()
        file_ops.template({src = HERE .. "/source.j2", dest = HERE .. "/rendered"})
        file_ops.content({path = HERE .. "/base", content = "base"})
        file_ops.copy({src = HERE .. "/base", dest = HERE .. "/twice"})
        print(file_ops.read(HERE .. "/source.j2"), file_ops.exists(HERE .. "/source"))
        os.remove(HERE .. "/source")
        print(file_ops.exists(HERE .. "/source"))
    """
    planned = story.plan(lua, "-v")
    assert planned.code == 0, planned
    assert list(story.here.iterdir()) == []
    ran = story.run()
    said = [[event["text"] for event in done.of("log")] for done in (planned, ran)]
    assert said == [["a {{ 1 + 1 }}\ttrue", "false"]] * 2
    ends = [
        {e["res"]: (e["outcome"], e["changes"][0]["new"]) for e in done.of("resource.end")}
        for done in (planned, ran)
    ]
    assert ends[0] == ends[1]
    assert (story.here / "copy").read_bytes() == b"a\0\xff {{ 1 + 1 }}"
    assert (story.here / "rendered").read_text() == "a 2"
    assert (story.here / "twice").read_text() == "base"


def test_a_workflow_reads_what_resources_would_have_made(story: Story) -> None:
    lua = """
        file_ops.directory({path = HERE .. "/folder"})
        io.open(HERE .. "/folder/own", "w"):write("in it"):close()
        file_ops.content({path = HERE .. "/folder/conf", content = "one\\ntwo\\n"})
        for line in io.lines(HERE .. "/folder/conf") do print(line) end
        local file = io.open(HERE .. "/folder/conf", "a")
        file:write("three\\n")
        file:close()
        print(io.open(HERE .. "/folder/conf"):read("a"))
        file_ops.remove({path = HERE .. "/old"})
        print(io.open(HERE .. "/old"))
    """
    (story.here / "old").write_text("old")
    planned = story.plan(lua, "-v")
    assert planned.code == 0, planned
    ran = story.run()
    said = [[event["text"] for event in done.of("log")] for done in (planned, ran)]
    gone = f"nil\t{story.here}/old: No such file or directory\t2"
    assert said == [["one", "two", "one\ntwo\nthree\n", gone]] * 2
    assert (story.here / "folder/conf").read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    "reading",
    [
        'print(io.open(HERE .. "/a"):read("a"))',
        'for line in io.lines(HERE .. "/a") do end',
        'io.open(HERE .. "/a", "r+")',
        'os.rename(HERE .. "/a", HERE .. "/b")',
        'local f = io.open(HERE .. "/a", "a+") f:seek("set") print(f:read("a"))',
        'local f = io.open(HERE .. "/a", "a") f:close() os.rename(HERE .. "/a", HERE .. "/b")',
        'local f = io.open(HERE .. "/a", "a") f:close() print(file_ops.read(HERE .. "/a"))',
        'file_ops.copy({src = HERE .. "/made", dest = HERE .. "/b"})',
        'os.remove(HERE .. "/folder")',
        'os.rename(HERE .. "/folder", HERE .. "/other")',
    ],
)
def test_what_an_action_may_have_left_is_not_guessed(story: Story, reading: str) -> None:
    (story.here / "a").write_text("as before")
    (story.here / "folder").mkdir()
    planned = story.plan(f'exec.run("true") {reading} state.set("after", 1)')
    [end] = planned.of("task.end")
    assert end["outcome"] == "unknown"
    assert "web.lua:1 (" in end["unpredicted"]
    assert ("key", "after", "created") not in writes(planned, story.here)


def test_a_file_can_be_written_whatever_an_action_left_there(story: Story) -> None:
    lua = """
        exec.run("mkdir -p " .. HERE .. "/folder && echo 1 > " .. HERE .. "/log")
        io.open(HERE .. "/folder/own", "w"):write("x"):close()
        io.open(HERE .. "/log", "a"):write("2\\n"):close()
    """
    listed = {("file", "folder/own", "created"), ("file", "log", "created")}
    assert writes(story.plan(lua), story.here) == listed
    ran = story.run(lua)
    assert ran.code == 0, ran
    assert (story.here / "log").read_text() == "1\n2\n"


# Files that a workflow does not close.


def test_what_was_not_closed_is_written_when_the_task_ends(story: Story) -> None:
    lua = """
        FILE = io.open(HERE .. "/a", "w")
        FILE:write("kept open")
        task({name = "next", run = function()
            print(io.open(HERE .. "/a"):read("a"))
            FILE:write(", and more")
        end})
    """
    ran = story.run(lua)
    assert [event["text"] for event in ran.of("log")] == ["kept open"]
    assert writes(ran, story.here) == {("file", "a", "created")}
    assert (story.here / "a").read_text() == "kept open, and more"


def test_what_a_stopped_task_did_not_close_is_written_too(story: Story) -> None:
    lua = """
        task({name = "slow", timeout = "300ms", run = function()
            local file = io.open(HERE .. "/a", "w")
            file:write("a part")
            while true do end
        end})
    """
    assert story.run(lua).code != 0
    assert (story.here / "a").read_text() == "a part"


def test_a_file_that_cannot_take_it_all_fails_its_task(story: Story) -> None:
    ran = story.run('local f = io.open("/dev/full", "w") f:write("x")')
    assert ran.code == 1
    [told] = ran.of("diagnostic")
    assert "/dev/full cannot be written: No space left on device" in told["detail"]


# Where no call can be made.


def test_a_file_written_from_a_callback_of_c_is_told(story: Story) -> None:
    lua = """
        ("x"):gsub("x", function() io.open(HERE .. "/a", "w"):close() end)
        local path = HERE .. "/a"
        local text = ("x"):gsub("x", function() return io.open(path):read("a") end)
    """
    for done in (story.plan(lua), story.run(lua)):
        assert done.code == 0, done
        assert {name for _, name, _ in writes(done, story.here)} == {"a"}


def test_a_guard_removes_its_file_when_its_task_is_stopped(story: Story) -> None:
    lua = """
        task({name = "slow", timeout = "300ms", run = function()
            local path = HERE .. "/lock"
            io.open(path, "w"):close()
            local guard <close> = setmetatable({}, {__close = function() os.remove(path) end})
            goroutine.sleep(60)
        end})
    """
    assert story.run(lua).code != 0
    assert list(story.here.iterdir()) == []


def test_a_type_of_the_workflow_writes_only_where_it_changes(story: Story) -> None:
    lua = """
        local note = resource.define({
            type = "note",
            observe = function(name)
                local file = io.open(HERE .. "/" .. name)
                return file and {text = file:read("a")} or nil
            end,
            create = function(name, properties)
                io.open(HERE .. "/" .. name, "w"):write(properties.text):close()
            end,
        })
        note({name = "a", text = "x"})
    """
    planned = story.plan(lua)
    assert (planned.counts, writes(planned, story.here)) == ({"created": 1}, set())
    ran = story.run()
    assert (ran.counts, writes(ran, story.here)) == ({"created": 1}, set())
    assert story.run().counts == {"unchanged": 1}
    wrong = lua.replace('io.open(HERE .. "/" .. name)', 'io.open(HERE .. "/" .. name, "w")')
    refused = story.run(wrong)
    assert refused.code == 1
    assert "io.open cannot be called by a function that observes note" in refused.out


# What a preview must not guess, and must not allow.


def same_in_plan_and_run(story: Story, lua: str) -> None:
    planned = story.plan(lua)
    ran = story.run(lua)
    ends = [
        sorted((e["res"].rpartition("/")[2], e["outcome"]) for e in done.of("resource.end"))
        for done in (planned, ran)
    ]
    assert ends[0] == ends[1]
    assert (planned.code == 0) is (ran.code == 0)
    assert writes(planned, story.here) == writes(ran, story.here)


@pytest.mark.parametrize(
    "lua",
    [
        'file_ops.copy({src = HERE .. "/link", dest = HERE .. "/b"})',
        'os.remove(HERE .. "/a") file_ops.copy({src = HERE .. "/a", dest = HERE .. "/b"})',
        'file_ops.remove(HERE .. "/a") file_ops.copy({src = HERE .. "/a", dest = HERE .. "/b"})',
        'file_ops.content({path = HERE .. "/no/x", content = "x"})',
        'file_ops.symlink({path = HERE .. "/no/x", target = "x"})',
        'file_ops.lineinfile({path = HERE .. "/no/x", line = "x", create = true})',
        'file_ops.content({path = HERE .. "/a/x", content = "x"})',
        'file_ops.content({path = HERE .. "/new", content = "y"}) '
        'file_ops.content({path = HERE .. "/new/x", content = "x"})',
        'io.open(HERE .. "/new", "w"):close() '
        'file_ops.content({path = HERE .. "/new/x", content = "x"})',
        'file_ops.remove({path = HERE .. "/folder", force = true}) '
        'file_ops.content({path = HERE .. "/folder/x", content = "x"})',
        'os.remove(HERE .. "/dangling")',
        'file_ops.content({path = HERE .. "/new", content = "y"}) os.remove(HERE .. "/new")',
        'file_ops.content({path = HERE .. "/a", content = "y"}) '
        'io.open(HERE .. "/a", "w"):write("a"):close()',
        'local t = os.tmpname() io.open(t, "w"):write("x"):close() state.set("a", 1) os.remove(t)',
    ],
)
def test_a_plan_is_what_the_run_does(story: Story, lua: str) -> None:
    (story.here / "a").write_text("a")
    (story.here / "link").symlink_to("a")
    (story.here / "dangling").symlink_to("nowhere")
    (story.here / "folder").mkdir()
    same_in_plan_and_run(story, lua)


@pytest.mark.parametrize(
    ("lua", "own"),
    [
        ('os.rename(A, B) file_ops.content({path = A, content = "new"})', {"a": "removed"}),
        ('os.rename(A, B) exec.run({argv = {"cp", B, A}})', {"a": "removed"}),
        ('os.rename(A, B) file_ops.symlink({path = A, target = "b"})', {"a": "removed"}),
        ("os.rename(A, B) file_ops.remove(B)", {"a": "removed"}),
        (
            'os.rename(A, B) file_ops.content({path = A, content = "x"}) os.remove(A)',
            {"a": "removed"},
        ),
        (
            'os.rename(A, B) file_ops.content({path = A, content = "x"}) '
            'io.open(A, "w"):write("y"):close()',
            {"a": "changed"},
        ),
        (
            'os.rename(A, B) file_ops.content({path = A, content = "one"}) '
            'exec.run({argv = {"cp", B, A}})',
            {"a": "removed"},
        ),
        (
            'local f = io.open(A, "a") exec.run("true") f:write("more") f:close() os.rename(A, B) '
            "os.rename(B, A) file_ops.directory(B)",
            {"a": "changed", "b": None},
        ),
    ],
)
def test_what_others_make_where_the_workflow_wrote_is_not_told_as_its_own(
    story: Story, lua: str, own: dict[str, str | None]
) -> None:
    (story.here / "a").write_text("a")
    lua = f'local A, B = HERE .. "/a", HERE .. "/b" {lua}'
    told = {("file", n, o) for n, o in ({"b": "created"} | own).items() if o}
    assert writes(story.plan(lua), story.here) == told
    ran = story.run()
    assert (ran.code, writes(ran, story.here)) == (0, told)
    assert ran.summary["written"] == len(told)


@pytest.mark.parametrize(
    "change",
    [
        'file_ops.lineinfile({path = HERE .. "/a", line = "x"})',
        'file_ops.replace({path = HERE .. "/a", regexp = "a", replace = "b"})',
    ],
)
@pytest.mark.parametrize("how", ["copy", "template"])
def test_what_is_made_from_an_edited_file_is_not_predicted(
    story: Story, change: str, how: str
) -> None:
    (story.here / "a").write_text("a\n")
    planned = story.plan(f'{change} file_ops.{how}({{src = HERE .. "/a", dest = HERE .. "/b"}})')
    [end] = planned.of("task.end")
    assert end["outcome"] == "unknown"


def test_a_type_of_the_workflow_may_depend_on_any_file(story: Story) -> None:
    lua = """
        local thing = resource.define({
            type = "thing",
            observe = function(name)
                local text = file_ops.read(HERE .. "/" .. name)
                return text and {text = text}
            end,
            create = function(name, properties)
                file_ops.content({path = HERE .. "/" .. name, content = properties.text})
            end,
        })
        file_ops.content({path = HERE .. "/a", content = "other"})
        thing({name = "a", text = "x"})
    """
    (story.here / "a").write_text("x")
    [_, end] = story.plan(lua).of("resource.end")
    assert (end["res"], end["outcome"]) == ("thing:a", "changed")
    assert end["follows"] == f"local/file:{story.here}/a"


def test_another_attempt_carries_what_the_first_one_made(story: Story) -> None:
    lua = """
        task({name = "t", retries = 1, run = function(ctx)
            local file = file_ops.content({path = HERE .. "/a", content = "x"})
            if ctx.attempt == 1 then error("not yet") end
            if file.changed then exec.run("true") end
        end})
    """
    counts = {"created": 1, "ran": 1, "carried": 1}
    assert story.plan(lua).counts == story.run(lua).counts == counts


def test_no_way_leads_to_the_files_of_lua_itself(story: Story) -> None:
    lua = """
        for _, io in ipairs({require("io"), package.loaded.io, _G.io}) do
            io.open(HERE .. "/written", "w"):write("x"):close()
            io.stdout:write("said\\n")
        end
    """
    planned = story.plan(lua, "-v")
    assert list(story.here.iterdir()) == []
    assert [event["text"] for event in planned.of("log")] == ["said"] * 3


def test_what_a_command_reads_from_popen_is_written_to_it(story: Story) -> None:
    ran = story.run("""
        local pipe = io.popen("cat >" .. HERE .. "/a", "w")
        pipe:write("through a pipe")
        print(pipe:close())
    """)
    assert [event["text"] for event in ran.of("log")] == ["true\texit\t0"]
    assert (story.here / "a").read_text() == "through a pipe"


def test_an_output_that_ends_as_it_was_is_nothing_to_do(story: Story) -> None:
    lua = 'stack.set_output("a", 1) stack.set_output("a", 2)'
    assert story.run(lua).summary["written"] == 1
    assert story.run(lua).summary["written"] == 0
    assert story.sloth("run", str(story.file), "--yes", "-q").out == ""


def test_a_registered_file_that_is_lost_is_noticed(story: Story) -> None:
    lua = """
        print((stack.register_resource({type = "file", name = HERE .. "/a", properties = {}})))
    """
    (story.here / "a").write_text("x")
    said = []
    for _ in range(3):
        said += [event["text"] for event in story.run(lua).of("log")]
        (story.here / "a").unlink(missing_ok=True)
    assert said == ["created", "changed", "changed"]


def test_a_registration_that_is_made_again_is_kept(story: Story) -> None:
    lua = """
        local spec = {type = "custom", name = "a", properties = {a = 1}}
        stack.register_resource(spec)
        stack.delete_resource("custom", "a")
        print((stack.register_resource(spec)))
    """
    assert [event["text"] for event in story.run(lua).of("log")] == ["created"]
    assert len(story.sloth("stack", "resources", "web", "--json").json) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            'io.open(HERE .. "/link/f", "w"):write("other"):close()',
            'file_ops.content({path = HERE .. "/real/f", content = "fixed"})',
        ),
        (
            'io.open(HERE .. "/real/f", "w"):write("other"):close()',
            'file_ops.content({path = HERE .. "/link/f", content = "fixed"})',
        ),
        (
            'io.open(HERE .. "/real/f", "w"):write("other"):close()',
            'file_ops.content({path = HERE .. "/last", content = "fixed", follow = true})',
        ),
    ],
)
def test_two_names_of_one_file_are_one_file(story: Story, first: str, second: str) -> None:
    (story.here / "real").mkdir()
    (story.here / "link").symlink_to("real")
    (story.here / "real/f").write_text("at first\n")
    (story.here / "last").symlink_to("real/f")
    for _ in range(3):
        planned = story.plan(f"{first} {second}")
        ran = story.run()
        assert (planned.code, ran.code) == (0, 0), (planned, ran)
        assert "fixed" in (story.here / "real/f").read_text()
        assert planned.of("resource.end")[-1]["outcome"] in ("changed", "created")


@pytest.mark.parametrize("name", ["f", "last"])
def test_what_may_still_be_written_is_looked_at_again(story: Story, name: str) -> None:
    (story.here / "f").write_text("at first")
    (story.here / "last").symlink_to("f")
    declared = 'file_ops.content({path = HERE .. "/f", content = "fixed"})'
    story.run(declared)
    ran = story.run(f"""
        local file = io.open(HERE .. "/{name}", "a")
        {declared}
        file:write("more")
        file:flush()
        {declared}
    """)
    assert ran.code == 0, ran
    assert (story.here / "f").read_text() == "fixed"


def test_a_large_file_is_moved_and_appended_to_without_being_read(story: Story) -> None:
    for name in ("log", "other"):
        with (story.here / name).open("wb") as file:
            file.truncate(700 * 1024 * 1024)
    lua = """
        os.rename(HERE .. "/log", HERE .. "/log.1")
        local log = io.open(HERE .. "/other", "a")
        log:write("a line\\n")
        log:close()
        io.open(HERE .. "/log.1", "a"):close()
    """
    planned = story.plan(lua)
    assert planned.code == 0, planned
    listed = {
        ("file", "log", "removed"),
        ("file", "log.1", "created"),
        ("file", "other", "changed"),
    }
    assert writes(planned, story.here) == listed
    assert (story.here / "log").exists()
    assert writes(story.run(), story.here) == listed
    assert (story.here / "other").stat().st_size == 700 * 1024 * 1024 + len("a line\n")


def test_a_temporary_file_has_one_name_in_the_plan_and_in_its_run(story: Story) -> None:
    from stories.test_preview import at_a_terminal

    lua = """
        local name = os.tmpname()
        local file = io.open(name, "w")
        file:write("scratch")
        file:close()
        file_ops.copy({src = name, dest = HERE .. "/copy"})
        exec.run("cp " .. name .. " " .. HERE .. "/by-command")
        os.remove(name)
    """
    done = at_a_terminal(story, lua, "y")
    assert done.code == 0, done.out
    assert (story.here / "copy").read_text() == (story.here / "by-command").read_text() == "scratch"
    assert "tmp/lua_" not in done.out.replace("cp /tmp/lua_", "")


def test_a_temporary_file_is_for_its_owner_alone(story: Story) -> None:
    lua = """
        local first, second = os.tmpname(), os.tmpname()
        exec.run("stat -c %a,%s " .. first .. " " .. second .. " >" .. HERE .. "/modes")
        print(first ~= second)
        os.remove(first) os.remove(second)
    """
    ran = story.run(lua)
    assert [event["text"] for event in ran.of("log")] == ["true"]
    assert (story.here / "modes").read_text() == "600,0\n600,0\n"


def test_an_archive_that_is_made_on_the_way_is_predicted_or_said_not_to_be(story: Story) -> None:
    with tarfile.open(story.here / "t.tar", "w") as archive:
        archive.add(story.here, "empty", recursive=False)
    (story.here / "out").mkdir()
    copied = """
        file_ops.copy({src = HERE .. "/t.tar", dest = HERE .. "/t2.tar"})
        file_ops.unarchive({archive = HERE .. "/t2.tar", dest = HERE .. "/out"})
    """
    planned = story.plan(copied)
    assert planned.code == 0, planned
    assert planned.of("resource.end")[-1]["follows"] == f"local/file:{story.here}/t2.tar"
    assert story.run().code == 0
    written = """
        io.open(HERE .. "/t3.tar", "w"):write(io.open(HERE .. "/t.tar"):read("a")):close()
        file_ops.unarchive({src = HERE .. "/t3.tar", dest = HERE .. "/out", id = "b"})
    """
    planned = story.plan(written)
    assert (planned.code, planned.of("task.end")[0]["outcome"]) == (0, "unknown")
    assert story.run().code == 0


def test_a_callback_that_reads_after_a_change_is_not_guessed(story: Story) -> None:
    (story.here / "a").write_text("before")
    read = '("x"):gsub("x", function() print(io.open(HERE .. "/a"):read("a")) end)'
    assert [e["text"] for e in story.plan(read, "-v").of("log")] == ["before"]
    planned = story.plan(f'file_ops.content({{path = HERE .. "/a", content = "x"}}); {read}', "-v")
    assert (planned.code, planned.of("task.end")[0]["outcome"]) == (0, "unknown")
    assert planned.of("log") == []


@pytest.mark.parametrize(
    "nothing",
    [
        'os.remove(HERE .. "/no/where")',
        'os.rename(HERE .. "/no/where", HERE .. "/page")',
        'os.rename(HERE .. "/old", HERE .. "/no/where")',
    ],
)
def test_what_lua_could_not_remove_or_rename_hides_nothing_from_a_plan(
    site: Story, nothing: str
) -> None:
    lua = nothing + '\nfile_ops.remove(HERE .. "/page")'
    assert site.plan(lua).counts == {"unchanged": 1} == site.run().counts
    assert site.lines("old") == ["old"]
    lua = nothing + '\nfile_ops.content({path = HERE .. "/no/page", content = "x"})'
    planned, ran = site.plan(lua), site.run()
    assert (planned.code, planned.counts) == (ran.code, ran.counts) == (1, {"failed": 1})
