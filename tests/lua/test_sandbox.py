"""What a workflow cannot reach, starting from whatever it is given."""

import pytest

from lua.conftest import Bench, short
from sloth_runner.core.errors import CommandFailed, LuaFailure

WALK = """
local seen, found = {}, {}
local function visit(value, path)
  local kind = type(value)
  if kind == "userdata" and io.type(value) == nil then found[#found + 1] = path end
  if kind == "function" then return end
  local meta = getmetatable(value)
  if type(meta) == "table" and not seen[meta] then visit(meta, path .. "<meta>") end
  if kind ~= "table" or seen[value] then return end
  seen[value] = true
  for key, item in next, value do
    visit(key, path .. "<key>")
    visit(item, path .. "." .. tostring(key))
  end
end
"""


def test_no_python_object_is_reachable_from_the_error_of_a_failed_call(bench: Bench) -> None:
    def fail(arguments: object, location: object) -> None:
        raise CommandFailed("it broke", facts={"command": "false", "exit code": 1, "thing": {1, 2}})

    bench.context.handlers["exec.run"] = fail
    result = bench.main(
        WALK
        + """
        local ok, err = pcall(exec.run, { cmd = "false" })
        visit(err, "err")
        visit(_G, "_G")
        visit(getmetatable(err) or {}, "meta")
        return { found = found, ok = ok, python = tostring(python),
                 class = tostring(err.__class__), thing = type(err.thing) }
        """
    )
    assert result.value == {
        "found": {},
        "ok": False,
        "python": "nil",
        "class": "nil",
        "thing": "string",
    }


def test_an_error_of_python_itself_ends_the_task_and_is_never_seen_by_lua(bench: Bench) -> None:
    def broken(arguments: object, location: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    bench.context.handlers["exec.run"] = broken
    with pytest.raises(ZeroDivisionError):
        bench.main("pcall(exec.run, 'x') print('went on')")
    assert bench.context.lines == []


@pytest.mark.parametrize(
    "name",
    [
        "python",
        "string.dump",
        "debug.getupvalue",
        "debug.setupvalue",
        "debug.getregistry",
        "debug.sethook",
        "debug.getinfo",
        "debug.setmetatable",
        "debug.getlocal",
        "package.loadlib",
        "package.cpath",
        "package.searchers",
        "package.preload",
        "package.loaded.python",
        "package.loaded.debug.getupvalue",
        "package.loaded.package",
        "io.popen2",
    ],
)
def test_a_dangerous_name_is_gone(bench: Bench, name: str) -> None:
    assert bench.value(f"tostring({name})") == "nil"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('load("\\27Lua", "x", "b")', "binary"),
        ('assert(load("\\27Lua"))', "binary"),
        ("setmetatable({}, { __gc = function() end })", "__gc"),
        ("os.exit(0)", "os.exit"),
        ("os.setlocale('C')", "os.setlocale"),
        ("collectgarbage('stop')", "collectgarbage"),
        ("package.path = '/tmp/?.lua'", "no effect"),
        ("setmetatable(values, {})", "protected"),
        ("rawset(values, 'x', 1)", "cannot be changed"),
        ("values.x = 1", "cannot be changed"),
        ("getmetatable('').__index = nil", "index"),
        ("getmetatable(io.stdin).__gc = print", "index"),
        ("coroutine.resume((coroutine.running()))", "task or goroutine"),
        ("coroutine.close((coroutine.running()))", "task or goroutine"),
        ("coroutine.yield(1)", "goroutine.sleep"),
        ("require('../secret')", "not the name of a module"),
        ("require('/etc/passwd')", "not the name of a module"),
        ("require('a..b')", "not the name of a module"),
    ],
)
def test_what_is_refused_says_so(bench: Bench, source: str, words: str) -> None:
    error = bench.failure(source)
    assert isinstance(error, LuaFailure)
    assert words in error.detail
    assert short(error.location) == "deploy.lua:1"


def test_another_task_cannot_be_resumed_from_outside_while_it_waits(bench: Bench) -> None:
    bench.main("""
        local thread
        local other = goroutine.spawn(function()
            thread = coroutine.running()
            return exec.run({ "answer" }).changed
        end)
        goroutine.sleep(0.001)
        print(pcall(coroutine.resume, thread, 0, "\\0\\xc3"))
        print(pcall(coroutine.close, thread))
        print(goroutine.wait(other))
    """)
    assert [line.split("\t")[0] for line in bench.context.lines] == ["false", "false", "true"]
    assert bench.context.lines[-1] == "true"


def test_the_globals_can_be_replaced_without_breaking_what_is_ours(bench: Bench) -> None:
    bench.main("""
        for _, name in ipairs({ "error", "pcall", "type", "tostring", "next", "rawget", "load" }) do
            _G[name] = function() return "replaced" end
        end
        for key in pairs(string) do string[key] = nil end
        for key in pairs(table) do table[key] = nil end
        local result = pkg.install({ name = "x" })
        _G.kept = { result.status }
        log.info(json.encode({ 1, { a = "b" } }), tostring(1))
    """)
    assert bench.context.said == [("info", '[1,{"a":"b"}]\treplaced')]
    assert bench.context.called == [("pkg.install", [{"name": "x"}], "deploy.lua:7")]


def test_aliases_of_older_lua_work(bench: Bench) -> None:
    assert bench.value(
        '{ unpack({ 7 }), loadstring("return 8")(), table.getn({ 1, 2 }), math.pow(2, 3) }'
    ) == [7, 8, 2, 8]


def test_load_sees_the_globals_or_what_it_is_given(bench: Bench) -> None:
    bench.main("""
        limit = 3
        print(load("return limit")(), load("return limit", "x", "t", { limit = 4 })())
        print(load("return limit", "x", "t", {})())
        print(select(2, load("return +")))
    """)
    assert bench.context.lines[:2] == ["3\t4", "nil"]
    assert "unexpected symbol" in bench.context.lines[2]


def test_random_numbers_follow_the_seed_and_time_the_clock(bench: Bench) -> None:
    source = "return { math.random(1000000), os.time(), os.date('!%Y', os.time()) }"
    first = bench.main(source, seed=7, clock=86400.5).value
    again = bench.main(source, seed=7, clock=86400.5).value
    other = bench.main(source, seed=8, clock=86400.5).value
    assert first == again
    assert first[0] != other[0]
    assert first[1:] == [86400, "1970"]
