"""Promise 12: names, paths and contents from anyone are just bytes, through every kind of call."""

import json

import pytest

from stories.story import Story

NAMES = [
    "a'b\"c",
    "a\nb",
    "$(touch pwned);`id`",
    "-rf",
    "back\\slash \\x41",
    "a\udcffb",
    "\x1b[31mred",
]
LUA = """
    local name = json.decode(values.name)
    file_ops.content({path = HERE .. "/" .. name, content = name, mode = "0644"})
    file_ops.copy({src = HERE .. "/" .. name, dest = HERE .. "/copy " .. name})
    file_ops.symlink({path = HERE .. "/link " .. name, target = name})
    file_ops.lineinfile({path = HERE .. "/lines", line = name:gsub("\\n", " "), create = true})
    state.set(name, name)
    stack.set_output(name, name)
    stack.register_resource({type = "custom", name = name, module = name,
                             properties = {[name] = name}})
    print(exec.run({argv = {"printf", "%s", name}, creates = HERE .. "/never"}).stdout == name)
    print(name)
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_bytes_wherever_it_is_used(story: Story, name: str) -> None:
    given = f"name={json.dumps({'$bytes': _base64(name)}) if _not_utf8(name) else json.dumps(name)}"
    story.write(LUA)
    ran = story.sloth("--yes", "run", str(story.file), "--set", given)
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert "\x1b" not in ran.out and "pwned" not in str(list(story.folder.rglob("*pwned")))
    assert "\ntrue\n" in ran.out
    there = sorted(path.name for path in story.here.iterdir())
    assert there == sorted([name, f"copy {name}", f"link {name}", "lines"])
    assert (story.here / f"copy {name}").read_bytes() == name.encode("utf-8", "surrogateescape")
    assert str((story.here / f"link {name}").readlink()) == name
    again = story.run(None, "--set", given)
    assert again.counts == {"unchanged": 5, "ran": 1}
    for command in (["stack", "resources"], ["stack", "history"], ["stack", "drift"]):
        shown = story.sloth(*command, "web", *(["1"] if command[1] == "history" else []))
        assert (shown.code, shown.err.count("SR9")) == (0, 0)
        assert "\x1b" not in shown.out + shown.err


def _not_utf8(name: str) -> bool:
    return "\udcff" in name


def _base64(name: str) -> str:
    import base64

    return base64.b64encode(name.encode("utf-8", "surrogateescape")).decode()
