"""Stopping Lua from outside, whatever it does; closing what is left; deadlines."""

import asyncio
import threading
import time

import pytest

from lua.conftest import Bench
from sloth_runner.core.errors import Cancelled, LuaFailure, TaskTimedOut

LOOPS = {
    "plain": "while true do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "xpcall": "while true do xpcall(function() while true do end end, function() while true do "
    "end end) end",
    "handler": "xpcall(error, function() while true do pcall(error) end end)",
    "coroutine": "while true do coroutine.wrap(function() while true do end end)() end",
    "resume": """
        while true do
            local co = coroutine.create(function() while true do pcall(function()
                while true do end end) end end)
            coroutine.resume(co)
            coroutine.close(co)
        end""",
    "nested": """
        local function deeper(n)
            while true do pcall(coroutine.wrap(function()
                if n > 0 then deeper(n - 1) end
                while true do end
            end)) end
        end
        deeper(5)""",
    "close": """
        local function forever() while true do pcall(function() while true do end end) end end
        while true do
            local guard <close> = setmetatable({}, { __close = forever })
        end""",
    "closed coroutine": """
        local co = coroutine.create(function()
            local guard <close> = setmetatable({}, { __close = function() while true do end end })
            coroutine.yield()
        end)
        coroutine.resume(co)
        while true do pcall(coroutine.close, co) end""",
    "sort": "while true do pcall(table.sort, { 3, 2, 1 }, function() while true do end end) end",
    "gsub": "while true do pcall(string.gsub, 'abc', '.', function() while true do end end) end",
    "index": "local t = setmetatable({}, { __index = function() while true do end end }) "
    "while true do pcall(function() return t.x end) end",
    "iterator": "for _ in function() return 1 end do end",
    "goroutine": "goroutine.wait(goroutine.spawn(function() while true do pcall(function() "
    "while true do end end) end end))",
    "required": "require('endless')",
    "calls": "while true do pcall(pkg.install, 'x') end",
    "on the way to an error": "error(setmetatable({}, { __tostring = function() while true do "
    "end end }))",
}


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_an_endless_loop_ends_when_interrupted_from_another_thread(bench: Bench, name: str) -> None:
    bench.module("endless.lua", "while true do pcall(function() while true do end end) end")
    program = bench.load(LOOPS[name])
    timer = threading.Timer(0.05, program.interrupt)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        asyncio.run(program.main(bench.context))
    assert time.monotonic() - began < 2


def test_busy_lua_code_ends_at_the_deadline_of_its_task_and_the_next_task_runs(
    bench: Bench,
) -> None:
    async def run() -> object:
        program = bench.load("""
            task({ name = "busy", timeout = "50ms", run = function()
                while true do pcall(function() while true do end end) end
            end })
            task({ name = "next", run = function()
                local n = 0
                for i = 1, 100000 do n = n + 1 end
                return n
            end })
        """)
        await program.main(bench.context)
        with pytest.raises(TaskTimedOut):
            await program.run("busy", bench.context)
        return (await program.run("next", bench.context)).value

    assert asyncio.run(run()) == 100000


def test_the_deadline_of_the_engine_comes_first_where_it_has_one(bench: Bench) -> None:
    async def run() -> None:
        program = bench.load(
            'task({ name = "busy", timeout = 0.05, run = function() while true do end end })'
        )
        await program.main(bench.context)
        async with asyncio.timeout(0.05):
            await program.run("busy", bench.context)

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_a_function_that_python_calls_ends_where_it_only_computes(bench: Bench) -> None:
    numbers: list[int] = []
    bench.context.handlers["resource.define"] = lambda given, place: numbers.extend(
        given[0][name]["$function"] for name in ("endless", "long")
    )

    async def run() -> object:
        program = bench.load(
            """
            resource.define({
                endless = function()
                    while true do pcall(function() while true do end end) end
                end,
                long = function()
                    for i = 1, 6 do
                        local ends = os.clock() + 0.1
                        repeat until os.clock() > ends
                        pkg.install("nginx")
                    end
                    return "done"
                end,
            })
            """,
            max_stretch=0.4,
        )
        await program.main(bench.context)
        with pytest.raises(LuaFailure, match=r"0\.4 s without making a call"):
            await program.invoke(numbers[0], [], bench.context)
        return await program.invoke(numbers[1], [], bench.context)

    assert asyncio.run(run()) == "done"


def cancelled(bench: Bench, source: str) -> float:
    """Runs the body, cancels it after 20 ms, and returns how long it took to end."""

    async def run() -> float:
        task = asyncio.create_task(bench.load(source).main(bench.context))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    return asyncio.run(run())


def test_close_variables_run_when_a_task_is_cancelled(bench: Bench) -> None:
    cancelled(
        bench,
        """
        local function says(name)
            return setmetatable({}, { __close = function() print(name) end })
        end
        local outer <close> = says("outer")
        local body = coroutine.wrap(function()
            local inner <close> = says("inner")
            goroutine.spawn(function()
                local beside <close> = says("beside")
                goroutine.sleep(60)
            end)
            goroutine.sleep(60)
        end)
        body()
        """,
    )
    assert sorted(bench.context.lines) == ["beside", "inner", "outer"]
    assert bench.context.lines.index("inner") < bench.context.lines.index("outer")


def test_errors_calls_and_endless_loops_in_close_variables_are_contained(bench: Bench) -> None:
    took = cancelled(
        bench,
        """
        local function guard(fn) return setmetatable({}, { __close = fn }) end
        local last <close> = guard(function() print("last") end)
        local b <close> = guard(function() error("a mistake") end)
        local c <close> = guard(function() print(pcall(pkg.install, "x")) end)
        goroutine.sleep(60)
        """,
    )
    assert took < 1
    assert bench.context.lines[0].startswith("false\tdeploy.lua:5: pkg.install cannot be called")
    assert bench.context.lines[1] == "last"
    assert bench.context.called == []
    endless = cancelled(
        bench,
        """
        local d <close> = setmetatable({}, { __close = function()
            while true do pcall(function() while true do end end) end
        end })
        goroutine.sleep(60)
        """,
    )
    assert endless < 5


def test_a_finished_program_can_be_closed_twice(bench: Bench) -> None:
    program = bench.load("print(1)")
    asyncio.run(program.main(bench.context))
    program.close()
    program.close()
    with pytest.raises(Cancelled):
        asyncio.run(program.main(bench.context))
