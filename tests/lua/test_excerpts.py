"""What is quoted of a Lua file: secrets are starred in their place, all else stays."""

import re

import pytest

from sloth_runner.lua.excerpts import quotable

SECRETS = r"""
user.create({ name = "open", password = "canary", comment = "open" })
user.create({ name = "open", ["password"] = "can" .. "ary" })
user.create({ name = "open", password = values["open"] or [[
canary
canary]] })
local mine = "canary" .. open; user.create({ name = "open", password = mine })
local db = { user = "open", pw = "canary" }; exec.run({ cmd = "open", stdin = db.pw })
function made() return "canary" end; exec.run({ argv = { "open" }, env = { TOKEN = made() } })
local record = { password = "canary", name = "open" }
file_ops.content({ path = "/open", content = "canary", mode = "0600" })
file_ops.content({ path = "/open", content = "canary" })
file_ops.content({ path = "/open", content = "canary", mode = "0644", sensitive = true })
file_ops.content({ path = "/open", content = "open", mode = "0644" })
file_ops.content({ path = "/open", content = "open", sensitive = false })
file_ops.copy({ src = "open", dest = "/open", mode = "0600" })
file_ops.template({ src = "open", dest = "/open", vars = { key = "canary", pin = 1234 } })
file_ops.lineinfile({ path = "/open", line = "canary", regexp = "^open" })
file_ops.blockinfile({ path = "/open", block = "canary", marker = "open" })
file_ops.download({ url = "https://ana:canary@example.org/", dest = "/open" })
file_ops.content("/open", { content = "canary", mode = "0600" })
file_ops.content({ path = "/open", contents = "canary" })
file_ops.content({ path = "/open", contents = "open", mode = "0644" })
user.create({ name = "open", pasword = "canary", delegate_to = "open" })
file_ops.remove({ pathes = "open" })
stack.set_output("open", "canary", { sensitive = true })
stack.set_output("open", "open", { sensitive = false })
exec.run({ cmd = "open", stdin = secret("open") })
"""


@pytest.mark.parametrize("line", [line for line in SECRETS.splitlines() if "=" in line])
def test_a_secret_that_is_written_out_is_starred_and_nothing_else(line: str) -> None:
    line = line if "[[" not in line else line + "canary]] })"
    shown = quotable(line.encode())
    assert "can" not in shown
    assert "1234" not in shown
    assert shown.count("open") == line.count("open")
    assert len(shown) == len(line)


def test_lines_and_columns_stay_what_they_are() -> None:
    head = "#!/usr/bin/env sloth-runner\n"
    text = f'\ufeff{head}local ü = "ü"\n{SECRETS}'
    shown = quotable(text.encode())
    assert shown.startswith(head)
    assert [len(line) for line in shown.split("\n")] == [len(line) for line in text[1:].split("\n")]
    assert "canary" not in shown


@pytest.mark.parametrize(
    "broken",
    [
        'user.create({ name = "open" password = "canary" })',
        'user.create({ name = "open", password = "canary", ',
        "user.create({ name = 'open', ['password'] = 'canary' }))",
        'if user.create({ name = "open", password = "canary" })',
    ],
)
def test_what_is_no_lua_shows_no_secret_either(broken: str) -> None:
    shown = quotable(broken.encode())
    assert "canary" not in shown
    assert re.search("['\"]open['\"]", shown)
