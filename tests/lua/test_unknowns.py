"""Previews: reading what cannot be known ends the task there, and nothing can hold it."""

import pytest

from lua.conftest import Bench
from sloth_runner.engine.program import Answer, TaskResult, Unpredictable


@pytest.fixture
def preview(bench: Bench) -> Bench:
    bench.context.preview = True
    bench.context.handlers["exec.run"] = lambda arguments, location: Answer(
        value={"changed": True, "success": True, "status": "ran"},
        unknown=("stdout", "stderr", "exit_code"),
        why="output of exec.run",
    )
    bench.context.handlers["file_ops.read"] = lambda arguments, location: Answer(
        value=None, unknown=("*",), why="content of /x"
    )
    bench.context.handlers["test.unpredictable"] = unpredictable
    return bench


def unpredictable(arguments: object, location: object) -> None:
    raise Unpredictable(f"{location} (a guess)")


def stopped(result: TaskResult, line: int, why: str) -> bool:
    words = result.unpredicted or ""
    return words.endswith(f"deploy.lua:{line} ({why})")


FIELD = [
    "local x = r.stdout",
    "if r.exit_code == 0 then end",
    "local x = tostring(r)",
    "local x = r .. 'x'",
    "local x = 'x' .. r",
    "local x = r:match('x')",
    "local x = #r",
    "for k in pairs(r) do end",
    "local k = next(r)",
    "local x = rawget(r, 'stdout')",
    "local x = rawlen(r)",
    "local x = table.unpack(r)",
    "local x = unpack(r)",
    "local x = r()",
    "local x = r == {}",
    "local x = r < r",
    "local x = r <= 1",
    "local x = -r",
    "local x = r + 1",
    "print(r)",
    "json.encode(r)",
    "pkg.install({ name = r })",
    "local x = string.format('%s', r)",
    "local x = table.concat({ 'a', tostring(r) })",
]


@pytest.mark.parametrize("reading", FIELD)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "pcall(function() {} end)",
        "xpcall(function() {} end, print)",
        "coroutine.wrap(function() {} end)()",
        "table.sort({{ 2, 1 }}, function(a, b) {} return a < b end)",
        "pcall(string.gsub, 'abc', '.', function() {} end)",
        "local c <close> = setmetatable({{}}, {{ __close = function() {} end }}) "
        "if true then return end",
    ],
    ids=["plain", "pcall", "xpcall", "coroutine", "sort", "gsub", "close"],
)
def test_reading_what_is_not_known_ends_the_task_there(
    preview: Bench, reading: str, around: str
) -> None:
    code = around.replace("{{", "\1").replace("}}", "\2")
    code = code.replace("{}", reading).replace("\1", "{").replace("\2", "}")
    result = preview.main(
        f"local r = exec.run('x')\n{code}\nprint('went on') pkg.install('y')", mode="plan"
    )
    line = 3 if "close" in around else 2
    assert stopped(result, line, "output of exec.run") or stopped(result, 2, "output of exec.run")
    assert preview.context.lines == []
    assert [name for name, _, _ in preview.context.called] == ["exec.run"]


WHOLE = [
    "local x = v.anything",
    "v.x = 1",
    "local x = v .. ''",
    "local x = #v",
    "local x = tostring(v)",
    "local x = tonumber(v)",
    "local x = type(v)",
    "local x = string.match(v, 'x')",
    "local x = string.len(v)",
    "local x = ('x'):rep(2, v)",
    "local x = table.concat(v)",
    "local x = math.floor(v)",
    "local x = v * 2",
    "local x = v == {}",
    "local x = rawequal(v, 'x')",
    "local x = os.getenv(v)",
    "local x = io.open(v)",
    "for i in ipairs(v) do end",
    "for line in v:gmatch('x') do end",
    "local x = load(v)",
    "goroutine.sleep(v)",
]


@pytest.mark.parametrize("reading", WHOLE)
def test_a_value_that_is_wholly_unknown_cannot_be_used_at_all(preview: Bench, reading: str) -> None:
    result = preview.main(
        f"local v = file_ops.read('/x')\npcall(function() {reading} end)\nprint('went on')",
        mode="plan",
    )
    assert stopped(result, 2, "content of /x")
    assert preview.context.lines == []


def test_what_is_known_of_an_answer_can_be_read(preview: Bench) -> None:
    result = preview.main(
        """
        local r = exec.run("x")
        print(r.changed, r.success, r.status, rawget(r, "status"), r.other)
        r.mine = 1
        local kept = { r, [r] = r.mine }
        print(kept[r], rawequal(r, kept[1]), getmetatable(r), type(r))
        """,
        mode="plan",
    )
    assert result.unpredicted is None
    assert preview.context.lines == ["true\ttrue\tran\tran\tnil", "1\ttrue\tfalse\ttable"]


def test_a_metatable_of_an_unknown_cannot_be_taken_away(preview: Bench) -> None:
    result = preview.main(
        "local r = exec.run('x')\nprint(pcall(setmetatable, r, nil))\nprint(r.stdout)", mode="plan"
    )
    assert stopped(result, 3, "output of exec.run")
    assert preview.context.lines == ["false\tdeploy.lua:2: cannot change a protected metatable"]


def test_an_engine_that_cannot_predict_ends_the_task_too(preview: Bench) -> None:
    result = preview.main(
        "pcall(function()\npcall(test.unpredictable)\nprint('went on') end)", mode="plan"
    )
    assert (result.unpredicted or "").endswith("deploy.lua:2 (a guess)")
    assert preview.context.lines == []


def test_a_goroutine_that_is_stopped_stops_its_task(preview: Bench) -> None:
    result = preview.main(
        """
        local r = exec.run("x")
        goroutine.spawn(function() pcall(function() print(r.stdout) end) print("went on") end)
        goroutine.sleep(0)
        pkg.install("a")
        goroutine.channel():receive()
        """,
        mode="plan",
    )
    assert stopped(result, 3, "output of exec.run")
    assert preview.context.lines == []


def test_a_task_may_return_what_is_not_known_and_its_reader_is_stopped(preview: Bench) -> None:
    source = """
        task({ name = "a", run = function() return exec.run("x") end })
        task({ name = "b", run = function(ctx)
            print(ctx.results.a.changed)
            print(ctx.results.a.stdout)
        end })
    """
    [first] = preview.tasks(source, "a", mode="plan")
    assert first.unpredicted is None
    assert first.value == {"changed": True, "success": True, "status": "ran"}
    preview.context.results = {"a": first.value}
    _, second = preview.tasks(source, "a", "b", mode="plan")
    assert stopped(second, 5, "output of exec.run")
    assert preview.context.lines == ["true"]


def test_close_variables_of_a_stopped_task_run_and_its_handlers_do_not(preview: Bench) -> None:
    [result] = preview.tasks(
        """
        task({ name = "a", run = function()
            local c <close> = setmetatable({}, { __close = function() print("closed") end })
            return exec.run("x").stdout == ""
        end, on_success = function() print("success") end,
             on_failure = function() print("failure") end })
        """,
        "a",
        mode="plan",
    )
    assert stopped(result, 4, "output of exec.run")
    assert preview.context.lines == ["closed"]


def test_waiting_takes_no_time_in_a_preview(preview: Bench) -> None:
    preview.main("goroutine.sleep('1h') print('at once')", mode="plan")
    assert preview.context.lines == ["at once"]
