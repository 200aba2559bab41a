"""io and os: natively in a run; in a preview nothing is written, and all of it is read back."""

from pathlib import Path

import pytest

from lua.conftest import Bench
from sloth_runner.core.errors import CommandFailed
from sloth_runner.engine.program import Answer

SCRIPT = """
    local function read(name)
        local file = io.open(FOLDER .. name)
        if not file then return nil end
        local text = file:read("a")
        file:close()
        return text
    end
    local out = {}
    local file = assert(io.open(FOLDER .. "new.txt", "w"))
    out[#out + 1] = io.type(file)
    assert(file:write("one\\n", 2, "\\nthree") == file)
    out[#out + 1] = file:seek("cur")
    file:seek("set", 4)
    file:write("TWO")
    file:close()
    out[#out + 1] = io.type(file)
    out[#out + 1] = read("new.txt")
    file = io.open(FOLDER .. "new.txt", "a")
    file:write("!")
    file:seek("set", 0)
    file:write("?")
    file:close()
    out[#out + 1] = read("new.txt")
    for line in io.lines(FOLDER .. "new.txt") do out[#out + 1] = "<" .. line .. ">" end
    for a, b in io.lines(FOLDER .. "new.txt", 2, "L") do out[#out + 1] = a .. "|" .. tostring(b) end
    file = io.open(FOLDER .. "old.txt", "r+")
    out[#out + 1] = file:read("n", "n", "l", "L", 3, "a")
    file:seek("end", -1)
    out[#out + 1] = file:read(1)
    out[#out + 1] = tostring(file:read(1)) .. tostring(file:read("l")) .. file:read("a") .. "."
    file:seek("set")
    file:write("99")
    file:close()
    out[#out + 1] = read("old.txt")
    out[#out + 1] = tostring(os.rename(FOLDER .. "old.txt", FOLDER .. "moved.txt"))
    out[#out + 1] = tostring(read("old.txt")) .. tostring(read("moved.txt") ~= nil)
    out[#out + 1] = tostring(os.remove(FOLDER .. "new.txt")) .. tostring(read("new.txt"))
    out[#out + 1] = select("#", os.remove(FOLDER .. "new.txt"))
    out[#out + 1] = select(3, os.rename(FOLDER .. "none", FOLDER .. "other"))
    out[#out + 1] = select(3, io.open(FOLDER .. "none"))
    out[#out + 1] = select(3, io.open(FOLDER .. "no/where", "w"))
    out[#out + 1] = select(3, io.open(FOLDER .. "none", "r+"))
    file = io.open(FOLDER .. "w+.txt", "w+")
    file:write("a\\nb")
    file:seek("set")
    out[#out + 1] = file:read("l") .. file:read("l")
    out[#out + 1] = tostring(pcall(file.read, file, "x"))
    file:close()
    out[#out + 1] = tostring(pcall(file.read, file))
    out[#out + 1] = tostring(pcall(io.open, FOLDER .. "x", "q"))
    file = io.open(FOLDER .. "moved.txt")
    out[#out + 1] = tostring((file:write("x")))
    file:close()
    io.output(FOLDER .. "default.txt")
    io.write("by ", "default")
    io.close()
    io.input(FOLDER .. "default.txt")
    out[#out + 1] = io.read(2)
    out[#out + 1] = io.read("a")
    do local f <close> = io.open(FOLDER .. "w+.txt", "w") f:write("closed") end
    out[#out + 1] = read("w+.txt")
    local name = os.tmpname()
    file = io.open(name, "w")
    file:write("t")
    file:close()
    out[#out + 1] = tostring(os.remove(name))
    return out
"""


def scripted(bench: Bench, folder: Path, mode: str) -> object:
    folder.mkdir()
    (folder / "old.txt").write_text("12 0x1F rest\nline\nabcdef")
    return bench.main(f"local FOLDER = '{folder}/'\n" + SCRIPT, mode=mode).value


def test_a_preview_reads_and_writes_as_a_run_does_and_changes_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    applied = scripted(bench, tmp_path / "run", "apply")
    previewed = scripted(bench, tmp_path / "plan", "plan")
    assert previewed == applied
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "default.txt",
        "moved.txt",
        "w+.txt",
    ]
    assert [path.name for path in (tmp_path / "plan").iterdir()] == ["old.txt"]
    assert (tmp_path / "plan" / "old.txt").read_text() == "12 0x1F rest\nline\nabcdef"


def test_a_preview_sees_its_own_writes_under_any_spelling_of_the_path(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench.main(
        f"""
        local file = io.open("x.txt", "w") file:write("here") file:close()
        print(io.open("{tmp_path}/./a/../x.txt"):read("a"))
        local open = io.open("x.txt", "a")
        open:write(" and there")
        print(io.open("./x.txt"):read("a"))
        """,
        mode="plan",
    )
    assert bench.context.lines == ["here", "here and there"]
    assert not (tmp_path / "x.txt").exists()


def test_standard_output_becomes_lines_of_the_run(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.main("""
        io.write("one", 1, "\\ntw")
        io.stdout:write("o\\n", "\\n")
        io.stderr:write("careful\\n")
        io.write("rest")
        io.stdout:flush()
        io.stdout:flush()
        print(io.stdout:close())
        io.write("start of ")
        print("a line")
        io.write("the end")
    """)
    assert bench.context.said == [
        ("info", "one1"),
        ("info", "two"),
        ("info", ""),
        ("warn", "careful"),
        ("info", "rest"),
        ("info", "nil\tcannot close standard file"),
        ("info", "start of a line"),
        ("info", "the end"),
    ]
    assert capfd.readouterr() == ("", "")


def command(arguments: list[object], location: object) -> Answer:
    if arguments[0] == "fail":
        raise CommandFailed("it ended with 3", facts={"exit code": 3})
    if arguments[0] == "killed":
        raise CommandFailed("it was killed", facts={"exit code": 137})
    return Answer(value={"stdout": "a\nb\n", "exit_code": 0, "changed": True}, text="a\nb\n")


def test_commands_are_actions_of_the_engine(bench: Bench) -> None:
    bench.context.handlers |= {"os.execute": command, "io.popen": command}
    bench.main("""
        print(os.execute("make"))
        print(os.execute("fail"))
        print(os.execute("killed"))
        print(os.execute())
        local pipe = io.popen("ls")
        print(pipe:read("l"), pipe:read("a"), pipe:close())
        for line in io.popen("ls", "r"):lines() do print(line) end
        local into = io.popen("sort", "w")
        into:write("z\\n", "y")
        print(into:close())
    """)
    assert bench.context.lines == [
        "true\texit\t0",
        "nil\texit\t3",
        "nil\tsignal\t9",
        "true",
        "a\tb\n\ttrue\texit\t0",
        "a",
        "b",
        "true\texit\t0",
    ]
    assert bench.context.called[-1] == ("io.popen", ["sort", {"stdin": "z\ny"}], "deploy.lua:11")
    assert [name for name, _, _ in bench.context.called] == ["os.execute"] * 3 + ["io.popen"] * 3


def test_in_a_preview_the_output_of_a_command_is_not_known(bench: Bench) -> None:
    bench.context.preview = True

    def unknown(arguments: object, location: object) -> Answer:
        return Answer(
            value={"changed": True, "success": True},
            unknown=("stdout", "stderr", "exit_code"),
            why="output of a command",
        )

    bench.context.handlers |= {"os.execute": unknown, "io.popen": unknown}
    result = bench.main(
        """
        print(os.execute("make"))
        local pipe = io.popen("ls")
        print(pipe:close())
        print(io.popen("ls"):read("a"))
        """,
        mode="plan",
    )
    assert bench.context.lines == ["true\texit\t0", "true\texit\t0"]
    assert (result.unpredicted or "").endswith("deploy.lua:5 (output of a command)")
