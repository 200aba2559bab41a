"""Goroutines: side by side, in order, and never waiting for ever."""

import time

import pytest

from lua.conftest import Bench, short
from sloth_runner.core.errors import LuaFailure, TaskError


def test_a_thousand_goroutines_wait_at_the_same_time(bench: Bench) -> None:
    began = time.monotonic()
    result = bench.main("""
        local list = {}
        for i = 1, 1000 do list[i] = i end
        local doubled = goroutine.map(list, function(i) goroutine.sleep(0.35) return i * 2 end)
        local sum = 0
        for i, value in ipairs(doubled) do assert(value == i * 2) sum = sum + value end
        return { sum }
    """)
    took = time.monotonic() - began
    assert result.value == [1001000]
    assert 0.35 <= took < 3


def test_map_returns_results_in_order_whoever_ends_first(bench: Bench) -> None:
    assert bench.main("""
        return goroutine.map({ 0.03, 0.01, 0.02 }, function(delay, index)
            goroutine.sleep(delay)
            return index .. ":" .. delay
        end)
    """).value == ["1:0.03", "2:0.01", "3:0.02"]
    assert bench.value("goroutine.map({}, print)") == {}


def test_map_keeps_to_its_limit(bench: Bench) -> None:
    assert bench.main("""
        local now, most = 0, 0
        goroutine.map({ 1, 2, 3, 4, 5, 6, 7 }, function()
            now = now + 1
            most = math.max(most, now)
            goroutine.sleep("2ms")
            now = now - 1
        end, { limit = 3 })
        return { most }
    """).value == [3]


def test_one_failing_element_does_not_lose_the_others(bench: Bench) -> None:
    bench.main("""
        local ok, err = pcall(goroutine.map, { "a", "b", "c", "d" }, function(name)
            exec.run(name)
            if name == "b" then error("no " .. name) end
            if name == "d" then error({ message = "a table" }) end
            return name
        end)
        print(ok, err.results[1], err.results[2], err.results[3], err.errors[2],
            err.errors[4].message)
        print(err)
    """)
    assert bench.context.lines == [
        "false\ta\tnil\tc\tdeploy.lua:4: no b\ta table",
        "deploy.lua:2: goroutine.map: 2 of 4 failed: [2] deploy.lua:4: no b; [4] a table",
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("goroutine.map('x', print)", "a list is needed first"),
        ("goroutine.map({}, 'x')", "a function is needed"),
        ("goroutine.map({}, print, { limit = 0 })", "at least 1"),
        ("goroutine.map({}, print, { limit = 'x' })", "at least 1"),
        ("goroutine.map({}, print, { limits = 1 })", "it takes: limit"),
        ("goroutine.spawn()", "a function is needed"),
        ("goroutine.wait(1)", "goroutine.spawn"),
        ("goroutine.wait({ {} })", "[1] is not a goroutine"),
        ("goroutine.sleep('soon')", "goroutine.sleep: expected seconds"),
        ("goroutine.sleep(-1)", "goroutine.sleep: expected seconds"),
        ("goroutine.sleep({})", "goroutine.sleep: expected seconds"),
        ("goroutine.channel(-1)", "at least 0"),
        ("goroutine.channel():send(nil)", "nil cannot be sent"),
        ("local c = goroutine.channel() c:close() c:send(1)", "closed"),
        ("goroutine.channel().send(1)", "with a colon"),
        ("goroutine.mutex():unlock()", "does not hold it"),
        ("local m = goroutine.mutex() m:lock() m:lock()", "holds it already"),
        ("goroutine.semaphore(1):release()", "more often than acquired"),
        ("goroutine.wait_group():done()", "more often than added"),
        ("goroutine.mutex():with(1)", "a function is needed"),
    ],
)
def test_a_wrong_use_is_told_at_its_line(bench: Bench, source: str, words: str) -> None:
    error = bench.failure("\n" + source)
    assert words in error.detail
    assert short(error.location) == "deploy.lua:2"


def test_wait_returns_all_that_a_goroutine_returned(bench: Bench) -> None:
    bench.main("""
        local one = goroutine.spawn(function(...) exec.run("x") return select("#", ...), ... end,
            nil, "b", nil)
        print(goroutine.wait(one))
        print(goroutine.wait(one))
        local list = goroutine.wait({ one, goroutine.spawn(function() return "two" end) })
        print(list[1], list[2])
    """)
    assert bench.context.lines == ["3\tnil\tb\tnil", "3\tnil\tb\tnil", "3\ttwo"]


def test_wait_raises_the_error_of_the_goroutine_and_it_can_be_caught(bench: Bench) -> None:
    bench.main("""
        local one = goroutine.spawn(function() error("bad luck") end)
        print(pcall(goroutine.wait, one))
        local two = goroutine.spawn(function() error("worse") end)
        goroutine.sleep(0.001)
        print(select(2, pcall(goroutine.wait, { one, two })))
    """)
    assert bench.context.lines == [
        "false\tdeploy.lua:2: bad luck",
        "deploy.lua:6: goroutine.wait: 2 of 2 failed: [1] deploy.lua:2: bad luck; "
        "[2] deploy.lua:4: worse",
    ]


def test_a_task_waits_for_what_it_has_spawned(bench: Bench) -> None:
    bench.main("""
        goroutine.spawn(function()
            goroutine.sleep(0.01)
            goroutine.spawn(function() goroutine.sleep(0.01) print("last") end)
            print("second")
        end)
        print("first")
    """)
    assert bench.context.lines == ["first", "second", "last"]


def test_a_goroutine_that_nobody_waits_for_fails_its_task_when_all_have_ended(
    bench: Bench,
) -> None:
    error = bench.failure("""
        goroutine.spawn(function() goroutine.sleep(0.005) print("the other ended") end)
        goroutine.spawn(function() error("unseen") end)
        print("the task ended")
    """)
    assert type(error) is LuaFailure
    assert (error.detail, short(error.location)) == ("unseen", "deploy.lua:3")
    assert bench.context.lines == ["the task ended", "the other ended"]


def test_a_task_that_fails_ends_its_goroutines(bench: Bench) -> None:
    began = time.monotonic()
    error = bench.failure("""
        goroutine.spawn(function()
            local c <close> = setmetatable({}, { __close = function() print("closed") end })
            goroutine.sleep(60)
        end)
        goroutine.sleep(0.001)
        error("enough")
    """)
    assert error.detail == "enough"
    assert time.monotonic() - began < 5
    assert bench.context.lines == ["closed"]


def test_the_error_of_a_call_in_a_goroutine_is_itself(bench: Bench) -> None:
    original = TaskError("no such thing")

    def fail(arguments: object, location: object) -> None:
        raise original

    bench.context.handlers["pkg.install"] = fail
    assert bench.failure("goroutine.spawn(function() pkg.install('x') end)") is original
    assert short(original.location) == "deploy.lua:1"


def test_a_channel_hands_values_over_in_order(bench: Bench) -> None:
    bench.main("""
        for _, capacity in ipairs({ 0, 1, 3 }) do
            local channel = goroutine.channel(capacity)
            local sender = goroutine.spawn(function()
                for i = 1, 5 do channel:send(i) end
                channel:close()
            end)
            local got = {}
            for value in channel:iterate() do got[#got + 1] = value end
            goroutine.wait(sender)
            print(capacity, table.concat(got, " "), channel:receive())
        end
    """)
    assert bench.context.lines == [f"{n}\t1 2 3 4 5\tnil\tfalse" for n in (0, 1, 3)]


def test_a_sender_waits_where_a_channel_is_full(bench: Bench) -> None:
    bench.main("""
        local channel = goroutine.channel(1)
        goroutine.spawn(function()
            for i = 1, 3 do channel:send(i) print("sent " .. i) end
        end)
        goroutine.sleep(0.002)
        print("has " .. #channel)
        print(channel:receive(), channel:receive(), channel:receive())
    """)
    assert bench.context.lines[:2] == ["sent 1", "has 1"]
    assert "1\t2\t3\ttrue" in bench.context.lines


def test_many_producers_and_consumers_lose_nothing(bench: Bench) -> None:
    assert bench.main("""
        local channel, sum, group = goroutine.channel(4), 0, goroutine.wait_group()
        group:add(20)
        for p = 1, 20 do
            goroutine.spawn(function()
                for i = 1, 25 do
                    if i % 7 == 0 then goroutine.sleep(0) end
                    channel:send(p * 100 + i)
                end
                group:done()
            end)
        end
        goroutine.spawn(function() group:wait() channel:close() end)
        local counts = goroutine.map({ 1, 2, 3, 4, 5 }, function()
            local count = 0
            for value in channel:iterate() do
                sum = sum + value
                count = count + 1
                if count % 5 == 0 then goroutine.sleep(0) end
            end
            return count
        end)
        local total = 0
        for _, count in ipairs(counts) do total = total + count end
        return { total, sum }
    """).value == [500, sum(p * 100 + i for p in range(1, 21) for i in range(1, 26))]


def test_a_mutex_lets_one_in_at_a_time_in_order_and_is_freed_by_an_error(bench: Bench) -> None:
    bench.main("""
        local mutex, inside, log = goroutine.mutex(), 0, {}
        goroutine.map({ 1, 2, 3 }, function(i)
            mutex:with(function()
                inside = inside + 1
                assert(inside == 1)
                exec.run("x")
                log[#log + 1] = i
                inside = inside - 1
            end)
        end)
        print(table.concat(log, " "))
        print(pcall(mutex.with, mutex, function() error("inside", 0) end))
        mutex:lock()
        mutex:unlock()
        print(mutex:with(function(...) return ... end, 1, nil, 3))
    """)
    assert bench.context.lines == ["1 2 3", "false\tinside", "1\tnil\t3"]


def test_a_semaphore_lets_as_many_in_as_it_says(bench: Bench) -> None:
    assert bench.main("""
        local semaphore, now, most = goroutine.semaphore(2), 0, 0
        goroutine.map({ 1, 2, 3, 4, 5, 6 }, function()
            semaphore:with(function()
                now = now + 1
                most = math.max(most, now)
                exec.run("x")
                now = now - 1
            end)
        end)
        return { most, now }
    """).value == [2, 0]


@pytest.mark.parametrize(
    "source",
    [
        "goroutine.channel():receive()",
        "goroutine.channel():send(1)",
        "local g = goroutine.wait_group() g:add(1) g:wait()",
        "local a, b = goroutine.mutex(), goroutine.mutex()\n"
        "goroutine.map({ { a, b }, { b, a } }, function(pair)\n"
        "pair[1]:lock() goroutine.sleep(0.001) pair[2]:lock() end)",
        "local a, b\na = goroutine.spawn(function() goroutine.sleep(0) goroutine.wait(b) end)\n"
        "b = goroutine.spawn(function() goroutine.wait(a) end)\ngoroutine.wait(a)",
        "local c = goroutine.channel() goroutine.spawn(function() c:receive() end)",
    ],
)
def test_goroutines_that_all_wait_for_each_other_are_told_so(bench: Bench, source: str) -> None:
    error = bench.failure(source)
    assert "deadlock: every goroutine waits for another one" in error.detail
    assert "deploy.lua:" in error.detail


def test_a_goroutine_that_only_sleeps_or_calls_is_no_deadlock(bench: Bench) -> None:
    bench.main("""
        local channel = goroutine.channel()
        goroutine.spawn(function() goroutine.sleep(0.15) exec.run("x") channel:send("late") end)
        print(channel:receive())
    """)
    assert bench.context.lines == ["late\ttrue"]


def test_a_deadlock_can_be_caught(bench: Bench) -> None:
    bench.main("print(pcall(function() goroutine.channel():receive() end))")
    assert bench.context.lines[0].startswith("false\tdeploy.lua:1: deadlock")
