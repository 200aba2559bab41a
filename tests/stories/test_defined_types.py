"""A type that a workflow defines in Lua has everything that a built-in one has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sloth_runner.core.errors import RecordError
from sloth_runner.core.registry import registry
from sloth_runner.engine.defined import Definitions
from sloth_runner.lua.templates import render
from stories.story import Story

NOTE = """
local note = resource.define({
  type = "note",
  observe = function(name)
    local text = file_ops.read(FOLDER .. name)
    if text == nil then return nil end
    return { text = text }
  end,
  create = function(name, properties)
    exec.run({ argv = { "cp", "/dev/stdin", FOLDER .. name }, stdin = properties.text })
  end,
  delete = function(name) file_ops.remove(FOLDER .. name) end,
})
local result = note({ name = "one", text = "TEXT", state = "STATE" })
print(result.status, result.address)
"""


class Place:
    """A folder with a workflow, a record of its own, and the real command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "notes").mkdir()
        self.note = folder / "notes" / "one"
        self.file = folder / "site.lua"
        self.write()

    def write(self, text: str = "hello", state: str = "present") -> None:
        """Writes the workflow, which wants the note to hold ``text``."""
        source = NOTE.replace("FOLDER", f'"{self.folder}/notes/"')
        self.file.write_text(source.replace("TEXT", text).replace("STATE", state))

    def sloth(self, *arguments: str, code: int = 0) -> str:
        """Runs the command and returns what it printed; checks its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "sloth_runner", "--db", str(self.folder / "db"), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def drift(self, *, code: int = 0) -> Any:
        """Returns the document of ``stack drift --json``."""
        return json.loads(self.sloth("stack", "drift", "site", "--json", code=code))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_is_created_once_and_then_left_alone(place: Place) -> None:
    assert " created   note:one " in place.sloth("run", "site.lua", "--yes")
    assert place.note.read_text() == "hello"
    assert place.sloth("run", "-q", "site.lua", "--yes") == ""


def test_the_preview_changes_nothing(place: Place) -> None:
    assert "note:one" in place.sloth("plan", "site.lua")
    assert not place.note.exists()


def test_drift_names_the_property_and_is_put_back_from_the_record(place: Place) -> None:
    place.sloth("run", "site.lua", "--yes")
    place.note.write_text("other")
    [found] = place.drift()["drifted"]
    assert found["address"] == "local/note:one"
    assert found["changes"] == [{"property": "text", "recorded": "hello", "actual": "other"}]
    place.sloth("stack", "drift", "site", "--fix")
    assert place.note.read_text() == "hello"
    assert place.drift()["drifted"] == []


def test_a_definition_that_changed_is_told_and_not_guessed(place: Place) -> None:
    place.sloth("run", "site.lua", "--yes")
    place.file.write_text(place.file.read_text() + "\n-- another text\n")
    report = place.drift()
    assert [entry["address"] for entry in report["unchecked"]] == ["local/note:one"]
    assert "has changed since it was recorded" in report["unchecked"][0]["reason"]
    assert report["drifted"] == []
    place.file.unlink()
    assert "is not there" in place.drift(code=1)["unchecked"][0]["reason"]


def test_reading_a_definition_for_drift_does_nothing_else(place: Place) -> None:
    place.sloth("run", "site.lua", "--yes")
    marker = place.folder / "marker"
    place.file.write_text(f'exec.run("touch {marker}")\n' + place.file.read_text())
    place.sloth("run", "site.lua", "--yes")
    marker.unlink()
    assert place.drift()["checked"] == 1
    assert not marker.exists()


def test_it_is_removed_by_its_own_function(place: Place) -> None:
    place.sloth("run", "site.lua", "--yes")
    place.write(state="absent")
    assert "removed" in place.sloth("run", "site.lua", "--yes")
    assert not place.note.exists()
    assert place.sloth("run", "-q", "site.lua", "--yes") == ""


def test_a_create_that_does_not_do_it_is_a_failure_that_names_the_property(place: Place) -> None:
    place.file.write_text(place.file.read_text().replace("stdin = properties.text", 'stdin = "x"'))
    place.sloth("run", "site.lua", "--yes", code=1)


def test_a_function_of_a_type_calls_as_a_workflow_does(story: Story) -> None:
    """Guards are asked, files of the controller are read, templates rendered, names counted."""
    (story.here / "precious").write_text("precious\n")
    (story.folder / "conf").write_text("the real content\n")
    (story.folder / "greeting.j2").write_text("hello {{ who }}\n")
    lua = """
        local app = resource.define({type = "app",
            observe = function(n) return file_ops.exists(HERE .. "/" .. n) and {} or nil end,
            create = function(n)
                local precious = HERE .. "/precious"
                exec.run({cmd = "echo lost > " .. precious, creates = precious})
                exec.run({cmd = "touch " .. HERE .. "/unless", unless = "true"})
                exec.run({cmd = "touch " .. HERE .. "/onlyif", onlyif = "false"})
                local copied = file_ops.copy({src = "conf", dest = HERE .. "/" .. n})
                file_ops.template({src = "greeting.j2", dest = HERE .. "/greeting",
                    vars = {who = copied.status}})
                file_ops.directory({path = HERE .. "/d", mode = "0750"})
            end})
        app({name = "x"})
    """
    ran = story.run(lua)
    assert ran.code == 0, ran
    assert (story.here / "precious").read_text() == "precious\n"
    assert not (story.here / "unless").exists() and not (story.here / "onlyif").exists()
    assert (story.here / "x").read_text() == "the real content\n"
    assert (story.here / "greeting").read_text() == "hello created\n"
    assert story.run().counts == {"unchanged": 1}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('file_ops.directory({path = HERE .. "/a", paths = {HERE .. "/b"}})', "not both"),
        ("file_ops.directory({paths = {}})", "at least one item"),
        ("file_ops.directory(true)", "a table of parameters or one text"),
        ('file_ops.copy({src = "none", dest = HERE .. "/c"})', "none does not exist"),
        ('file_ops.copy({src = ".", dest = HERE .. "/c"})', "is a directory, not a file"),
        ('file_ops.directory({path = HERE .. "/d", delegate_to = "web1"})', "cannot be called"),
    ],
)
def test_a_call_in_a_function_of_a_type_is_refused_as_in_a_workflow(
    story: Story, call: str, said: str
) -> None:
    ran = story.run(f"""
        local app = resource.define({{type = "app", observe = function() end,
            create = function() {call} end}})
        app({{name = "y"}})
    """)
    assert ran.code != 0
    assert said in str(ran), ran
    assert not list(story.here.iterdir())


@pytest.mark.parametrize("given", ['state = "absnt"', "state = 5"])
def test_a_state_that_there_is_none_of_is_refused(story: Story, given: str) -> None:
    lua = f"""
        local app = resource.define({{type = "app", observe = function() end,
            create = function() exec.run("touch " .. HERE .. "/made") end}})
        app({{name = "y", {given}}})
    """
    ran = story.run(lua)
    assert ran.code == 2
    assert not (story.here / "made").exists()


@pytest.mark.parametrize("name", [r"\xff", r"a\0b", r"a\nb", "a b"])
def test_a_type_is_named_by_a_word(story: Story, name: str) -> None:
    define = f'resource.define({{type = "{name}", observe = print, create = print}})'
    ran = story.run(
        f"local ok, why = pcall(function() {define} end) print(ok, why) state.set('a', 1)"
    )
    assert ran.code == 0
    assert "type is a word" in ran.of("log")[0]["text"]


@pytest.mark.root
def test_a_definition_that_may_not_be_read_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "types.lua").touch(0o600)
    tmp_path.chmod(0o755)
    definitions = Definitions(registry(), render)
    os.seteuid(65534)
    try:
        with pytest.raises(RecordError, match="cannot be read: Permission denied"):
            definitions.find("thing", str(tmp_path / "types.lua"), "")
    finally:
        os.seteuid(0)
