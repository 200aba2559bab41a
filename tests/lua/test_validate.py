"""The static check: what it finds, exactly where, and what it must leave alone."""

import json
import re
import time
from pathlib import Path

import pytest

from sloth_runner.cli.app import call
from sloth_runner.lua import declarations, vocabulary
from sloth_runner.lua.graphs import KEYS
from sloth_runner.lua.problems import Problem
from sloth_runner.lua.syntax import UNKNOWN, Source, descendants, literal, workflow_name
from sloth_runner.lua.validate import validate, validate_source

GUIDE = Path(__file__).parents[3] / "shared" / "reference" / "GUIDE.md"


def problems(source: str) -> list[Problem]:
    return validate_source(source.encode("utf-8", "surrogateescape"), "site.lua")


def only(source: str) -> Problem:
    [problem] = problems(source)
    return problem


def marked(source: str, problem: Problem) -> str:
    """Returns the text that a problem points at."""
    line = source.split("\n")[problem.line - 1]
    return line[problem.column - 1 : problem.column - 1 + problem.length]


def task(body: str) -> str:
    return f'task({{ name = "t", run = function()\n{body}\nend }})'


@pytest.mark.parametrize(
    ("source", "code", "points_at", "says"),
    [
        (task('pkg.instal({ name = "x" })'), "SR1202", "pkg.instal", '"pkg.install"'),
        (task("stack.get_nme()"), "SR1202", "stack.get_nme", '"stack.get_name"'),
        (task('stack.state.sett("a", 1)'), "SR1202", "stack.state.sett", '"stack.state.set"'),
        (task("goroutine.mapp({})"), "SR1202", "goroutine.mapp", '"goroutine.map"'),
        (task("local x = json.encod"), "SR1202", "json.encod", '"json.encode"'),
        (task('string.fromat("x")'), "SR1202", "string.fromat", '"string.format"'),
        (task('pkg.install({ name = "x", versoin = "1" })'), "SR1203", "versoin", '"version"'),
        (task('pkg.latest({ name = "x", version = "1" })'), "SR1203", "version", "has no"),
        (task('stack.register_resource({ typ = "x" })'), "SR1203", "typ", '"type"'),
        ('workflow({ nam = "x" })', "SR1203", "nam", '"name"'),
        (
            task('file_ops.copy({ src = "a", dest = "/b", mode = 644 })'),
            "SR1204",
            "644",
            'expected text such as "0644", got the number 644',
        ),
        (
            task('file_ops.content({ path = "b", content = "" })'),
            "SR1204",
            '"b"',
            "expected an absolute path",
        ),
        (task('file_ops.copy({ src = "a", dest = "b" })'), "SR1204", '"b"', '"dest": expected an'),
        (task('pkg.install({ names = { "a", 5 } })'), "SR1204", "5", "expected text"),
        (task("pkg.install(5)"), "SR1204", "5", "takes a table"),
        (task('pkg.install({ name = "x", state = "presnt" })'), "SR1204", '"presnt"', '"present"'),
        (task('stack.update_resource("a", "b", { state = "done" })'), "SR1204", '"done"', "state"),
        (task('file_ops.content({ path = "/b" })'), "SR1205", '{ path = "/b" }', '"content"'),
        (task("pkg.install()"), "SR1205", "pkg.install", 'needs "name"'),
        (task('pkg("nginx")'), "SR1202", "pkg", "a module"),
        ('workflow("web")', "SR1204", '"web"', "a table"),
        ('task("a", print)', "SR1204", '"a"', "a table"),
        ('task({ name = "a", run = 5 })', "SR1204", "5", "expected a function"),
        ('task({ name = "a", retries = -1, run = f.g })\nf = {}', "SR1204", "-1", "whole number"),
        ('task({ name = "a", timeout = "5x", run = os.time })', "SR1204", '"5x"', "5m"),
        ('task({ name = "main", run = os.time })', "SR1300", '"main"', "body"),
        ('task({ run = os.time })', "SR1205", "{ run = os.time }", "name"),
        ('task({ name = "a" })', "SR1205", '{ name = "a" }', '"run"'),
        (
            'task({ name = "a", depends_on = { "b" }, run = os.time })',
            "SR1300",
            '"b"',
            'depends on "b", which is not a task',
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_found_and_pointed_at(
    source: str, code: str, points_at: str, says: str
) -> None:
    problem = next(p for p in problems(source) if p.severity == "error")
    assert problem.code == code
    assert marked(source, problem) == points_at
    assert says in problem.message


@pytest.mark.parametrize(
    "source",
    [
        "local pkg = { instal = print }\npkg.instal({ nme = 1 })",
        "local function f(pkg) pkg.whatever() end\nf({})",
        "for _, user in ipairs({}) do user.anything() end",
        "function pkg.mine() end\npkg.mine()",
        "pkg.extra = print\npkg.extra(5)",
        "local o = { mode = 644 }\nfile_ops.content(o)",
        'local k = "nme"\npkg.install({ name = "a", [k] = 1 })',
        'pkg.install({ name = "a", version = wanted })\nlocal _ = 1\nfunction wanted() end',
        'pkg.install("nginx")\npkg.install "nginx"\npkg.install{ name = "nginx" }',
        'pkg.install({ name = "nginx", delegate_to = "web1" })',
        'pkg.install({ names = { "nginx", "git" }, state = "latest" })',
        'file_ops.copy({ src = "beside/the/workflow", dest = "/etc/x" })',
        'file_ops.template({ src = "a.j2", dest = "/etc/x", vars = { a = 1 } })',
        'for i = 1, 3 do task({ name = "t" .. i, depends_on = { "t0" }, run = print }) end',
        'task({ name = "a", depends_on = "b", run = print })\ntask({ name = "b", run = print })',
        'if os.time() > 9 then\ntask({ name = "a", depends_on = "b", run = print })\n'
        'task({ name = "b", run = print })\nelse\ntask({ name = "a", run = print })\n'
        'task({ name = "b", depends_on = "a", run = print })\nend',
        'print(unpack({}), table.getn({}), math.pow(2, 3), loadstring("x"))',
        "print(facts.anything, values.anything, _VERSION)",
        'local s = "x"\nprint(s:upper():lower(), ("x"):rep(3))',
        'print(os.time(), os.getenv("HOME"), os.date("%Y"), os.clock(), os.tmpname())',
        'for line in io.lines("/etc/hosts") do io.write(line) end\nio.stdout:write("x")',
        "goto done\n::done::",
        "for i = 1, 3 do for j = 1, 3 do if j == 2 then goto next end ::next:: end end",
        "print(7 // 2, 7 % 3, 2 ^ 10, 5 & 3 | 1 ~ 2, ~0, 1 << 4 >> 2, 1 .. 2, not nil ~= true)",
        "print(0x1p4, 0xA.8p0, 1e-3, .5, 3., 0xffffffffffffffff, 1 // 0.0)",
        "print([[long\n]==] string]], [==[a ]] b]==], \"\\u{1F600}\\x41\\065\\z\n   b\", '\\n')",
        "--[[ a\nblock ]] print(1) --[==[ another ]==] print(2) -- to the end",
        "local function f(...) local a, b = ... return select('#', ...), a end\nprint((f(1, 2)))",
        "local t = setmetatable({}, { __index = function(_, k) return k end })\nt()",
        "local P = {} P.__index = P function P.new() return setmetatable({}, P) end\n"
        "function P:m(x) return self, x end\nP.new():m(1):m(2)",
        "local a <const>, b = 1, 2\nwhile b < 5 do b = b + a if b == 4 then break end end",
        "do local x = 1; (function() x = x + 1 end)(); print(x) end;;;",
        'local m = require("roles.web")\nm.setup({ any = 1 })\nm.x.y.z("a")',
        "local co = coroutine.wrap(function(a) local b = coroutine.yield(a) return b end)\nco(1)",
        "local s <close> = setmetatable({}, { __close = function() end })",
        'local t = { 1, 2, n = 3, ["a b"] = 4, [5] = 6; f = function() end, }\nprint(#t, t["a b"])',
        "local _ENV = { print = print }\nprint(anything)\nx, pkg.any = 1, 2\npkg.wrong()",
        "local function apart(_ENV) mine = 2 return mine end\nprint(apart({}))",
        "_ENV = setmetatable({}, { __index = _ENV })\nmine = 1\nprint(mine, _ENV.other)",
        "for name in pairs(_G) do _G[name .. 2] = 1 end\nprint(docker)",
        "if _G.docker then print(_G.docker) end",
        "_G.pkg.mine = print\npkg.mine(5)",
        'print(("%d"):format(3), #"abc", -2 ^ 2, "a" < "b", nil == false)',
        "local ok, err = pcall(error, { code = 1 })\nif not ok then print(err.code) end",
        "local stack = { n = 0 }\nfunction stack.push() stack.n = stack.n + 1 end\nstack.push()",
        "print(1)\r\nprint(2)\r\n",
        "print(string.pack('<i4', 1), utf8.char(228), table.unpack({ 1 }), math.type(1))",
        'if pkg then local install = pkg.install install("x") end',
        "return { success = true }",
        "local x <const> = 1\nlocal y <close> = nil\nprint(x, y)",
        "local t = {}\nfunction t.a.b:c() return self end",
        "repeat local done = true until done",
        "#!/usr/bin/env sloth-runner\nprint(1)",
        "\ufeffprint(1)",
        'resource.define({ type = "x", observe = print, create = print })',
        "--db",
        "",
    ],
)
def test_what_is_not_certainly_wrong_is_left_alone(source: str) -> None:
    assert problems(source) == []


@pytest.mark.parametrize(
    ("source", "line", "column", "says"),
    [
        ('task({\n  name = "a"\n  run = 1\n})', 3, 3, "'}' expected (to close '{' at line 1)"),
        ("local x = = 5", 1, 11, "unexpected symbol near '='"),
        ("if x then\n", 2, 1, "'end' expected"),
        ("local x <const> = 1\nx = 2", 2, 1, "attempt to assign to const variable 'x'"),
        ("goto nowhere", 1, 1, "no visible label 'nowhere'"),
        ("do\n  goto nowhere\nend\n\n", 2, 3, "no visible label 'nowhere'"),
        ("print(1)\nbreak\nprint(2)\n", 2, 1, "break outside loop"),
        ("local a, b <cosnt> = 1", 1, 13, "unknown attribute 'cosnt'"),
        ('x = "open\n', 1, 5, "unfinished string"),
    ],
)
def test_syntax_errors_are_in_the_words_of_lua(
    source: str, line: int, column: int, says: str
) -> None:
    problem = only(source)
    assert (problem.code, problem.line) == ("SR1001", line)
    assert says in problem.message
    assert problem.column == column


def test_all_problems_are_reported_at_once_in_order() -> None:
    source = "\n".join(
        [
            'workflow({ nam = "x" })',
            'task({ name = "a", depends_on = { "b" }, run = function()',
            '  pkg.instal("x")',
            '  file_ops.content({ path = "/x", content = "", mode = 644, ower = "root" })',
            "end })",
            'task({ name = "b", depends_on = { "a" }, run = print })',
            'task({ name = "b", run = print })',
        ]
    )
    assert [(p.line, p.code) for p in problems(source)] == [
        (1, "SR1203"),
        (2, "SR1310"),
        (3, "SR1202"),
        (4, "SR1204"),
        (4, "SR1203"),
        (7, "SR1300"),
    ]


def test_a_cycle_is_named_from_its_first_task() -> None:
    source = "\n".join(
        f'task({{ name = "{name}", depends_on = {{ "{needs}" }}, run = print }})'
        for name, needs in (("a", "c"), ("b", "a"), ("c", "b"), ("d", "a"))
    )
    problem = only(source)
    assert problem.code == "SR1310"
    assert problem.message in ("a → c → b → a", "a → b → c → a")
    assert (problem.line, marked(source, problem)) == (1, '"a"')


def test_names_without_a_definition_are_warnings_each_once() -> None:
    found = problems("create_database(1)\ncreate_database(2)\nprint(conection)")
    assert [(p.severity, p.code, p.line) for p in found] == [
        ("warning", "SR1401", 1),
        ("warning", "SR1401", 3),
    ]


def test_code_from_elsewhere_may_define_anything_but_typing_mistakes() -> None:
    found = problems('require("lib")\nhelper()\npgk.install("x")\n')
    assert [p.message for p in found] == ['"pgk" is not defined in this file; did you mean "pkg"?']


@pytest.mark.parametrize(
    "source",
    ["_G.x = 1\nprint(x)", "x = 1\nprint(x)", '_ENV["x"] = 1\nprint(x)', "_ENV.x = 1\nprint(x)"],
)
def test_globals_are_warned_about(source: str) -> None:
    problem = only(source)
    assert (problem.severity, problem.code, problem.line) == ("warning", "SR1402", 1)


def test_a_global_function_is_no_finding() -> None:
    assert problems("function helper() return 1 end\nhelper()") == []


def test_columns_count_characters() -> None:
    source = 'local a, b = "日本", pkg.instal("x")'
    assert marked(source, only(source)) == "pkg.instal"


def test_deep_and_long_expressions_are_no_obstacle() -> None:
    assert problems("print(" + " + ".join(["1"] * 5000) + ")") == []
    assert problems("print(" + "(" * 150 + "1" + ")" * 150 + ")") == []


@pytest.mark.parametrize("deep", ["(" * 3000 + "1" + ")" * 3000, "{" * 3000 + "}" * 3000])
def test_what_is_nested_too_deeply_for_lua_is_a_mistake_in_its_syntax(deep: str) -> None:
    found = only(f"user.create({{ name = {deep} }})")
    assert (found.code, "overflow" in found.message) == ("SR1001", True)


def test_bytes_that_are_no_text_are_checked_all_the_same() -> None:
    found = problems('-- \udcff\npkg.instal("\udcfe")')
    assert [p.code for p in found] == ["SR1202"]


def test_three_thousand_lines_take_less_than_300_ms() -> None:
    body = task(
        'local r = pkg.install({ name = "nginx", state = "present" })\n'
        'if r.changed then print("x" .. r.status) end\n'
        'file_ops.content({ path = "/x", content = "a", mode = "0644" })'
    )
    source = "\n".join(body.replace('"t"', f'"t{number}"') for number in range(600))
    assert source.count("\n") >= 2999
    times = []
    for _ in range(3):
        began = time.process_time()
        assert problems(source) == []
        times.append(time.process_time() - began)
    assert min(times) < 0.3


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
def test_the_guide_has_nothing_but_names_that_its_blocks_leave_undefined() -> None:
    blocks = re.findall(r"```lua\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) > 10
    found = [problem for block in blocks for problem in problems(block)]
    undefined = {p.message for p in found if p.code == "SR1401"}
    assert undefined == {
        f'"{name}" is not defined in this file'
        for name in ("src", "dst", "new_properties", "connection_string", "do_custom_setup",
                     "create_database")
    }  # fmt: skip
    others = [(p.code, p.message) for p in found if p.code != "SR1401"]
    assert others == [
        ("SR1402", '"db_connection" is a global variable: it is lost when the run ends'),
        ("SR1300", 'task "configure" depends on "install", which is not a task'),
    ]


def test_the_vocabulary_is_what_a_workflow_really_finds(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    flow = tmp_path / "names.lua"
    flow.write_text(
        "local globals, modules = {}, {}\n"
        "local function list(name, t)\n"
        "  modules[name] = json.array()\n"
        "  for key, value in pairs(t) do\n"
        "    table.insert(modules[name], key)\n"
        '    if name == "stack" and type(value) == "table" then list("stack." .. key, value) end\n'
        "  end\n"
        "end\n"
        "for key, value in pairs(_G) do\n"
        "  globals[#globals + 1] = key\n"
        '  if type(value) == "table" and not ("_G package values facts"):find(key, 1, true) then\n'
        "    list(key, value)\n"
        "  end\n"
        "end\n"
        "print(json.encode({ globals = globals, modules = modules }))\n"
        'task({ name = "t", run = print })\n'
    )
    assert call(["--db", str(tmp_path / "db"), "run", str(flow), "--yes"]) == 0
    told = capfdbinary.readouterr().out.splitlines()
    found = json.loads(next(line for line in told if line.startswith(b'{"globals"')))
    assert set(found["globals"]) == set(vocabulary.vocabulary().names)
    expected = {**vocabulary.vocabulary().modules, **vocabulary.LIBRARY}
    expected.pop("package")
    assert {name: set(keys) for name, keys in found["modules"].items()} == {
        name: set(keys) for name, keys in expected.items()
    }


def test_the_keys_of_declarations_are_those_that_are_taken() -> None:
    for what, known in KEYS.items():
        taken = {*declarations._FIELDS[what], *declarations._FUNCTIONS[what]}
        assert set(known) == taken


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"a\\n\\65\\x42\\u{e9}\\z  b"', "a\nAB\u00e9b"),
        ("'it\\'s'", "it's"),
        ("[[\nlong\n]]", "long\n"),
        ("[==[a]]b]==]", "a]]b"),
        ('"\\255"', "\udcff"),
        ("0x1F", 31),
        ("1e3", 1000),
        ("-1.5", -1.5),
        ("{ 1, 2 }", [1, 2]),
        ('{ a = 1, ["b c"] = { true } }', {"a": 1, "b c": [True]}),
        ("{ 1, a = 2 }", UNKNOWN),
        ("nil", None),
        ("f()", UNKNOWN),
        ('"a" .. "b"', UNKNOWN),
    ],
)
def test_literals_mean_what_lua_means(written: str, value: object) -> None:
    root = Source(f"return {written}".encode()).root
    expression = next(n for n in descendants(root) if n.type == "expression_list").named_children[0]
    assert literal(expression) == value


def test_the_name_of_a_workflow_is_read_without_running_it() -> None:
    assert workflow_name(b'-- x\nworkflow({ description = "d", name = "web" })') == "web"
    assert workflow_name(b'workflow{ name = "a" .. "b" }') is None
    assert workflow_name(b'print("workflow")') is None
    assert workflow_name(b"workflow({ name = ") is None


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    [problem] = validate(str(tmp_path / "nothing.lua"))
    assert (problem.code, problem.severity) == ("SR1002", "error")


def test_the_command_exits_2_for_errors_and_0_for_warnings(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "wrong.lua").write_text('pkg.instal("x")\n')
    (tmp_path / "warn.lua").write_text("x = 1\n")
    assert call(["validate", str(tmp_path / "warn.lua")]) == 0
    assert call(["validate", str(tmp_path / "wrong.lua"), str(tmp_path / "warn.lua")]) == 2
    told = capfdbinary.readouterr().out.decode()
    assert "1 error and 1 warning in 2 files." in told
    assert call(["validate", "--json", str(tmp_path / "wrong.lua")]) == 2
    document = json.loads(capfdbinary.readouterr().out)
    [error] = document["errors"]
    assert (error["line"], error["column"], error["code"]) == (1, 1, "SR1202")
    assert document["warnings"] == []
