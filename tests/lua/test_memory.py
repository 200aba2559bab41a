"""The memory limit: always an ordinary error of the task, never the end of the process."""

import asyncio

import pytest

from lua.conftest import Bench, short
from sloth_runner.core.errors import LuaFailure
from sloth_runner.core.values import Value
from sloth_runner.engine.program import Answer

LIMIT = 12 * 1024 * 1024

FILL = """
local function fill()
    local kept = {}
    for size = 18, 3, -1 do
        local ok = true
        while ok do
            ok = pcall(function() kept[#kept + 1] = string.rep("x", 2 ^ size + #kept % 8) end)
        end
    end
    return kept
end
"""


@pytest.mark.parametrize(
    "source",
    [
        "local s = string.rep('x', 1e9)",
        "local s = string.rep('x', 1e18)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} for i = 1, math.huge do t[i] = coroutine.create(print) end",
        "local t = table.pack(string.byte(string.rep('x', 1e6), 1, -1))",
        "local function f() return 1 + f() end f()",
        "local s = string.format('%99d', 1):rep(1e7)",
        "local s = ('x'):rep(1e7):gsub('x', ('y'):rep(1e5))",
        "table.concat(setmetatable({}, { __len = function() return 1e9 end, "
        "__index = function() return ('x'):rep(1e6) end }))",
    ],
)
def test_a_bomb_is_an_error_of_its_task(bench: Bench, source: str) -> None:
    error = bench.failure(source, max_memory=LIMIT)
    assert isinstance(error, LuaFailure)
    assert any(
        words in error.detail
        for words in (
            "not enough memory",
            "too large",
            "stack overflow",
            "too many results",
            "string slice too long",
        )
    )
    assert error.location is not None


def test_calls_with_memory_at_the_brim_are_errors_and_the_next_task_goes_on(bench: Bench) -> None:
    first, second = bench.tasks(
        FILL
        + """
        task({ name = "full", run = function()
            local kept = fill()
            local outcomes = {}
            for i = 1, 40 do
                local ok, why = pcall(pkg.install, "nginx")
                outcomes[why] = true
                pcall(print, "still here")
                pcall(goroutine.spawn, function() return kept end)
                pcall(json.encode, { 1, 2, 3 })
            end
            local size = #kept
            kept = nil
            collectgarbage()
            local ok, why = pcall(pkg.install, "nginx")
            return { size = size, after = ok, changed = why.changed }
        end })
        task({ name = "other", run = function() return pkg.install("curl").status end })
        """,
        "full",
        "other",
        max_memory=LIMIT,
    )
    assert first.value["size"] > 10
    assert first.value["after"] is True
    assert second.value == "unchanged"


def test_an_answer_larger_than_what_is_left_is_an_error_at_its_line(bench: Bench) -> None:
    def large(arguments: object, location: object) -> Value:
        return Answer(value={"stdout": "x" * LIMIT * 2}, text="x" * LIMIT)

    bench.context.handlers["exec.run"] = large
    error = bench.failure("local a = 1\nexec.run('cat')", max_memory=LIMIT)
    assert short(error.location) == "deploy.lua:2"
    assert error.detail == "not enough memory"


def test_a_task_that_keeps_filling_its_memory_is_ended_and_others_go_on(bench: Bench) -> None:
    async def run() -> None:
        program = bench.load(
            """
            task({ name = "greedy", run = function()
                local kept = {}
                while true do
                    pcall(function() while true do kept[#kept + 1] = ("x"):rep(1000) end end)
                    for _ = 1, 50 do kept[#kept] = nil end
                    pcall(pkg.install, "x")
                end
            end })
            task({ name = "modest", run = function() return pkg.install("y").status end })
            """,
            max_memory=LIMIT,
        )
        await program.main(bench.context)
        with pytest.raises(LuaFailure, match="not enough memory") as caught:
            await program.run("greedy", bench.context)
        assert "12 MiB" in caught.value.hint
        assert (await program.run("modest", bench.context)).value == "unchanged"

    asyncio.run(run())


def test_a_goroutine_that_fills_the_memory_fails_the_task_and_not_the_process(
    bench: Bench,
) -> None:
    error = bench.failure(
        FILL
        + """
        local kept = {}
        goroutine.map({ 1, 2, 3 }, function(n)
            kept[n] = fill()
            exec.run({ "x" })
        end)
        """,
        max_memory=LIMIT,
    )
    assert isinstance(error, LuaFailure)
    assert "not enough memory" in error.detail
