"""The modules that need no engine, and how those of the engine appear."""

import pytest

from lua.conftest import Bench, short
from sloth_runner.core.errors import ParamError, TaskError
from sloth_runner.lua import templates


def test_the_functions_of_the_engine_appear_under_their_dotted_names(bench: Bench) -> None:
    bench.context.handlers |= {
        "stack.state.get": lambda arguments, location: "deep",
        "compute_checksum": lambda arguments, location: "abc",
    }
    bench.main("""
        print(stack.state.get("k"), compute_checksum("/x"), type(pkg.install))
        print(rawget(_G, "exec").run({ "x" }).changed)
        _G.pkg_install = pkg.install
        pkg_install("from a global")
    """)
    assert bench.context.lines == ["deep\tabc\tfunction", "true"]
    assert bench.context.called[-1] == ("pkg.install", ["from a global"], "deploy.lua:5")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("pkg.install('x')", 1),
        ("local f = pkg.install\n\nf('x')", 3),
        ("local function g() pkg.install('x') end\ng()", 1),
        ("return pkg.install('x')", 1),
        ("pcall(pkg.install,\n'x')", 1),
        ("load('\\n\\npkg.install()', '@other.lua')()", 3),
        ("pkg.install {\n  name = 'x',\n}", 1),
    ],
)
def test_a_call_knows_its_line(bench: Bench, source: str, line: int) -> None:
    bench.main(source)
    assert bench.context.called[0][2].endswith(f".lua:{line}")


def test_facts_are_gathered_when_they_are_read_and_once_in_a_task(bench: Bench) -> None:
    bench.context.handlers["facts"] = lambda arguments, location: {"os": {"id": "debian"}, "n": 2}
    bench.tasks(
        """
        local lazy = facts
        task({ name = "a", run = function()
            print(facts.os.id, facts.n, facts.missing)
            for key in pairs(facts) do print(key) end
            print(json.encode(facts))
            print(pcall(function() facts.x = 1 end))
        end })
        task({ name = "b", run = function() end })
        """,
        "b",
        "a",
    )
    assert [name for name, _, _ in bench.context.called] == ["facts"]
    assert bench.context.lines[0] == "debian\t2\tnil"
    assert sorted(bench.context.lines[1:3]) == ["n", "os"]
    assert bench.context.lines[3] == '{"n":2,"os":{"id":"debian"}}'


def test_values_are_there_to_be_read(bench: Bench) -> None:
    bench.context.values = {"port": 80, "hosts": ["a", "b"], "deep": {"x": {"y": 1}}}
    bench.main("""
        print(values.port, #values.hosts, values.hosts[2], values.deep.x.y, values.none)
        for i, host in ipairs(values.hosts) do print(i, host) end
        print(next(values.deep) == "x", rawlen(values.hosts), table.unpack(values.hosts))
        print(pcall(function() values.deep.x.y = 2 end))
        print(table.concat(values.hosts, ","), json.encode(values))
    """)
    assert bench.context.lines[0] == "80\t2\tb\t1\tnil"
    assert bench.context.lines[1:3] == ["1\ta", "2\tb"]
    assert bench.context.lines[3] == "true\t2\ta\tb"
    assert bench.context.lines[4] == "false\tdeploy.lua:5: values cannot be changed"
    assert bench.context.lines[5] == 'a,b\t{"deep":{"x":{"y":1}},"hosts":["a","b"],"port":80}'


def test_print_and_log_say_what_they_are_given(bench: Bench) -> None:
    bench.main("""
        print("a", 1, 1.5, nil, true)
        print()
        log.debug("d") log.info("i", 2) log.warn("w") log.error("e")
        warn("care", "ful")
        print(setmetatable({}, { __tostring = function() return "shown" end }))
        print("caf\\xe9")
    """)
    assert bench.context.said == [
        ("info", "a\t1\t1.5\tnil\ttrue"),
        ("info", ""),
        ("debug", "d"),
        ("info", "i\t2"),
        ("warn", "w"),
        ("error", "e"),
        ("warn", "careful"),
        ("info", "shown"),
        ("info", "caf\udce9"),
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("json.encode({ b = 1, a = { 1, 2.0, 1.5 } })", '{"a":[1,2,1.5],"b":1}'),
        ("json.encode({})", "{}"),
        ("json.encode(json.array())", "[]"),
        ("json.encode(nil)", "null"),
        ("json.encode()", "null"),
        ("json.encode('\\xff')", '{"$bytes":"/w=="}'),
        ("json.decode('{\"$bytes\":\"/w==\"}') == '\\xff'", True),
        ("json.encode(json.decode('[]'))", "[]"),
        ("json.encode(json.decode('[1,null,{\"a\":null}]'))", "[1,null,{}]"),
        ("json.decode('1.0')", 1),
        ("json.decode('\"\\\\u00e9\"') == 'é'", True),
        ("json.pretty({ a = { 1 } })", '{\n  "a": [\n    1\n  ]\n}'),
        ("yaml.encode({ b = { 1, 'x' }, a = 'y: z' })", "a: 'y: z'\nb:\n- 1\n- x\n"),
        (
            "yaml.decode('a: [1, 2.0]\\nb: 2024-05-06\\n3: x\\ntrue: y')",
            {"a": [1, 2], "b": "2024-05-06", "3": "x", "true": "y"},
        ),
        ("yaml.decode('')", None),
        (
            "template.render('{{ a }}-{% for x in l %}{{ x }},{% endfor %}\\n', "
            "{ a = 1, l = { 'x', 'y' } })",
            "1-x,y,\n",
        ),
        ("template.render('<{{ a }}>', { a = '<&>' })", "<<&>>"),
        ("template.render('plain')", "plain"),
        ("sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha256('\\xff')", "a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89"),
    ],
)
def test_a_pure_function_gives(bench: Bench, expression: str, expected: object) -> None:
    assert bench.value(expression) == expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("json.decode('{')", "json.decode: Expecting property name"),
        ("json.decode('NaN')", "not a number that JSON can hold"),
        ("json.decode(('['):rep(100000))", "nested too deeply"),
        ("json.decode(1)", "json.decode takes text, not a number"),
        ("json.decode({})", "json.decode takes text, not a table"),
        ("json.decode()", "the text is missing"),
        ("json.encode(1, 2)", "json.encode takes 1 argument, not 2"),
        ("json.encode(print)", "json.encode: the value is a function"),
        ("json.encode({ a = print })", "json.encode: a is a function"),
        ("yaml.decode('a: [')", "yaml.decode: "),
        (
            "yaml.decode('!!python/object/apply:os.system [id]')",
            "could not determine a constructor",
        ),
        ("sha256({})", "sha256 takes text"),
        ("template.render('{{ a }}')", "template:1: 'a' is undefined"),
        ("template.render('\\n{% if %}')", "template:2: "),
        ("template.render('{{ 1 / 0 }}')", "division by zero"),
        ("template.render('{{ \"x\" * 10 ** 12 }}')", "would be larger than"),
        ("template.render('{{ 9 ** 999999999 }}')", "would be larger than"),
        (
            "template.render('{% for i in range(99999) %}{{ a }}{% endfor %}', "
            "{ a = ('x'):rep(9999) })",
            "is larger than",
        ),
        ("template.render('x', 1)", "the variables are a table, not a number"),
        ("json.array(1)", "a list is needed"),
    ],
)
def test_a_pure_function_says_what_is_wrong_at_the_line(
    bench: Bench, source: str, words: str
) -> None:
    error = bench.failure("\n" + source)
    assert words in str(error)
    assert short(error.location) == "deploy.lua:2"


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% for c in ().__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
        "{{ '%s'.format.__func__ }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(text: str) -> None:
    with pytest.raises(TaskError) as caught:
        templates.render(text, {"x": []}, "page.j2")
    assert "page.j2" in caught.value.detail
    assert caught.value.title == "the template cannot be rendered"


def test_a_template_that_lacks_a_name_says_which_line_and_which_names_there_are() -> None:
    with pytest.raises(TaskError) as caught:
        templates.render("a\nb\n{{ prot }}\n", {"port": 1}, "page.j2")
    assert caught.value.detail == "page.j2:3: 'prot' is undefined"
    assert caught.value.hint == "variables given: port"


def test_a_parameter_error_of_a_pure_function_can_be_caught(bench: Bench) -> None:
    bench.main("local ok, err = pcall(json.decode, '{') print(ok, err.code, err.title)")
    assert bench.context.lines == [f"false\t{ParamError.code}\t{ParamError.title}"]


@pytest.mark.parametrize(
    "text", ["a\r\n{{ n }}\r\n", "mix\r\n{{ n }}\nlone\rcr\n", "{% if n %}\r\nx{% endif %}\n"]
)
def test_the_line_ends_of_a_template_stay(text: str) -> None:
    rendered = templates.render(text, {"n": "1\x1c"}, "t")
    expected = text.replace("{{ n }}", "1\x1c").replace("{% if n %}", "").replace("{% endif %}", "")
    assert rendered == expected
