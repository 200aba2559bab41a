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
systemd.unit({ name = "open", content = "open" })
systemd.unit({ name = "open", content = "canary", mode = "0600" })
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
local function app(n, pw) user.create({ name = n, password = pw }) end; app("open", "canary")
local app = function(pw) exec.run({ cmd = "open", stdin = pw }) end; app("canary")
local M = {}; function M:app(pw) exec.run({ cmd = "open", stdin = pw }) end; M:app("canary")
for _, u in ipairs({ { n = "open", pw = "canary" } }) do exec.run({ cmd = u.n, stdin = u.pw }) end
for _, pw in ipairs({ "canary" }) do exec.run({ cmd = "open", stdin = pw }) end
local all = { db = { n = "open", pw = "canary" } }; exec.run({ cmd = "open", stdin = all.db.pw })
local all = {}; all["pw"] = "canary"; exec.run({ cmd = "open", stdin = all["pw"] })
local a <const>, b = "open", "canary"; exec.run({ cmd = "open", stdin = b })
"""


@pytest.mark.parametrize("line", [line for line in SECRETS.splitlines() if "=" in line])
def test_a_secret_that_is_written_out_is_starred_and_nothing_else(line: str) -> None:
    line = line if "[[" not in line else line + "canary]] })"
    shown = quotable(line.encode())
    assert "can" not in shown
    assert "1234" not in shown
    assert shown.count("open") == line.count("open")
    assert len(shown) == len(line)


def test_comments_are_no_part_of_what_is_assigned() -> None:
    shown = quotable(b'local a = -- open\n "canary"\nexec.run({ cmd = "open", stdin = a })')
    assert "canary" not in shown
    assert shown.count("open") == 2


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


@pytest.mark.parametrize(
    "nested",
    [
        *("'a' .. " * 3000, "(" * 3000, "{" * 3000, "x" + ".a" * 3000),
        f"x, mode = {'(' * 3000}1{')' * 3000} }})",
    ],
)
def test_no_nesting_is_too_deep(nested: str) -> None:
    source = f'user.create({{ password = "canary" .. {nested}'
    shown = quotable(source.encode())
    assert (len(shown), "canary" in shown) == (len(source), False)
