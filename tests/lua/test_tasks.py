"""workflow and task: what they declare, how they run, and when they have succeeded."""

import asyncio

import pytest

from lua.conftest import Bench, short
from sloth_runner.core.errors import (
    ConflictError,
    Location,
    LuaFailure,
    TaskTimedOut,
    WorkflowError,
)


def test_declarations_arrive_with_all_their_parameters(bench: Bench) -> None:
    program = bench.load("""
        workflow({ name = "web", description = "a site", delegate_to = "web1" })
        task({ name = "first", run = function() end })
        task({
            name = "second",
            description = "the second",
            depends_on = { "first", "first" },
            delegate_to = "db1",
            timeout = "1h30m",
            retries = 2,
            retry_delay = "300ms",
            tags = "slow",
            run = function() end,
        })
        task({ name = "third", depends_on = "second" })
    """)
    result = asyncio.run(program.main(bench.context))
    assert not result.skipped and result.unpredicted is None
    workflow = program.workflow
    assert (workflow.name, workflow.description, workflow.delegate_to) == ("web", "a site", "web1")
    assert short(workflow.location) == "deploy.lua:2"
    first, second, third = program.tasks
    assert [first.name, short(first.location), first.timeout] == ["first", "deploy.lua:3", None]
    assert second.depends_on == ("first",)
    assert (second.description, second.delegate_to) == ("the second", "db1")
    assert (second.timeout, second.retries, second.retry_delay) == (5400.0, 2, 0.3)
    assert second.tags == ("slow",)
    assert third.depends_on == ("second",)
    assert program.calls == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("task({ name = 'a', run = print, retires = 1 })", "did you mean 'retries'"),
        ("task({ name = 'a', run = print, runn = 1 })", "did you mean 'run'"),
        ("task({ run = print })", "a task needs a name"),
        ("task({ name = 7, run = print })", "parameter 'name': expected"),
        ("task({ name = '', run = print })", "parameter 'name': expected a name"),
        ("task({ name = 'a\\nb', run = print })", "in one line"),
        ("task({ name = 'main', run = print })", "cannot be named 'main'"),
        ("task({ name = 'a' })", "'run' is required"),
        ("task({ name = 'a', run = 'x' })", "'run' is a function, not string"),
        ("task({ name = 'a', run = print, on_success = 1 })", "'on_success' is a function"),
        ("task({ name = 'a', run = print, timeout = '5 minutes' })", "parameter 'timeout'"),
        ("task({ name = 'a', run = print, timeout = 0 })", "more than 0"),
        ("task({ name = 'a', run = print, retries = -1 })", "parameter 'retries'"),
        ("task({ name = 'a', run = print, retries = 1.5 })", "parameter 'retries'"),
        ("task({ name = 'a', run = print, depends_on = { x = 1 } })", "a list of names"),
        ("task({ name = 'a', run = print, depends_on = { 1 } })", "expected text"),
        ("task({ name = 'a', run = print, tags = { print } })", "tags[1] is a function"),
        ("task('a')", "a table is needed"),
        ("task({ 'a' })", "not a list"),
        ("workflow('a')", "a table is needed"),
        ("workflow({ nmae = 'a' })", "did you mean 'name'"),
        ("workflow({ name = {} })", "parameter 'name': expected text"),
    ],
)
def test_a_wrong_declaration_is_told_at_its_line(bench: Bench, source: str, words: str) -> None:
    error = bench.failure("local a = 1\n" + source)
    assert isinstance(error, WorkflowError | LuaFailure)
    assert words in error.detail
    assert short(error.location) == "deploy.lua:2"


def test_all_mistakes_of_a_declaration_are_told_at_once(bench: Bench) -> None:
    detail = bench.failure("task({ name = 'a', run = print, retires = 1, tagz = 2 })").detail
    assert "'retires'" in detail and "'tagz'" in detail


def test_two_tasks_of_one_name_are_an_error_that_names_both_lines(bench: Bench) -> None:
    error = bench.failure("""
        task({ name = "a", run = print })
        task({ name = "a", run = print })
    """)
    assert isinstance(error, ConflictError)
    assert "deploy.lua:2" in error.detail and "deploy.lua:3" in error.detail


def test_a_second_workflow_is_an_error_that_names_the_first(bench: Bench) -> None:
    error = bench.failure("workflow({ name = 'a' })\nworkflow({ name = 'b' })")
    assert isinstance(error, ConflictError)
    assert "deploy.lua:1" in error.detail


def test_a_task_inside_a_task_is_refused_with_advice(bench: Bench) -> None:
    with pytest.raises(WorkflowError, match="after the file's body had ended") as caught:
        bench.tasks(
            'task({ name = "a", run = function() task({ name = "b", run = print }) end })', "a"
        )
    assert "goroutine.spawn" in caught.value.hint


def test_run_is_given_the_host_the_attempt_and_the_results(bench: Bench) -> None:
    bench.context.host = "web1"
    bench.context.attempt = 3
    bench.context.results = {"build": {"version": "1.2"}, "none": None}
    [result] = bench.tasks(
        """
        task({ name = "a", run = function(ctx)
            local names = {}
            for name in pairs(ctx.results) do names[#names + 1] = name end
            print(pcall(function() ctx.results.x = 1 end))
            return { ctx.host, ctx.attempt, ctx.results.build.version,
                tostring(ctx.results.missing), ctx.task, #names }
        end })
        """,
        "a",
    )
    assert result.value == ["web1", 3, "1.2", "nil", "a", 1]
    assert "ctx.results cannot be changed" in bench.context.lines[0]


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        ("", None),
        ("return", None),
        ("return nil", None),
        ("return nil, 'ignored'", None),
        ("return true", True),
        ("return true, 'ignored'", True),
        ("return {}", {}),
        ("return { success = true, n = 1 }", {"success": True, "n": 1}),
        ("return { success = 'no' }", {"success": "no"}),
        ("return 0", 0),
        ("return 'text'", "text"),
    ],
)
def test_a_task_that_returns_has_succeeded(bench: Bench, returned: str, value: object) -> None:
    [result] = bench.tasks(f"task({{ name = 'a', run = function() {returned} end }})", "a")
    assert result.value == value
    assert not result.skipped


def test_what_a_task_returns_and_cannot_be_kept_is_a_warning_and_no_failure(bench: Bench) -> None:
    [result] = bench.tasks(
        "task({ name = 'a', run = function() return { ok = { f = print } } end })", "a"
    )
    assert result.value is None
    assert bench.context.said == [
        ("warn", "what task a returned is not kept: ok.f is a function, which is not data")
    ]


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ("false", False),
        ("true", True),
        ("1 == 1", True),
        ("nil", True),
        ("function() return false end", False),
        ("function() end", False),
        ("function(ctx) return ctx.host == 'local' end", True),
        ("function() return pkg.install('x').changed end", False),
        ("function() return 0 end", True),
    ],
)
def test_when_decides_whether_a_task_runs(bench: Bench, when: str, runs: bool) -> None:
    [result] = bench.tasks(
        f"""
        task({{ name = "a", when = {when}, run = function() print("ran") end,
            on_success = function() print("success") end,
            on_failure = function() print("failure") end }})
        """,
        "a",
    )
    assert result.skipped is not runs
    assert bench.context.lines == (["ran", "success"] if runs else [])


def test_an_error_in_when_fails_the_task(bench: Bench) -> None:
    with pytest.raises(LuaFailure, match="no idea"):
        bench.tasks(
            "task({ name = 'a', when = function() error('no idea') end, run = print })", "a"
        )


def test_on_success_is_given_the_result_and_belongs_to_the_success_of_the_task(
    bench: Bench,
) -> None:
    source = """
        task({ name = "a", run = function() return { n = 1 } end, on_success = function(result)
            print("success", result.n, exec.run("x").changed)
            if values.fail then error("on_success broke") end
        end, on_failure = function() print("failure") end })
    """
    [result] = bench.tasks(source, "a")
    assert result.value == {"n": 1}
    assert bench.context.lines == ["success\t1\ttrue"]
    bench.context.values = {"fail": True}
    with pytest.raises(LuaFailure, match="on_success broke"):
        bench.tasks(source, "a")


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ("run = function() error('broken', 0) end", "broken"),
        ("run = function() return false, 'why' end", "why"),
        ("run = function() return { success = false, message = 'm' } end", "m"),
        ("run = function() error({ code = 7 }) end", "7"),
        ("run = print, on_success = function() error('late', 0) end", "late"),
        ("run = print, when = function() error('early', 0) end", "early"),
    ],
)
def test_on_failure_is_given_the_error_as_it_was_raised(
    bench: Bench, fields: str, given: str
) -> None:
    bench.rescue(f"""
        task({{ name = "a", {fields}, on_failure = function(err)
            print(type(err) == "table" and err.code or err)
            exec.run("clean up")
        end }})
    """)
    assert bench.context.lines[-1] == given
    assert bench.context.called[0][1] == ["clean up"]


def test_on_failure_is_told_of_what_lua_did_not_see(bench: Bench) -> None:
    source = """
        task({ name = "a", run = print, on_failure = function(err)
            print(err.code, err.message, tostring(err))
        end })
    """
    bench.rescue(source, TaskTimedOut("it took 3 s", location=Location("/deploy.lua", 9)))
    message = "a deadline passed: it took 3 s"
    assert bench.context.lines == [f"SR2009\t{message}\t/deploy.lua:9: {message}"]


def test_an_error_in_on_failure_is_said_and_the_first_error_stays(bench: Bench) -> None:
    bench.context.task = "a"
    failure = bench.rescue("""
            task({ name = "a", run = function() error("the first") end,
                on_failure = function() error("the second") end })
    """)
    assert failure.detail == "the first"
    assert bench.context.said == [
        ("error", "on_failure of task a failed: deploy.lua:3: the second")
    ]


def test_a_task_can_be_run_again(bench: Bench) -> None:
    first, second = bench.tasks(
        "local n = 0 task({ name = 'a', run = function() n = n + 1 return n end })", "a", "a"
    )
    assert (first.value, second.value) == (1, 2)


def test_tasks_run_side_by_side_and_share_globals(bench: Bench) -> None:
    async def run() -> list[object]:
        program = bench.load("""
            local order = {}
            for _, name in ipairs({ "a", "b" }) do
                task({ name = name, run = function()
                    for i = 1, 2 do
                        order[#order + 1] = name .. i
                        exec.run("x")
                    end
                    return order
                end })
            end
        """)
        await program.main(bench.context)
        both = await asyncio.gather(
            program.run("a", bench.context), program.run("b", bench.context)
        )
        return [result.value for result in both]

    assert asyncio.run(run())[1] == ["a1", "b1", "a2", "b2"]


def test_calls_are_counted(bench: Bench) -> None:
    program = bench.load("pkg.install('a') pcall(pkg.install) print(json.encode(1))")
    asyncio.run(program.main(bench.context))
    assert program.calls == 2


def test_a_kept_function_can_be_called_with_data_and_makes_calls(bench: Bench) -> None:
    bench.context.handlers["resource.define"] = lambda arguments, location: arguments[0]["type"]
    bench.context.handlers["resource.ensure"] = lambda arguments, location: {"changed": True}

    async def run() -> list[object]:
        program = bench.load("""
            resource.define({ type = "thing", observe = function(spec, other)
                exec.run(spec.name)
                if spec.fail then error("cannot see it") end
                return { size = #spec.name, other = other == nil }
            end })
        """)
        await program.main(bench.context)
        [given] = bench.context.called[0][1]
        number = given["observe"]["$function"]
        good = await program.invoke(number, [{"name": "abc"}, None], bench.context)
        with pytest.raises(LuaFailure, match="cannot see it"):
            await program.invoke(number, [{"name": "x", "fail": True}], bench.context)
        return [given["type"], good, bench.context.called[1][1]]

    assert asyncio.run(run()) == ["thing", {"size": 3, "other": True}, ["abc"]]


def test_modules_beside_the_workflow_are_loaded_once(bench: Bench) -> None:
    bench.module(
        "lib/net.lua", "print('loading', ...) local r = exec.run('x') return { r = r.changed }"
    )
    bench.module("all/init.lua", "return { net = require('lib.net') }")
    bench.module("old.sloth", "answer = 42")
    bench.main("""
        print(require("lib.net").r, require("lib.net") == require("all").net)
        print(require("old"), answer, package.loaded["lib.net"].r)
        print(require("json") == json, require("string") == string)
    """)
    assert bench.context.lines[0].startswith("loading\tlib.net\t")
    assert bench.context.lines[1:] == ["true\ttrue", "true\t42\ttrue", "true\ttrue"]


def test_modules_that_require_each_other_are_an_error(bench: Bench) -> None:
    bench.module("a.lua", "return require('b')")
    bench.module("b.lua", "\nlocal a = require('a') return a")
    error = bench.failure("require('a')")
    assert "module 'a' requires itself" in error.detail
    assert short(error.location) == "b.lua:2"


def test_two_goroutines_that_load_one_module_at_once_load_it_once(bench: Bench) -> None:
    bench.module("slow.lua", "print('loading') exec.run('x') return { n = 1 }")
    bench.main("""
        local got = goroutine.map({ 1, 2, 3 }, function() return require("slow") end)
        print(got[1] == got[2], got[2] == got[3], got[1].n)
    """)
    assert bench.context.lines == ["loading", "true\ttrue\t1"]


def test_a_module_that_fails_can_be_required_again(bench: Bench) -> None:
    bench.module("bad.lua", "if not ready then error('not ready') end return { n = 1 }")
    bench.main("print(pcall(require, 'bad')) ready = true print(require('bad').n)")
    assert bench.context.lines == ["false\tbad.lua:1: not ready", "1"]


def test_a_module_that_is_not_there_or_not_lua_is_told_at_the_line(bench: Bench) -> None:
    bench.module("broken.lua", "return +")
    error = bench.failure("\nrequire('lib.none')")
    assert short(error.location) == "deploy.lua:2"
    assert "lib/none.lua, lib/none.sloth, lib/none/init.lua" in error.detail
    assert "broken.lua:1: unexpected symbol" in bench.failure("require('broken')").detail


def test_dofile_and_loadfile_start_at_the_folder_of_the_workflow(bench: Bench) -> None:
    bench.module("lib/part.lua", "return exec.run('x').changed, ...")
    bench.main("""
        print(dofile("lib/part.lua"))
        print(loadfile("lib/part.lua")("arg"))
        print(loadfile("none.lua"))
    """)
    assert bench.context.lines[:2] == ["true", "true\targ"]
    assert "No such file" in bench.context.lines[2]
