"""What an error says: its text, its place, its traceback, and the diagnosis of a call."""

import pytest

from lua.conftest import Bench, short
from sloth_runner.core.errors import (
    CommandFailed,
    Location,
    LuaFailure,
    TaskError,
    Unreachable,
    UsageError,
    WorkflowError,
)


def failing(error: Exception) -> object:
    def fail(arguments: object, location: object) -> None:
        raise error

    return fail


def test_a_call_that_fails_is_a_table_with_the_whole_diagnosis(bench: Bench) -> None:
    bench.context.handlers["exec.run"] = failing(
        CommandFailed(
            "make ended with 2",
            hint="read its output",
            facts={"host": "web1", "command": "make", "exit code": 2, "stderr": "no rule\n"},
        )
    )
    result = bench.main("""
        local ok, err = pcall(function()
            exec.run("make")
        end)
        print(err)
        print("it said: " .. err, err .. "!")
        return { ok = ok, code = err.code, title = err.title, detail = err.detail,
            message = err.message, hint = err.hint, host = err.host, command = err.command,
            exit_code = err.exit_code, stderr = err.stderr, file = err.file, line = err.line }
    """)
    text = "deploy.lua:3: a command failed: make ended with 2"
    assert bench.context.lines == [text, f"it said: {text}\t{text}!"]
    assert result.value == {
        "ok": False,
        "code": "SR2101",
        "title": "a command failed",
        "detail": "make ended with 2",
        "message": "a command failed: make ended with 2",
        "hint": "read its output",
        "host": "web1",
        "command": "make",
        "exit_code": 2,
        "stderr": "no rule\n",
        "file": "deploy.lua",
        "line": 3,
    }


@pytest.mark.parametrize(
    "call", ["json.decode('{')", "yaml.decode('a: [')", "sha256(nil)", "template.render('{{', {})"]
)
def test_what_is_only_computed_fails_with_the_line_that_asked_for_it(
    bench: Bench, call: str
) -> None:
    bench.main(f"""
        local ok, err = pcall(function()
            local never = {call}
        end)
        print(tostring(err):match("^deploy.lua:%d+: "), err.file, err.line)
    """)
    assert bench.context.lines == ["deploy.lua:3: \tdeploy.lua\t3"]


@pytest.mark.parametrize(
    "way",
    [
        "exec.run('x')",
        "local ok, err = pcall(exec.run, 'x') error(err)",
        "local ok, err = pcall(exec.run, 'x') return ok, err",
        "xpcall(exec.run, error, 'x') exec.run('x')",
        "assert(pcall(exec.run, 'x'))",
        "coroutine.wrap(function() exec.run('x') end)()",
        "goroutine.wait(goroutine.spawn(exec.run, 'x'))",
        "goroutine.spawn(exec.run, 'x')",
    ],
)
def test_a_failure_of_a_call_leaves_the_program_as_the_very_same_error(
    bench: Bench, way: str
) -> None:
    original = CommandFailed("make ended with 2", facts={"exit code": 2})
    bench.context.handlers["exec.run"] = failing(original)
    assert bench.failure(way) is original
    assert short(original.location) == "deploy.lua:1"


def test_a_place_that_the_engine_gave_is_kept(bench: Bench) -> None:
    original = TaskError("no", location=Location("/elsewhere.lua", 9))
    bench.context.handlers["exec.run"] = failing(original)
    assert bench.failure("exec.run('x')") is original
    assert original.location == Location("/elsewhere.lua", 9)


@pytest.mark.parametrize(
    ("source", "detail", "place"),
    [
        ("local x = nil\nx.y = 1", "attempt to index a nil value (local 'x')", "deploy.lua:2"),
        ("error('no luck')", "no luck", "deploy.lua:1"),
        ("error('no luck', 0)", "no luck", "deploy.lua:1"),
        ("local function f()\nerror('no luck', 2)\nend\n\nf()", "no luck", "deploy.lua:5"),
        ("error({ message = 'a table', n = 1 })", "a table", "deploy.lua:1"),
        ("error({ reason = 'a table' })", "a table", "deploy.lua:1"),
        ("error({ 'first' })", "first", "deploy.lua:1"),
        ("error({ b = 2, a = true })", "{a = true, b = 2}", "deploy.lua:1"),
        ("error({})", "a table was raised", "deploy.lua:1"),
        (
            "error(setmetatable({}, { __tostring = function() return 'shown' end }))",
            "shown",
            "deploy.lua:1",
        ),
        (
            "error(setmetatable({}, { __tostring = function() error('worse') end }))",
            "a table was raised",
            "deploy.lua:1",
        ),
        ("error()", "an error without a value was raised: error(nil)", "deploy.lua:1"),
        ("error(nil)", "an error without a value was raised: error(nil)", "deploy.lua:1"),
        ("error(42)", "42", "deploy.lua:1"),
        ("error(print)", None, "deploy.lua:1"),
        ("\nassert(false, 'asserted')", "asserted", "deploy.lua:2"),
        ("\nassert(nil)", "assertion failed!", "deploy.lua:2"),
        ("error('http://host:80: refused')", "http://host:80: refused", "deploy.lua:1"),
        ("return false, 'why'", "why", "deploy.lua:1"),
        ("return false", "the task returned false", "deploy.lua:1"),
        ("return { success = false, message = 'm' }", "m", "deploy.lua:1"),
        ("return { success = false, error = 'e' }", "e", "deploy.lua:1"),
        ("return { success = false }", "the task returned success = false", "deploy.lua:1"),
        ("error('caf\\xe9')", "caf\udce9", "deploy.lua:1"),
        ("local function f() return f() + 1 end f()", None, "deploy.lua:1"),
        (
            "string.rep()",
            "bad argument #1 to 'rep' (string expected, got no value)",
            "deploy.lua:1",
        ),
        (
            "os.remove()",
            "bad argument #1 to 'remove' (string expected, got no value)",
            "deploy.lua:1",
        ),
        ("print(('x'):bad())", "attempt to call a nil value (method 'bad')", "deploy.lua:1"),
        ("pkg.install(function() end)", None, "deploy.lua:1"),
    ],
)
def test_every_kind_of_error_has_its_text_and_its_place(
    bench: Bench, source: str, detail: str | None, place: str
) -> None:
    error = bench.failure(source)
    assert type(error) is LuaFailure
    assert short(error.location) == place
    assert detail is None or error.detail == detail
    assert error.detail


def test_the_traceback_names_the_functions_of_the_workflow_and_none_of_ours(bench: Bench) -> None:
    bench.module(
        "lib/web.lua",
        """
        local M = {}
        function M.install(name)
            local result = pkg.instal({ name = name })
            return result
        end
        return M
        """,
    )
    error = bench.failure("""
        local web = require("lib.web")
        local function setup()
            for _, name in ipairs({ "nginx" }) do
                local ok = web.install(name)
            end
        end
        setup()
    """)
    assert short(error.location) == "web.lua:4"
    assert str(error.location).endswith("/lib/web.lua:4")
    assert error.detail == "pkg has no function 'instal'; did you mean 'pkg.install'?"
    assert error.traceback.splitlines() == [
        "lib/web.lua:4: in field 'install'",
        "deploy.lua:5: in local 'setup'",
        "deploy.lua:8: in the body of the file",
    ]


def test_debug_traceback_returns_text_of_the_workflow_only(bench: Bench) -> None:
    bench.main("""
        local function inner()
            local text = debug.traceback("here")
            return text
        end
        local text = inner()
        print(text)
        print(debug.traceback({}) ~= nil, xpcall(error, debug.traceback, "oops"))
        local co = coroutine.create(function()
            coroutine.yield()
        end)
        coroutine.resume(co)
        print((debug.traceback(co)))
    """)
    assert bench.context.lines[0].splitlines()[:3] == [
        "here",
        "stack traceback:",
        "deploy.lua:3: in local 'inner'",
    ]
    assert "sloth-runner" not in "".join(bench.context.lines)
    assert bench.context.lines[1].startswith("true\tfalse\toops\nstack traceback")
    assert "deploy.lua:10: in the function defined at line 9" in bench.context.lines[2]


def test_a_mistyped_module_or_function_is_answered_with_the_right_one(bench: Bench) -> None:
    assert bench.failure("pgk.install('x')").hint == "did you mean 'pkg'?"
    assert bench.failure("pritn('x')").hint == "did you mean 'print'?"
    assert bench.failure("frobnicate('x')").hint == ""
    assert "did you mean 'json.encode'?" in bench.failure("json.enocde(1)").detail
    assert "it has: install, remove" in bench.failure("pkg.xyzzy(1)").detail


def test_a_mistake_in_the_syntax_is_told_in_the_words_of_lua(bench: Bench) -> None:
    with pytest.raises(WorkflowError) as caught:
        bench.load("local a = 1\nlocal b = = 2\n")
    assert short(caught.value.location) == "deploy.lua:2"
    assert caught.value.detail == "unexpected symbol near '='"
    assert (caught.value.title, caught.value.code) == ("syntax error", "SR1001")


def test_a_file_that_is_not_there_is_wrong_input(bench: Bench) -> None:
    from sloth_runner.lua import LuaProgram

    with pytest.raises(UsageError, match="No such file"):
        LuaProgram.load(str(bench.folder / "missing.lua"))


def test_several_failures_of_one_kind_stay_of_that_kind(bench: Bench) -> None:
    def unreachable(arguments: list[str], location: object) -> None:
        raise Unreachable(f"{arguments[0]} does not answer", hint="look at its network")

    bench.context.handlers["exec.run"] = unreachable
    error = bench.failure("goroutine.map({ 'web1', 'web2' }, function(host) exec.run(host) end)")
    assert type(error) is Unreachable
    assert error.hint == "look at its network"
    assert "2 of 2 failed: [1] deploy.lua:1: a host cannot be reached: web1" in error.detail
    assert list(error.facts) == ["1", "2"]


def test_an_error_in_a_byte_order_marked_script_with_a_shebang_has_its_line(bench: Bench) -> None:
    error = bench.failure(b"\xef\xbb\xbf#!/usr/bin/env sloth-runner\nlocal a\nerror('here')")
    assert short(error.location) == "deploy.lua:3"
