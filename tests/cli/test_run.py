"""run and plan: files, stacks, values, JSON lines, exit codes and the question."""

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.command import Sloth

ONE_FILE = """
workflow({ name = "web" })
task({ name = "write", run = function()
  local r = file_ops.content({ path = "@/made", content = "one\\n", mode = "0644" })
  if r.changed then print("written") end
end })
"""
FAILING = """
workflow({ name = "web" })
task({ name = "good", run = function()
  file_ops.content({ path = "@/made", content = "one\\n" })
end })
task({ name = "bad", depends_on = { "good" }, run = function()
  exec.run({ cmd = "echo to-stdout; echo to-stderr >&2; exit 3" })
end })
task({ name = "later", depends_on = { "bad" }, run = function() end })
"""


def test_the_second_run_says_in_one_line_that_there_is_nothing_to_do(sloth: Sloth) -> None:
    flow = sloth.write(ONE_FILE)
    first = sloth("run", flow, "--yes")
    assert (first.code, first.err) == (0, "")
    assert "created" in first.out
    second = sloth("run", flow, "--yes")
    assert second.code == 0
    assert second.out.startswith(" Nothing to do: 1 resource checked in ")
    assert second.out.count("\n") == 1
    quiet = sloth("run", flow, "--yes", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_a_plan_changes_nothing_and_makes_no_record(sloth: Sloth) -> None:
    done = sloth("plan", sloth.write(ONE_FILE))
    assert done.code == 0
    assert f"+ file:{sloth.folder}/made" in done.out
    assert "+one" in done.out
    assert "written" not in done.out
    assert not (sloth.folder / "made").exists()
    assert not sloth.db.exists()


def test_a_verbose_plan_shows_what_the_workflow_prints(sloth: Sloth) -> None:
    assert "written" in sloth("plan", sloth.write(ONE_FILE), "-v").out


def test_a_stack_is_named_by_the_file_or_by_the_person(sloth: Sloth) -> None:
    sloth("run", sloth.write(ONE_FILE), "--yes")
    sloth("run", "other", "-f", sloth.write(ONE_FILE), "--yes")
    sloth("run", sloth.write(ONE_FILE.replace("workflow", "-- "), "plain.lua"), "--yes")
    names = [stack["name"] for stack in sloth("stack", "list", "--json").json]
    assert names == ["other", "plain", "web"]


def test_a_stack_alone_takes_its_last_workflow_again(sloth: Sloth) -> None:
    sloth("run", sloth.write(ONE_FILE), "--yes")
    assert "Nothing to do" in sloth("run", "web", "--yes").out
    assert "nothing to do" in sloth("plan", "web").out
    (sloth.folder / "site.lua").unlink()
    gone = sloth("run", "web", "--yes")
    assert gone.code == 2
    assert "not there any more" in gone.err


def test_without_a_terminal_and_without_yes_nothing_is_changed(sloth: Sloth) -> None:
    done = sloth("run", sloth.write(ONE_FILE))
    assert done.code == 2
    assert "nothing was changed; add --yes" in done.err
    assert not (sloth.folder / "made").exists()
    assert not sloth.db.exists()


def test_json_lines_are_all_that_is_on_standard_output(sloth: Sloth) -> None:
    flow = sloth.write(ONE_FILE)
    done = sloth("run", flow, "--yes", "--json")
    events = done.events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["v"] == 1 and event["ts"].endswith("Z") for event in events)
    assert events[0]["type"] == "stream.start"
    assert {"log"} <= {event["type"] for event in events}
    summary = events[-1]
    assert summary["type"] == "summary"
    counts = ("created", "changed", "unchanged", "removed", "ran", "failed", "unknown", "carried",
              "blocked", "exit")  # fmt: skip
    assert {name: summary[name] for name in counts} == dict.fromkeys(counts, 0) | {"created": 1}
    assert sloth("plan", flow, "--json").events[-1]["unchanged"] == 1


def test_json_ends_with_a_summary_whatever_happens(sloth: Sloth) -> None:
    for arguments, code in (
        (["run", "nowhere.lua", "--yes"], 2),
        (["run", sloth.write(ONE_FILE)], 2),
        (["run", sloth.write(FAILING), "--yes"], 1),
        (["plan", sloth.write("workflow({", "broken.lua")], 2),
    ):
        done = sloth(*arguments, "--json")
        assert done.code == code
        assert (done.events[-1]["type"], done.events[-1]["exit"]) == ("summary", code)
        assert "diagnostic" in {event["type"] for event in done.events}


def test_changes_exit_3_only_when_asked_for(sloth: Sloth) -> None:
    flow = sloth.write(ONE_FILE)
    assert sloth("plan", flow, "--detailed-exitcode").code == 3
    assert sloth("plan", flow).code == 0
    done = sloth("run", flow, "--yes", "--json", "--detailed-exitcode")
    assert (done.code, done.events[-1]["exit"]) == (3, 3)
    assert sloth("run", flow, "--yes", "--detailed-exitcode").code == 0


def test_a_failure_answers_every_question(sloth: Sloth) -> None:
    done = sloth("run", sloth.write(FAILING), "--yes")
    assert done.code == 1
    for part in (
        "error[SR2101]: a command failed",
        "site.lua:7",
        "exec.run({ cmd",
        "host       local",
        "exit code  3",
        "to-stderr",
        "to-stdout",
        "effect     what it did before it failed is not undone",
        "blocked    later",
        "After the fix, the same command goes on",
        "stack history web 1",
    ):
        assert part in done.err
    assert "! 1 failed" in done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ('file_ops.content({ path = "@/a", contents = "" })', 2, " Nothing was changed."),
        ('file_ops.content({ path = "@/a/b", content = "" })', 1, "effect     file:@/a/b is as it"),
        ('exec.run({ argv = { "no-such-program" } })', 1, "effect     nothing was run"),
        ('exec.run({ cmd = "true", cwd = "@/nowhere" })', 1, "effect     nothing was run"),
        ("state.set()", 2, "the key is a text that is not empty, not nil"),
        ('file_ops.copy({ src = "absent", dest = "@/a" })', 1, "effect     nothing was changed"),
        ('task({ name = "a", depends_on = { "b" }, run = print })', 2, " Nothing was changed."),
    ],
)
def test_a_failure_says_what_was_not_changed(sloth: Sloth, call: str, code: int, said: str) -> None:
    done = sloth("run", sloth.write(call), "--yes")
    assert done.code == code, done.err
    assert said.replace("@", str(sloth.folder)) in done.err


@pytest.mark.parametrize(
    ("before", "touched"),
    [
        ('state.increment("k")', True),
        ('stack.state.set("k", os.time() .. math.random())', True),
        ('local f = io.open("@/a", "a") f:write("x") f:close()', True),
        ('os.rename("@/old", "@/new")', True),
        ('pcall(exec.run, "touch @/b; exit 1")', True),
        (
            'state.get("k") io.open("@/old"):close() os.remove("@/nowhere") io.open("@/no/a", "w")'
            'io.open("@/old", "w"):close() state.delete("k")',
            False,
        ),
    ],
)
def test_only_a_run_that_changed_nothing_says_so(sloth: Sloth, before: str, touched: bool) -> None:
    (sloth.folder / "old").touch()
    wrong = sloth("run", sloth.write(f'{before} pkg.install({{ nme = "x" }})'), "--yes")
    (sloth.folder / "old").touch()
    raised = sloth("run", sloth.write(f'{before} error("x")'), "--yes", "--json")
    assert (wrong.code, raised.code) == ((1, 1) if touched else (2, 1))
    assert ("Nothing was changed" in wrong.err) is not touched
    assert raised.events[-1]["touched"] is touched


def test_a_host_that_is_not_known_is_refused_before_anything(sloth: Sloth) -> None:
    flow = sloth.write(ONE_FILE)
    for options in (["--host", "web1"], ["--inventory", "absent.yaml"]):
        for command in (["run", "--yes"], ["plan"]):
            done = sloth(*command, flow, *options)
            assert done.code == 2
            assert options[1] in done.err
    assert not sloth.db.exists()
    assert not (sloth.folder / "made").exists()
    assert sloth("run", flow, "--yes", "--host", "local").code == 0


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ('task({ name = "a", depends_on = { "b" }, run = print })', "not a task"),
        (
            'task({ name = "a", depends_on = "b", run = print })\n'
            'task({ name = "b", depends_on = "a", run = print })',
            "a → b → a",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_graph_that_cannot_be_run_is_refused_before_the_body_is_run(
    sloth: Sloth, command: str, tasks: str, said: str
) -> None:
    flow = sloth.write(f'file_ops.content({{ path = "@/made", content = "x" }})\n{tasks}')
    done = sloth(command, flow, "--yes")
    assert (done.code, done.out) == (2, "")
    assert said in done.err and "site.lua:2" in done.err
    assert not (sloth.folder / "made").exists()


def test_tasks_of_which_only_some_are_declared_are_no_circle(sloth: Sloth) -> None:
    flow = sloth.write("""
        if values.other then
            task({ name = "a", depends_on = "b", run = function() print("then a") end })
            task({ name = "b", run = function() print("first b") end })
        else
            task({ name = "a", run = function() print("first a") end })
            task({ name = "b", depends_on = "a", run = function() print("then b") end })
        end
    """)
    assert sloth("run", flow, "--yes").out.splitlines()[:2] == ["first a", "then b"]
    other = sloth("run", flow, "--yes", "--set", "other=1")
    assert other.out.splitlines()[:2] == ["first b", "then a"]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_the_host_of_a_workflow_is_that_of_its_body_too(sloth: Sloth, command: str) -> None:
    here = 'file_ops.content({ path = "@/here", content = "x", delegate_to = "local" })'
    there = 'file_ops.content({ path = "@/made", content = "x" })'
    flow = sloth.write(f'workflow({{ name = "far", delegate_to = "web1" }})\n{here}\n{there}')
    done = sloth(command, flow, "--yes")
    assert done.code != 0
    assert "host 'web1' is not known" in done.err and "site.lua:3" in done.err
    assert f"{sloth.folder}/here" in done.out and not (sloth.folder / "made").exists()


def test_another_path_is_warned_about_once(sloth: Sloth) -> None:
    sloth("run", sloth.write(ONE_FILE), "--yes")
    moved = sloth.write(ONE_FILE, "moved.lua")
    for command in (["run", "--yes"], ["plan"]):
        assert sloth(*command, moved).err.count("was made by") == 1
    first, second, *_ = sloth("run", moved, "--yes", "--json").events
    assert (first["type"], second["type"]) == ("stream.start", "warning")
    assert "remove" in second["hint"]


def test_a_workflow_that_was_moved_is_the_one_of_its_stack_once_a_run_succeeded(
    sloth: Sloth,
) -> None:
    first = sloth.write(f"{ONE_FILE} exec.run('true')")
    assert sloth("run", first, "--yes").code == 0
    moved = sloth.write("workflow({ name = 'web' }) exec.run('false')", "moved.lua")
    (sloth.folder / "site.lua").unlink()
    warned = sloth("run", moved, "--yes")
    assert (warned.code, warned.err.count("which is gone")) == (1, 1)
    sloth.write("workflow({ name = 'web' }) exec.run('true')", "moved.lua")
    assert sloth("plan", moved).err.count("which is gone") == 1
    warned = sloth("run", moved, "--yes", "--json")
    assert (warned.code, warned.events[-1]["orphaned"]) == (0, 0)
    assert [e["msg"] for e in warned.events if e["type"] == "warning"] == [
        f"stack web was made by {first}, which is gone; this is {moved}"
    ]
    assert sloth("stack", "show", "web", "--json").json["workflow"] == moved
    again = sloth("run", moved, "--yes", "--json")
    assert [e["type"] for e in again.events if e["type"] == "warning"] == []
    assert again.events[-1]["orphaned"] == 1
    assert (sloth.folder / "made").exists()


def test_what_is_declared_elsewhere_now_is_recorded_there(sloth: Sloth) -> None:
    sloth("run", sloth.write(ONE_FILE), "--yes")
    assert "Nothing to do" in sloth("run", sloth.write(f"\n\n{ONE_FILE}"), "--yes").out
    [row] = sloth("stack", "resources", "web", "--json").json
    assert row["location"] == f"{sloth.folder}/site.lua:6"


def test_a_plan_says_in_short_where_it_cannot_go_on(sloth: Sloth) -> None:
    done = sloth("plan", sloth.write('print(exec.run("date").stdout)'))
    assert "task main: past site.lua:1 (output of exec.run)" in done.out


def test_a_wrong_call_in_a_plan_exits_2_whatever_else_is_planned(sloth: Sloth) -> None:
    wrong = 'file_ops.content({ path = "@/made", content = "" }) pkg.install({ nme = "x" })'
    done = sloth("plan", sloth.write(wrong))
    assert "+ 1 to create" in done.out
    assert (done.code, done.err.splitlines()[-1]) == (2, " Nothing was changed.")


@pytest.mark.parametrize(
    "call",
    [
        'file_ops.directory("@/made", "@/other")',
        'file_ops.directory({ path = "@/made" }, { mode = "0700" })',
        'file_ops.directory("@/made", { mode = "0700" }, "0750")',
    ],
)
def test_no_argument_of_a_call_is_passed_over(sloth: Sloth, call: str) -> None:
    flow = sloth.write(call)
    done = sloth("run", flow, "--yes")
    assert done.code == 2
    assert "file_ops.directory takes a table of parameters or one text" in done.err
    assert not (sloth.folder / "made").exists()
    assert sloth("validate", flow).code == 2


def test_a_call_is_a_function_that_can_be_mapped(sloth: Sloth) -> None:
    flow = sloth.write('goroutine.map({ "@/one", "@/two" }, file_ops.directory)')
    assert sloth("run", flow, "--yes").code == 0
    assert (sloth.folder / "one").is_dir() and (sloth.folder / "two").is_dir()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('set_output("token", "s3cret", true)', "takes a table with sensitive, not the boolean"),
        ('set_output("token", "s3cret", { sensitve = true })', "did you mean 'sensitive'"),
        ('set_output("token", "s3cret", { sensitive = "no" })', "sensitive is true or false"),
        ('update_resource("custom", "x", { stat = "failed" })', "did you mean 'state'"),
        ('register_resource("custom")', "takes a table with type"),
    ],
)
def test_what_a_stack_is_told_is_understood_or_refused(sloth: Sloth, call: str, said: str) -> None:
    known = 'stack.register_resource({ type = "custom", name = "x" })'
    done = sloth("run", sloth.write(f"{known}\nstack.{call}"), "--yes")
    assert done.code != 0
    assert said in done.err
    assert sloth("stack", "outputs", "site").out == ""


def test_a_place_is_found_from_any_folder(sloth: Sloth, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = sloth.write(FAILING)
    monkeypatch.chdir("/")
    assert "exec.run({ cmd" in sloth("run", flow, "--yes").err


def test_values_come_from_files_and_from_the_command_line(sloth: Sloth) -> None:
    flow = sloth.write("print(values.a .. values.b .. tostring(values.n + 1))")
    (sloth.folder / "v.yaml").write_text("a: file\nb: file\nn: 41\n")
    done = sloth("run", flow, "--yes", "--values", "v.yaml", "--set", "b=-line")
    assert "file-line42" in done.out
    assert sloth("run", flow, "--yes", "--set", "b").code == 2
    (sloth.folder / "v.yaml").write_text("a: 2024-05-06\nb: x\nn: 1\n")
    assert "2024-05-06x2" in sloth("run", flow, "--yes", "--values", "v.yaml").out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('password: "hunter2\n', "line 2, column 1: while scanning a quoted scalar"),
        ("a: [hunter2", "line 1, column 12: while parsing a flow sequence, expected"),
        ("a: *hunter2", "line 1, column 4: found undefined alias '…'"),
        ("a: !hunter2 b", "line 1, column 4: could not determine a constructor for the tag '…'"),
        ("a: !hunter2'x b", "could not determine a constructor for the tag '…'"),
        ("a: !!int hunter2", "a date or a number in it is none"),
        ("a: hunter2\n\x00", "position 11: special characters"),
        ("[" * 1000, "nested too deeply"),
        ("- hunter2", "must hold names"),
    ],
)
def test_a_mistake_in_values_is_told_without_the_values(sloth: Sloth, text: str, says: str) -> None:
    (sloth.folder / "v.yaml").write_text(text)
    done = sloth("run", sloth.write(ONE_FILE), "--yes", "--values", "v.yaml")
    assert done.code == 2
    assert says in done.err
    assert "hunter2" not in done.err
    decoded = sloth("run", sloth.write('yaml.decode(io.open("v.yaml"):read("a"))'), "--yes")
    assert "hunter2" not in decoded.err


def test_values_of_the_command_line_are_not_recorded(sloth: Sloth) -> None:
    flow = sloth.write(ONE_FILE)
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = sloth.process("run", flow, "--yes", "--set", "token=hunter2", **environment)
    assert done.code == 0, done.err
    [run] = sloth("stack", "history", "web", "--json").json
    assert "--set" in run["command"]
    assert "hunter2" not in run["command"]


def test_selected_tasks_alone_are_run(sloth: Sloth) -> None:
    flow = sloth.write(FAILING)
    assert sloth("run", flow, "--yes", "--task", "good").code == 0
    unknown = sloth("run", flow, "--yes", "--task", "goood")
    assert unknown.code == 2
    assert "'good'" in unknown.err


def test_init_makes_a_workflow_that_runs_as_it_is(sloth: Sloth) -> None:
    assert sloth("init").code == 0
    assert sloth("validate", "site.lua").out == " 1 file checked, nothing to report.\n"
    assert sloth("run", "site.lua", "--yes").code == 0
    assert (sloth.folder / "starter" / "greeting.conf").read_text() == "greeting = hello\n"
    assert "Nothing to do" in sloth("run", "site.lua", "--yes").out
    assert sloth("init").code == 2


def test_init_spells_any_folder(sloth: Sloth, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sloth.folder / 'a "b" \\ é \n'
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert sloth("init").code == 0
    done = sloth("run", "site.lua", "--yes")
    assert done.code == 0, done.err
    assert (folder / "starter" / "notes.txt").exists()


# the question


def at_a_terminal(sloth: Sloth, flow: str, *answers: str) -> tuple[int, str]:
    """Runs a workflow at a pseudo terminal and gives the answers, one for each question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS="80")
        argv = sloth.argv("run", flow)
        os.execv(argv[0], argv)
    told, left = b"", list(answers)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 1)
        try:
            piece = os.read(terminal, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
        told += piece
        if left and told.endswith(b"[?] "):
            os.write(terminal, left.pop(0).encode())
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), told.decode()


def test_yes_applies_the_plan_that_was_shown(sloth: Sloth) -> None:
    code, told = at_a_terminal(sloth, sloth.write(ONE_FILE), "what\n", "d\n", "y\n")
    assert code == 0
    assert told.count("Plan: ") == 2
    assert "Please answer" in told
    assert "succeeded" in told
    assert (sloth.folder / "made").read_text() == "one\n"


@pytest.mark.parametrize("answer", ["\n", "n\n", "\x04", "\x03"])
def test_everything_else_changes_nothing(sloth: Sloth, answer: str) -> None:
    code, told = at_a_terminal(sloth, sloth.write(ONE_FILE), answer)
    assert code == 8
    assert "Traceback" not in told
    assert "what runs is finished" not in told
    assert not (sloth.folder / "made").exists()


def test_nothing_to_do_asks_nothing(sloth: Sloth) -> None:
    flow = sloth.write(ONE_FILE)
    sloth("run", flow, "--yes")
    code, told = at_a_terminal(sloth, flow)
    assert code == 0
    assert "Nothing to do" in told
    assert "Apply" not in told


def test_a_body_that_cannot_be_predicted_can_be_agreed_to(sloth: Sloth) -> None:
    flow = sloth.write("""
        task({ name = "last", depends_on = { "first" }, run = function()
            file_ops.content({ path = "@/made", content = "two\\n" })
        end })
        local kernel = exec.run("uname -r").stdout
        task({ name = "first", run = function()
            file_ops.content({ path = "@/" .. #kernel, content = "" })
        end })
    """)
    code, told = at_a_terminal(sloth, flow, "y\n")
    assert code == 0, told
    assert "2 not predicted" in told
    assert (sloth.folder / "made").read_text() == "two\n"


def test_a_signal_stops_a_run_cleanly(sloth: Sloth) -> None:
    held = "touch @/begun; until [ -e @/go ]; do sleep 0.01; done"
    flow = sloth.write(f'exec.run("{held}"); exec.run("touch @/second")')
    with subprocess.Popen(
        sloth.argv("run", flow, "--yes"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 30
        while not (sloth.folder / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        planned = sloth("plan", flow)
        assert "is under way and may change all of this" in planned.err
        assert "in doubt" not in planned.err
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert b"nothing new starts" in process.stderr.readline()
        (sloth.folder / "go").touch()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 8
    assert b"was cancelled" in out
    assert not (sloth.folder / "second").exists()
    assert sloth("stack", "show", "site", "--json").json["status"] == "cancelled"


def test_a_file_that_does_not_load_leaves_the_record_as_it_was(sloth: Sloth) -> None:
    broken = sloth.write("local x = = 1", "broken")
    assert sloth("run", "web", "-f", broken, "--yes").code == 2
    assert sloth("stack", "list", "--json").json == []
    assert sloth("run", "web", "-f", sloth.write('state.set("a", 1)'), "--yes").code == 0
    assert sloth("run", "web", "-f", broken, "--yes").code == 2
    [stack] = sloth("stack", "list", "--json").json
    assert (stack["status"], len(sloth("stack", "history", "web", "--json").json)) == ("applied", 1)


def test_a_failure_in_a_goroutine_is_told_with_all_that_is_known(sloth: Sloth) -> None:
    flow = sloth.write("""
        goroutine.map({ "x", "y" }, function(name)
            exec.run("echo reason-" .. name .. " >&2; exit 4")
        end)
    """)
    done = sloth("run", flow, "--yes")
    assert done.code == 1
    for told in ("exit code  4", "reason-x", "2 of 2 failed", "host       local", "command    "):
        assert told in done.err, done.err


def test_of_a_long_output_it_says_how_much_is_left_out(sloth: Sloth) -> None:
    flow = sloth.write('exec.run("seq 1 150; exit 1")')
    done = sloth("run", "web", "-f", flow, "--yes")
    assert "stdout     (last 20 of 101 lines)" in done.err
    kept = sloth("stack", "history", "web", "1", "--json").json["events"]
    [told] = [event for event in kept if event["type"] == "diagnostic"]
    lines = told["facts"]["stdout"].splitlines()
    assert lines[0] == "(50 lines before these are left out)"
    assert lines[1:] == [str(number) for number in range(51, 151)]


def test_a_run_that_is_too_slow_names_what_was_under_way(sloth: Sloth) -> None:
    flow = sloth.write("""
        task({ name = "slow", run = function() exec.run("sleep 30") end })
        task({ name = "next", depends_on = { "slow" }, run = function() end })
    """)
    done = sloth("run", flow, "--yes", "--timeout", "300ms")
    assert done.code == 9
    assert "under way  slow" in done.err


def test_json_cannot_drive_the_terminal_that_it_is_shown_on(sloth: Sloth) -> None:
    name = "a\u202eb\u009b31m"
    flow = sloth.write(
        f'task({{ name = "{name}", run = function() stack.set_output("{name}", 1) end }})'
    )
    for command in (["plan", "web", "-f", flow], ["run", "web", "-f", flow, "--yes"]):
        done = sloth(*command, "--json")
        assert "\u202e" not in done.out and "\u009b" not in done.out
        assert name in [event.get("task") for event in done.events]
    exported = sloth("stack", "export", "web")
    assert "\u202e" not in exported.out
    assert exported.json["outputs"][0]["key"] == name


@pytest.mark.parametrize(
    "words", [["run", "--yes"], ["run", "--yes", "--json"], ["plan", "--json"]]
)
def test_a_full_standard_output_is_told_on_the_other(sloth: Sloth, words: list[str]) -> None:
    flow = sloth.write('state.set("a", 1)')
    done = full(sloth, words[0], flow, *words[1:])
    assert done.returncode == 1
    assert b"standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "-h"]])
def test_a_full_standard_output_is_no_bug_of_ours(sloth: Sloth, words: list[str]) -> None:
    done = full(sloth, *words)
    assert (done.returncode, b"SR9001" in done.stderr) == (1, False), done.stderr


def full(sloth: Sloth, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command whose standard output takes nothing."""
    with Path("/dev/full").open("wb") as nowhere:
        return subprocess.run(
            sloth.argv(*words), stdout=nowhere, stderr=subprocess.PIPE, check=False
        )


def test_a_workflow_that_only_reads_a_file_is_wrong_in_a_plan_too(sloth: Sloth) -> None:
    flow = sloth.write("io.open(arg and arg[0] or '/etc/hostname'):close()")
    assert sloth("plan", flow).code == sloth("run", flow, "--yes").code == 2


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (r'{"a": "\ud83d\ude80"}', "\U0001f680"),
        ('{\n\t"a": 1e3}', "1000"),
        ("a: [1, 2]", "table"),
    ],
)
def test_values_are_json_or_yaml(sloth: Sloth, document: str, expected: str) -> None:
    (sloth.folder / "v.json").write_text(document)
    flow = sloth.write('print(type(values.a) == "table" and "table" or values.a) state.set("a", 1)')
    done = sloth("run", flow, "--yes", "--values", str(sloth.folder / "v.json"))
    assert done.code == 0, done.err
    assert expected in done.out


def test_half_a_character_is_no_text(sloth: Sloth) -> None:
    for decode in ("json.decode", "yaml.decode"):
        done = sloth("run", sloth.write(decode + "([[" + r'"\ud800"' + "]])"), "--yes")
        assert done.code in (1, 2)
        assert "half a character" in done.err


def test_a_line_that_is_not_found_again_is_not_repeated(sloth: Sloth) -> None:
    lua = (
        'file_ops.lineinfile({path = "@/f", regexp = "^password=", sensitive = true, '
        "line = values.secret, create = true})"
    )
    done = sloth("run", sloth.write(lua), "--yes", "--set", "secret=pw=hunter2-and-more")
    assert done.code != 0
    assert "hunter2" not in done.out + done.err


def test_one_database_is_one_by_whatever_link(sloth: Sloth) -> None:
    lua = 'file_ops.content({path = "@/secret", content = "hunter2", mode = "0600"})'
    assert sloth("run", sloth.write(lua), "--yes").code == 0
    link = sloth.folder / "link.db"
    link.symlink_to(sloth.db)
    again = sloth("--db", str(link), "run", sloth.write(lua), "--yes", "-q")
    assert (again.code, again.out, again.err) == (0, "", "")
    assert not (sloth.folder / "link.db.d").exists()


@pytest.mark.parametrize(
    ("flag", "why"),
    [("--no-input", "--no-input says that nobody is asked"), ("", "no terminal to ask at")],
)
def test_who_cannot_be_asked_is_told_why(sloth: Sloth, flag: str, why: str) -> None:
    workflow = sloth.write('file_ops.content({ path = "@/a", content = "x" })')
    refused = sloth("run", workflow, *flag.split())
    assert refused.code == 2
    assert why in refused.err and "--yes" in refused.err
    assert not (sloth.folder / "a").exists()
