"""Commands that look at the record: stacks, outputs, history, keys and values."""

import pytest

from cli.command import Sloth

TWO_FILES = """
workflow({ name = "web" })
task({ name = "files", tags = { "a" }, run = function()
  file_ops.directory({ path = "@/made" })
  file_ops.content({ path = "@/made/one", content = "1\\n", mode = "0644" })
  stack.set_output("port", 80)
  stack.set_output("token", "hunter2", { sensitive = true })
end })
"""
RESOURCE_KEYS = {
    "address", "host", "type", "name", "module", "registered", "state", "status", "checksum",
    "properties", "actual", "created_at", "updated_at", "last_applied", "run",
}  # fmt: skip


@pytest.fixture
def web(sloth: Sloth) -> Sloth:
    """A record with the stack "web", applied once."""
    done = sloth("run", sloth.write(TWO_FILES), "--yes")
    assert done.code == 0, done.err
    return sloth


def test_a_stack_is_made_once(sloth: Sloth) -> None:
    assert sloth("stack", "new", "web").code == 0
    again = sloth("stack", "new", "web")
    assert again.code == 2
    assert 'there is a stack "web" already' in again.err


def test_without_a_record_there_are_no_stacks_and_none_is_made(sloth: Sloth) -> None:
    assert sloth("stack", "list", "--json").json == []
    assert "no stacks yet" in sloth("stack", "list").err
    assert not sloth.db.exists()


def test_the_list_says_which_record_it_is_of(web: Sloth) -> None:
    done = web("stack", "list")
    assert "web" in done.out
    assert str(web.db) in done.err
    [stack] = web("stack", "list", "--json").json
    assert (stack["name"], stack["status"], stack["resources"]) == ("web", "applied", 2)
    assert stack["last_run"]["number"] == 1


def test_show_tells_the_whole_stack(web: Sloth) -> None:
    told = web("stack", "show", "web").out
    for part in ("web", "site.lua", "directory 1, file 1", "+ 2 created", "port = 80"):
        assert part in told
    assert "hunter2" not in told


def test_what_is_no_longer_declared_is_shown_and_stays(web: Sloth) -> None:
    shorter = TWO_FILES.replace("file_ops.content", "local _ = { } -- ")
    planned = web("plan", web.write(shorter))
    assert f" No longer declared, kept\n   · file:{web.folder}/made/one  last at " in planned.out
    assert web("plan", web.write(shorter), "--json").events[-1]["orphaned"] == 1
    assert web("run", web.write(shorter), "--yes").code == 0
    assert "No longer declared, kept" in web("stack", "show", "web").out
    [orphan] = web("stack", "resources", "web", "--state", "orphaned", "--json").json
    assert orphan["name"].endswith("/made/one")
    assert (web.folder / "made" / "one").exists()


def test_resources_are_listed_with_stable_keys(web: Sloth) -> None:
    listed = web("stack", "resources", "web", "--json").json
    assert [row["type"] for row in listed] == ["directory", "file"]
    for row in listed:
        assert row.keys() >= RESOURCE_KEYS
        assert row["address"] == f"local/{row['type']}:{row['name']}"


def test_resources_are_filtered(web: Sloth) -> None:
    def listed(*filters: str) -> list[str]:
        return [row["type"] for row in web("stack", "resources", "web", "--json", *filters).json]

    assert listed("--type", "file") == ["file"]
    assert listed("--host", "lo*") == ["directory", "file"]
    assert listed("--host", "web1") == []
    assert listed("--state", "failed") == []
    assert web("stack", "resources", "web", "--state", "fine").code == 2


def test_outputs_are_shown_and_a_single_one_is_bare(web: Sloth) -> None:
    assert web("stack", "outputs", "web", "port").out == "80\n"
    assert web("stack", "outputs", "web", "token").out == "(sensitive)\n"
    shown = web("stack", "outputs", "web", "--json").json
    assert shown["port"]["value"] == 80
    assert shown["token"]["value"] == "(sensitive)"
    missing = web("stack", "outputs", "web", "prot")
    assert (missing.code, missing.out) == (1, "")
    assert 'did you mean "port"?' in missing.err


def test_history_lists_runs_the_newest_first(web: Sloth) -> None:
    web("run", str(web.folder / "site.lua"), "--yes")
    runs = web("stack", "history", "web", "--json").json
    assert [run["run"] for run in runs] == [2, 1]
    assert runs[1]["counts"]["created"] == 2
    assert runs[0]["counts"] == {"unchanged": 2}
    told = web("stack", "history", "web").out
    assert "no changes" in told
    assert "changed" in told


def test_one_run_is_told_in_full(web: Sloth) -> None:
    told = web("stack", "history", "web", "1").out
    for part in ("Run 1: changed", "+ file:", "+1", 'mode        (absent) → "0644"', "port = 80"):
        assert part in told
    assert "hunter2" not in told
    document = web("stack", "history", "web", "1", "--json").json
    assert document["events"][-1]["type"] == "summary"
    missing = web("stack", "history", "web", "7")
    assert missing.code == 2
    assert "the newest is run 1" in missing.err


def test_a_stack_that_manages_something_is_not_deleted_without_a_yes(web: Sloth) -> None:
    refused = web("stack", "delete", "web")
    assert refused.code == 2
    assert "2 resources" in refused.err
    assert "nothing was changed" in refused.err
    assert web("stack", "delete", "web", "--yes").code == 0
    assert web("stack", "list", "--json").json == []
    assert (web.folder / "made" / "one").exists()


def test_an_empty_stack_is_deleted_without_a_question(sloth: Sloth) -> None:
    sloth("stack", "new", "empty")
    assert sloth("stack", "delete", "empty").code == 0
    assert sloth("stack", "delete", "empty").code == 2


def test_keys_are_set_got_listed_counted_and_deleted(sloth: Sloth) -> None:
    assert sloth("state", "set", "color", "red").code == 0
    assert sloth("state", "set", "sizes", "[1, 2]", "--json-value").code == 0
    assert sloth("state", "get", "color").out == "red\n"
    assert sloth("state", "get", "sizes").out == "[1,2]\n"
    listed = sloth("state", "list", "--json").json
    assert [(item["key"], item["value"]) for item in listed] == [
        ("color", "red"),
        ("sizes", [1, 2]),
    ]
    assert "color" in sloth("state", "list", "co").out
    assert "sizes" not in sloth("state", "list", "co").out
    assert sloth("state", "stats", "--json").json["keys"] == 2
    assert sloth("state", "delete", "color").code == 0
    assert sloth("state", "delete", "color").code == 1


def test_a_missing_key_prints_nothing_and_exits_1(sloth: Sloth) -> None:
    for _ in range(2):  # without a record, and with one
        done = sloth("state", "get", "nothing")
        assert (done.code, done.out, done.err) == (1, "", "")
        sloth("state", "set", "other", "x")


def test_a_stack_has_keys_of_its_own(sloth: Sloth) -> None:
    sloth("stack", "new", "web")
    sloth("state", "set", "color", "red", "--stack", "web")
    assert sloth("state", "get", "color").code == 1
    assert sloth("state", "get", "color", "--stack", "web").out == "red\n"
    assert sloth("state", "get", "color", "--stack", "wbe").code == 2


def test_the_keys_of_a_stack_that_is_not_there_are_an_error_and_make_nothing(
    sloth: Sloth,
) -> None:
    commands = (["set", "k", "v"], ["get", "k"], ["list"], ["delete", "k"], ["stats"])
    for command in commands:
        done = sloth("state", *command, "--stack", "nope")
        assert (done.code, done.out) == (2, ""), command
        assert not sloth.db.parent.exists()
    sloth("state", "set", "shared", "x")
    for command in commands:
        done = sloth("state", *command, "--stack", "nope")
        assert done.code == 2
        assert 'there is no stack "nope"' in done.err
    assert [key["key"] for key in sloth("state", "list", "--json").json] == ["shared"]


def test_values_are_bytes_and_come_back_as_they_went_in(sloth: Sloth) -> None:
    sloth("state", "set", "k\udcff", "v\udcfe\n")
    assert sloth("state", "get", "k\udcff").out == "v\udcfe\n\n"
    [item] = sloth("state", "list", "--json").json
    assert item["key"] == {"$bytes": "a/8="}


def test_workflows_and_the_command_share_keys(sloth: Sloth) -> None:
    sloth("state", "set", "color", "red")
    flow = sloth.write('print("it is " .. state.get("color")); state.set("seen", true)')
    assert "it is red" in sloth("run", flow, "--yes").out
    sloth("state", "set", "count", "41")
    count = sloth.write('print("it is " .. state.increment("count"))', "count.lua")
    assert "it is 42" in sloth("plan", count, "-v").out
    assert "it is 42" in sloth("run", count, "--yes").out
    letters = sloth.write('state.increment("color")', "letters.lua")
    for command in (["plan"], ["run", "--yes"]):
        refused = sloth(*command, letters)
        assert refused.code == 2
        assert "is no whole number" in refused.err
    assert sloth("state", "get", "seen").out == "true\n"
