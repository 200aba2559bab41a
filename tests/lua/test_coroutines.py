"""Calls from wherever Lua code may stand: coroutines, metamethods, iterators, callbacks of C."""

import pytest

from lua.conftest import Bench, short


def test_calls_pass_through_the_coroutines_of_the_workflow(bench: Bench) -> None:
    bench.main("""
        local function producer()
            local first = exec.run({ "one" })
            coroutine.yield(first.changed)
            local inner = coroutine.create(function(a)
                local second = exec.run({ a })
                local b = coroutine.yield(second.changed, "inner")
                return exec.run({ b }).changed, "end"
            end)
            print(coroutine.resume(inner, "two"))
            print(coroutine.resume(inner, "three"))
            print(coroutine.status(inner), coroutine.resume(inner))
            return "done"
        end
        local co = coroutine.wrap(producer)
        print(co())
        print(co())
        print(pcall(co))
    """)
    assert [arguments for _, arguments, _ in bench.context.called] == [
        [["one"]],
        [["two"]],
        [["three"]],
    ]
    assert bench.context.lines == [
        "true",
        "true\ttrue\tinner",
        "true\ttrue\tend",
        "dead\tfalse\tcannot resume dead coroutine",
        "done",
        "false\tcannot resume dead coroutine",
    ]


def test_coroutines_pass_exactly_the_values_that_they_are_given(bench: Bench) -> None:
    assert bench.main("""
        local function count(...) return select("#", ...) end
        local co = coroutine.create(function(...)
            local a = count(...)
            local b = count(coroutine.yield(nil, nil))
            local c = count(coroutine.yield())
            return a, b, c, nil
        end)
        local r1 = count(coroutine.resume(co, nil, nil, nil))
        local r2 = count(coroutine.resume(co))
        local values = table.pack(coroutine.resume(co, 1, nil))
        return { r1, r2, values.n, values[2], values[3], values[4],
            count(coroutine.wrap(function() end)()) }
    """).value == [3, 1, 5, 3, 0, 2, 0]


def test_a_generator_that_makes_calls_can_drive_a_for_loop(bench: Bench) -> None:
    bench.main("""
        local function each(list)
            return coroutine.wrap(function()
                for _, item in ipairs(list) do
                    coroutine.yield(item, exec.run({ item }).changed)
                end
            end)
        end
        for item, changed in each({ "a", "b" }) do print(item, changed) end
    """)
    assert bench.context.lines == ["a\ttrue", "b\ttrue"]


def test_calls_work_in_protected_calls_metamethods_iterators_and_close(bench: Bench) -> None:
    bench.main("""
        local function call(name) return exec.run({ name }).changed end
        local meta = {
            __index = function(_, key) return call("index " .. key) end,
            __call = function() return call("call") end,
            __add = function() return call("add") end,
            __eq = function() return call("eq") end,
            __lt = function() return call("lt") end,
            __concat = function() return call("concat") end,
            __len = function() return call("len") end,
            __newindex = function() call("newindex") end,
        }
        local a, b = setmetatable({}, meta), setmetatable({}, meta)
        local all = { a.x, a(), a + b, a == b, a < b, a .. b, #a }
        a.y = 1
        for i in function(_, i) if not i then call("iterator") return 1 end end do end
        pcall(function() call("pcall") pcall(error) end)
        xpcall(call, print, "xpcall")
        do local c <close> = setmetatable({}, { __close = function() call("close") end }) end
        pcall(function()
            local c <close> = setmetatable({}, { __close = function() call("close, error") end })
            error("x")
        end)
    """)
    assert [arguments[0][0] for _, arguments, _ in bench.context.called] == [
        "index x",
        "call",
        "add",
        "eq",
        "lt",
        "concat",
        "len",
        "newindex",
        "iterator",
        "pcall",
        "xpcall",
        "close",
        "close, error",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "table.sort({ 2, 1 }, function(a, b)\npkg.install('x') return a < b end)",
        "string.gsub('abc', 'b', function()\npkg.install('x') end)",
        "('abc'):gsub('b', function()\ncoroutine.wrap(function() pkg.install('x') end)() end)",
        "load(function()\npkg.install('x') end)",
    ],
)
def test_a_call_inside_a_callback_of_c_is_refused_by_name(bench: Bench, source: str) -> None:
    if source.startswith("load"):
        bench.main(f"print(select(2, {source}))")
        words = bench.context.lines[0]
    else:
        error = bench.failure(source)
        words = error.detail
        assert short(error.location) == "deploy.lua:2"
    assert "pkg.install cannot be called inside a table.sort comparator" in words
    assert bench.context.called == []


def test_what_cannot_wait_is_still_printed_inside_a_callback_of_c(bench: Bench) -> None:
    bench.main("""
        table.sort({ 2, 1 }, function(a, b) print("comparing") return a < b end)
        string.gsub("a", "a", coroutine.wrap(function() print("wrapped") end))
        print("after")
    """)
    assert bench.context.lines == ["comparing", "wrapped", "after"]


def test_the_coroutine_library_answers_as_that_of_lua(bench: Bench) -> None:
    bench.main("""
        print(coroutine.isyieldable(), select(2, coroutine.running()))
        local co = coroutine.create(function()
            print(coroutine.isyieldable(), select(2, coroutine.running()))
            local guard <close> = setmetatable({}, { __close = function() print("closed") end })
            coroutine.yield()
        end)
        print(coroutine.status(co))
        coroutine.resume(co)
        print(coroutine.status(co), coroutine.close(co), coroutine.status(co))
        print(coroutine.resume(coroutine.create(function() error({ code = 7 }) end)))
        print(coroutine.resume(coroutine.create(function() error("x", 0) end)))
    """)
    lines = bench.context.lines
    assert lines[:5] == [
        "false\ttrue",
        "suspended",
        "true\tfalse",
        "closed",
        "suspended\ttrue\tdead",
    ]
    assert lines[5].startswith("false\ttable")
    assert lines[6] == "false\tx"


def test_many_crossings_in_one_user_coroutine_need_no_more_stack(bench: Bench) -> None:
    result = bench.main("""
        local co = coroutine.wrap(function()
            for i = 1, 10000 do pkg.install("x") end
            return "done"
        end)
        return { co() }
    """)
    assert result.value == ["done"]
    assert len(bench.context.called) == 10000


def test_ten_thousand_calls_that_never_wait_let_other_tasks_have_a_turn(bench: Bench) -> None:
    bench.main("""
        local turns, done = 0, false
        local ticking = goroutine.spawn(function()
            while not done do
                turns = turns + 1
                goroutine.sleep(0)
            end
        end)
        for i = 1, 10000 do pkg.install("x") end
        done = true
        goroutine.wait(ticking)
        print(turns > 2)
    """)
    assert bench.context.lines == ["true"]
