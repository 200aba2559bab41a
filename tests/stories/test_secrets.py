"""Promise 10: secrets never land in the record, the output, the events, the history or argv."""

import re
import threading
import time
from pathlib import Path

from stories.story import Done, Story

LUA = """
    local function secret(n) return values["secret" .. n] end
    file_ops.content({path = HERE .. "/private", content = "token " .. secret(1), mode = "0600"})
    file_ops.content({path = HERE .. "/said", content = secret(2), sensitive = true})
    file_ops.template({src = "page.j2", dest = HERE .. "/page", vars = {key = secret(3)},
                       mode = "0640"})
    pcall(file_ops.lineinfile, {path = HERE .. "/private-lines", line = "key=" .. secret(4)})
    file_ops.lineinfile({path = HERE .. "/private-lines", line = "key=" .. secret(16), id = "key",
                         sensitive = true})
    file_ops.lineinfile({path = HERE .. "/lines", line = "key=" .. secret(5), sensitive = true,
                         regexp = "^key=", create = true})
    file_ops.blockinfile({path = HERE .. "/block", block = secret(6), sensitive = true,
                          create = true})
    stack.set_output("token", secret(7), {sensitive = true})
    exec.run({argv = {"sh", "-c", 'test -n "$TOKEN" && cat >/dev/null && sleep 0.2'},
              env = {TOKEN = secret(8)}, stdin = secret(9)})
    pcall(exec.run, {argv = {"sh", "-c", "cat >/dev/null; exit 3"}, stdin = secret(10)})
    pcall(file_ops.content, {path = HERE .. "/refused", content = secret(11), mode = "0600",
                             validate = "false %s"})
    pcall(file_ops.download, {url = "http://user:" .. secret(12) .. "@127.0.0.1:9/x",
                              dest = HERE .. "/x"})
    pcall(file_ops.content, {path = HERE .. "/no/such/dir", content = secret(13), mode = "0600"})
    pcall(file_ops.content, {path = HERE .. "/private", contnt = secret(14)})
    pcall(template.render, "{{ nothing }}", {key = secret(15)})
"""
COUNT = 16


class Watched:
    """Every command line of this machine while it lasts."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(place.read_bytes())
                except OSError:
                    continue
            time.sleep(0.01)


def test_no_secret_is_found_anywhere_afterwards(story: Story) -> None:
    secrets = {f"secret{n}": f"canary-{n:02}-{n * 7919:06}" for n in range(1, COUNT + 1)}
    given = story.folder / "values.yaml"
    given.write_text("".join(f"{name}: {value}\n" for name, value in secrets.items()))
    (story.folder / "page.j2").write_text("key = {{ key }}\n")
    for name, mode in (("private-lines", 0o600), ("private", 0o600)):
        (story.here / name).write_text("canary-99-before\n")
        (story.here / name).chmod(mode)
    with Watched() as watched:
        told = commands(story, str(given))
    odd = [done for done in told if done.code not in (0, 1)]
    assert odd == []
    assert secrets["secret1"] in (story.here / "private").read_text()
    assert secrets["secret5"] in (story.here / "lines").read_text()
    shown = "".join(done.out + done.err for done in told).encode("utf-8", "surrogateescape")
    places = {"record": story.kept(), "output": shown, "argv": b"\0".join(watched.seen)}
    found = {
        place: sorted(set(re.findall(rb"canary-\d\d-\w+", data))) for place, data in places.items()
    }
    assert found == {"record": [], "output": [], "argv": []}


def commands(story: Story, given: str) -> list[Done]:
    """Everything that could tell a secret."""
    story.write(LUA)
    flow = str(story.file)
    told = [
        story.sloth("plan", flow, "-v", "--values", given),
        story.sloth("plan", flow, "--json", "-v", "--values", given),
        story.sloth("run", flow, "--yes", "-v", "--values", given),
        story.sloth("run", flow, "--yes", "--json", "-v", "--values", given),
    ]
    for name in ("private", "lines", "said", "block"):
        (story.here / name).write_text("canary-98-after\n")
    story.write(LUA + 'error("it ends badly")')
    told += [
        story.sloth("stack", "drift", "web"),
        story.sloth("stack", "drift", "web", "--json"),
        story.sloth("stack", "drift", "web", "--fix", "--yes"),
        story.sloth("run", flow, "--yes", "--values", given),
    ]
    for words in ("show", "resources", "outputs", "history", "export"):
        told.append(story.sloth("stack", words, "web", *["--json"] * (words != "export")))
    told += [story.sloth("stack", "history", "web", str(number)) for number in (1, 2, 4)]
    return told


REPEATED = """
    local function secret(n) return values["secret" .. n] end
    local function fails(call, given) local ok = pcall(call, given) assert(not ok) end
    fails(exec.run, {cmd = "echo out-$PW; echo err-$PW >&2; exit 3", env = {PW = secret(1)}})
    fails(exec.run, {argv = {"sh", "-c", "cat; cat >&2; exit 1"}, stdin = "x\\n" .. secret(2)})
    exec.run({cmd = "echo $PW", env = {PW = secret(3)}})
    fails(file_ops.content, {path = HERE .. "/a", content = "one\\n" .. secret(4) .. "\\n",
                             mode = "0600", validate = "cat %s /nowhere"})
    fails(function() template.render("{{ d[pw] }}", {d = {a = 1}, pw = secret(5)}) end)
    file_ops.content({path = HERE .. "/own", content = "x", mode = "0600"})
    fails(file_ops.lineinfile, {path = HERE .. "/own", line = "pw = " .. secret(6)})
    stack.set_output("pw", secret(7), {sensitive = true})
    stack.register_resource({type = "custom", name = "c", properties = {}})
    stack.update_resource("custom", "c", {state = "failed", error = "it was " .. secret(7)})
    print(stack.get_output("pw"))
    error("the password is " .. stack.get_output("pw"))
"""


def test_a_secret_that_a_command_or_an_error_repeats_is_masked(story: Story) -> None:
    secrets = {f"secret{n}": f"canary-{n:02}-{n * 7919:06}" for n in range(1, 8)}
    given = story.folder / "values.yaml"
    given.write_text("".join(f"{name}: {value}\n" for name, value in secrets.items()))
    story.write(REPEATED)
    told = [
        story.sloth("run", str(story.file), "--values", str(given), "--yes", *words)
        for words in (("-v",), ("--json", "-v"))
    ]
    assert [done.code for done in told] == [1, 1]
    told.append(story.sloth("stack", "history", "web", "1"))
    told.append(story.sloth("stack", "export", "web"))
    told.append(story.sloth("--json", "stack", "resources", "web"))
    places = {"record": story.kept(), "shown": "".join(d.out + d.err for d in told).encode()}
    found = {
        (place, name)
        for place, body in places.items()
        for name, secret in secrets.items()
        if secret.encode() in body
    }
    assert found == set()
    assert "(sensitive)" in told[0].out
    assert "the password is (sensitive)" in told[0].err


def test_a_line_in_a_directory_that_makes_it_private_is_refused_in_time(story: Story) -> None:
    lua = """
        file_ops.directory({path = HERE .. "/private", recurse = true, mode = "0700",
            file_mode = "0600"})
        file_ops.lineinfile({path = HERE .. "/private/env", line = "PASSWORD=hunter2-and-more",
            create = true})
    """
    for done in (story.plan(lua), story.run(lua)):
        assert done.code != 0
        assert "would be sensitive" in done.out + done.err
    assert not (story.here / "private/env").exists()
    assert b"hunter2" not in story.kept()


def test_a_report_that_quotes_the_workflow_shows_no_secret_that_is_written_there(
    story: Story,
) -> None:
    lines = (
        'local mine = "canary-1"; function call() exec.run({ cmd = "false", stdin = mine }) end',
        'user.create({ name = "/", password = "canary-2" })',
        'file_ops.content({ path = HERE .. "/no/dir", content = "canary-3", mode = "0600" })',
        "call()",
        'stack.set_output("token", "canary-4", { sensitive = true }, error("no"))',
        'file_ops.content({ path = "/", content = "canary-5", sensitive = true })',
        'error("at the end")',
    )
    for failing in range(1, len(lines)):
        story.write("\n".join(["", lines[0], *lines[failing:]]))
        failed = story.sloth("run", "--yes", str(story.file))
        assert failed.code != 0
        assert lines[failing][:8] in failed.err, "it quotes the line that failed"
        others = [story.sloth(words, str(story.file)) for words in ("plan", "validate")]
        others += [story.sloth("stack", "history", "web", str(failing))]
        for done in (failed, *others):
            assert "canary" not in done.out + done.err, failing


PASSED_ON = """
    local secret = values.secret
    stack.set_output("pw", secret, {sensitive = true})
    stack.set_output("url", "http://ana:" .. secret .. "@example.org")
    stack.set_output("users", {[secret] = "ana"})
    exec.run("echo " .. secret .. " >/dev/null")
    exec.run({argv = {"true", secret}, creates = "/" .. secret})
    pcall(exec.run, "exit 3 # " .. secret)
    local t = task({name = "t", run = function() error({secret}) end})
    print(stack.get_output("url"))
"""


def test_a_secret_of_the_stack_is_hidden_in_what_it_is_put_into(story: Story) -> None:
    secret = "canary-77-543210"
    story.write(PASSED_ON)
    given = ("--set", f"secret={secret}")
    told = [
        story.sloth("plan", "-v", str(story.file), *given),
        story.sloth("plan", "--json", str(story.file), *given),
        story.sloth("run", "--yes", "-v", str(story.file), *given),
        story.sloth("run", "--yes", "--json", "-v", str(story.file), *given),
        story.sloth("stack", "outputs", "web", "--json"),
        story.sloth("stack", "history", "web", "1"),
    ]
    assert [done.code for done in told] == [1, 1, 1, 1, 0, 0]
    assert "url = (sensitive)" in story.sloth("stack", "show", "web").out
    assert "http://ana:(sensitive)@" not in told[0].out
    shown = "".join(done.out + done.err for done in told)
    assert [line for line in shown.splitlines() if secret in line] == []
    assert secret.encode() not in story.kept()
