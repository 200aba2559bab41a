"""stack drift and stack accept, through the command."""

import re

import pytest

from cli.command import Sloth

FLOW = """
workflow({ name = "web" })
file_ops.content({ path = "@/a", content = "one\\n", mode = "0644" })
file_ops.content({ path = "@/b", content = "two\\n", mode = "0644" })
"""


@pytest.fixture
def web(sloth: Sloth) -> Sloth:
    """Two files, one of which was then changed and the other removed by hand."""
    assert sloth("run", sloth.write(FLOW), "--yes").code == 0
    (sloth.folder / "a").chmod(0o666)
    (sloth.folder / "b").unlink()
    return sloth


def states(sloth: Sloth, stack: str = "web") -> list[str]:
    return [row["state"] for row in sloth("stack", "resources", stack, "--json").json]


def test_drift_names_the_property_and_changes_nothing(web: Sloth) -> None:
    document = web("stack", "drift", "web", "--json").json
    assert set(document) == {
        "stack", "checked", "drifted", "missing", "unreachable", "unchecked"
    }  # fmt: skip
    [drifted] = document["drifted"]
    assert drifted["address"] == f"local/file:{web.folder}/a"
    assert drifted["changes"] == [{"property": "mode", "recorded": "0644", "actual": "0666"}]
    assert document["missing"] == [f"local/file:{web.folder}/b"]
    assert document["checked"] == 2
    assert not (web.folder / "b").exists()
    assert states(web) == ["drift", "drift"]


def test_drift_is_told_in_words(web: Sloth) -> None:
    done = web("stack", "drift", "web")
    assert done.code == 0
    assert 'mode        recorded "0644"   actual "0666"' in done.out
    assert "is gone" in done.out
    assert "--fix" in done.out


def test_drift_exits_3_only_when_asked_for(web: Sloth) -> None:
    assert web("stack", "drift", "web", "--detailed-exitcode").code == 3
    web("stack", "drift", "web", "--fix")
    assert web("stack", "drift", "web", "--detailed-exitcode").code == 0


def test_fix_puts_everything_back(web: Sloth) -> None:
    assert web("stack", "drift", "web", "--fix").code == 0
    assert (web.folder / "a").stat().st_mode & 0o777 == 0o644
    assert (web.folder / "b").read_text() == "two\n"
    assert "No drift" in web("stack", "drift", "web").out
    assert web("stack", "drift", "web", "-q").out == ""
    assert states(web) == ["applied", "applied"]
    listed = web("stack", "resources", "web", "--json").json
    assert [row["location"].rpartition(":")[2] for row in listed] == ["3", "4"]


def test_the_history_tells_what_drifted_and_what_was_put_back(web: Sloth) -> None:
    web("stack", "drift", "web")
    web("stack", "drift", "web", "--fix")
    web("stack", "drift", "web")
    (web.folder / "a").unlink()
    (web.folder / "a").mkdir()
    assert web("stack", "drift", "web", "--fix").code == 1
    runs = web("stack", "history", "web", "--json").json
    told = [(run["kind"], run["result"], run["counts"]) for run in runs]
    assert told[:4] == [
        ("fix", "failed", {"drifted": 1, "unchanged": 1, "failed": 1}),
        ("drift", "ok", {"unchanged": 2}),
        ("fix", "ok", {"drifted": 2, "changed": 1, "created": 1}),
        ("drift", "ok", {"drifted": 2}),
    ]
    lines = web("stack", "history", "web").out.splitlines()
    assert [re.split("  +", one.strip())[2:10] for one in lines[1:5]] == [
        ["fix", "failed", "0", "0", "0", "0", "0", "1"],
        ["drift", "no drift", "0", "0", "0", "0", "0", "0"],
        ["fix", "changed", "1", "1", "0", "0", "0", "0"],
        ["drift", "2 drifted", "0", "0", "0", "0", "0", "0"],
    ]


def test_accept_takes_the_actual_values(web: Sloth) -> None:
    web("stack", "drift", "web")
    done = web("stack", "accept", "web", "local/file:*/a")
    assert done.out == f"accepted local/file:{web.folder}/a\n"
    assert states(web) == ["applied", "drift"]
    assert web("stack", "drift", "web", "--json").json["drifted"] == []


def test_accept_refuses_what_is_not_there(web: Sloth) -> None:
    assert web("stack", "accept", "web", "local/file:/nowhere").code == 2
    assert web("stack", "accept", "web", "local/user:*").code == 2
    web("stack", "drift", "web")
    assert web("stack", "accept", "web", f"local/file:{web.folder}/b").code == 2


def test_an_address_that_is_none_begins_no_run(web: Sloth) -> None:
    before = web("stack", "history", "web", "--json").out
    for wrong in ("made", "local/file:/nowhere"):
        assert web("stack", "accept", "web", wrong).code == 2
    assert web("stack", "history", "web", "--json").out == before


def test_drift_of_no_stack_is_an_error(sloth: Sloth) -> None:
    assert sloth("stack", "drift", "nothing").code == 2


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o600, 0o644)])
def test_a_mode_that_hides_the_content_or_shows_it_is_no_drift_of_the_content(
    sloth: Sloth, before: int, after: int
) -> None:
    (sloth.folder / "kept").write_text("same\n")
    (sloth.folder / "kept").chmod(before)
    flow = sloth.write('file_ops.content({ path = "@/kept", content = "same\\n" })')
    assert sloth("run", "web", "-f", flow, "--yes").code == 0
    (sloth.folder / "kept").chmod(after)
    assert "No drift" in sloth("stack", "drift", "web").out
    (sloth.folder / "kept").write_text("other\n")
    [drifted] = sloth("stack", "drift", "web", "--json").json["drifted"]
    assert [change["property"] for change in drifted["changes"]] == ["content"]
    (sloth.folder / "kept").write_text("same\n")
    assert sloth("run", "web", "-f", flow, "--yes", "-q").out == ""


def test_a_thing_without_properties_that_is_gone_has_drifted(sloth: Sloth) -> None:
    flow = """
        workflow({ name = "web" })
        local mark = resource.define({
            type = "mark",
            observe = function(name) return file_ops.exists("@/" .. name) and {} or nil end,
            create = function(name) file_ops.content({ path = "@/" .. name, content = "" }) end,
        })
        mark("here")
    """
    assert sloth("run", sloth.write(flow), "--yes").code == 0
    (sloth.folder / "here").unlink()
    assert sloth("stack", "drift", "web", "--json").json["missing"] == ["local/mark:here"]
    assert sloth("stack", "drift", "web", "--fix").code == 0
    assert (sloth.folder / "here").exists()


def test_what_a_failed_run_left_is_drift_until_it_is_as_declared(sloth: Sloth) -> None:
    path = sloth.folder / "a"
    declared = f'path = "{path}", content = "declared\\n"'
    flow = sloth.write(f'file_ops.content({{ {declared}, validate = "grep -q ok %s" }})')
    good = sloth.write(f"file_ops.content({{ {declared} }})", "good")
    assert sloth("run", "web", "-f", good, "--yes").code == 0
    path.write_text("by hand\n")
    assert sloth("run", "web", "-f", flow, "--yes").code == 1
    assert path.read_text() == "by hand\n"
    for _ in range(2):
        told = sloth("stack", "drift", "web", "--json").json
        assert [one["address"] for one in told["drifted"]] == [f"local/file:{path}"]
        assert [c["property"] for c in told["drifted"][0]["changes"]] == ["content"]
        assert states(sloth) == ["failed"]
    path.write_text("declared\n")
    assert sloth("stack", "drift", "web", "--json").json["drifted"] == []


def test_a_record_whose_key_is_gone_is_not_called_free_of_drift(sloth: Sloth) -> None:
    lua = 'file_ops.content({path = "@/secret", content = "hunter2", mode = "0600"})'
    assert sloth("run", sloth.write(lua), "--yes").code == 0
    (sloth.db.parent / "stacks.db.d" / "key").unlink()
    drift = sloth("stack", "drift", "site")
    assert drift.code == 6
    assert "the key file" in drift.err


def test_a_type_that_could_not_be_read_again_says_why(sloth: Sloth) -> None:
    lua = """
        local name = file_ops.read("/etc/hostname") .. "-thing"
        local thing = resource.define({type = "thing",
            observe = function() return {} end, create = function() end})
        thing({name = "one"})
    """
    assert sloth("run", sloth.write(lua), "--yes").code == 0
    for flags in ([], ["-q"]):
        shown = sloth("stack", "drift", "site", *flags)
        assert shown.code == 1
        assert "Could not be checked" in shown.out
        assert "could not be read for the type 'thing'" in shown.out
        assert "site.lua:2" in shown.out
        assert "No drift" not in shown.out
    told = sloth("stack", "drift", "site", "--json")
    [unchecked] = told.json["unchecked"]
    assert (told.code, unchecked["address"], unchecked["failed"]) == (1, "local/thing:one", True)
    assert "site.lua:2" in unchecked["reason"]
    last = sloth("stack", "history", "site", "--json").json[0]
    assert (last["kind"], last["result"], last["counts"]) == ("drift", "failed", {"failed": 1})


def test_what_could_not_be_looked_at_is_no_success(sloth: Sloth) -> None:
    lua = """
        local thing = resource.define({type = "thing", create = function() end,
            observe = function()
                if file_ops.exists("@/broken") then error("cannot tell") end
                return {}
            end})
        thing({name = "one"})
    """
    assert sloth("run", sloth.write(lua), "--yes").code == 0
    assert sloth("stack", "drift", "site").code == 0
    (sloth.folder / "broken").touch()
    told = sloth("stack", "drift", "site", "--detailed-exitcode", "--json")
    [unchecked] = told.json["unchecked"]
    assert (told.code, unchecked["failed"]) == (1, True)
    assert "cannot tell" in unchecked["reason"]


def test_what_only_the_workflow_can_tell_is_listed_and_no_failure(sloth: Sloth) -> None:
    lua = 'stack.register_resource({type = "custom", name = "r", properties = {a = 1}})'
    assert sloth("run", sloth.write(lua), "--yes").code == 0
    told = sloth("stack", "drift", "site", "--json")
    [unchecked] = told.json["unchecked"]
    assert (told.code, unchecked["address"], unchecked["failed"]) == (0, "local/custom:r", False)
    assert "only it can tell" in sloth("stack", "drift", "site").out


BOTH = """
file_ops.content({ path = "@/a", content = "x", mode = "0644" })
stack.register_resource({ type = "file", name = "@/a", properties = { mode = "0644" } })
"""
REGISTERED = BOTH[BOTH.index("stack") :]


def test_of_two_rows_of_one_address_it_is_said_which_is_the_registration(sloth: Sloth) -> None:
    assert sloth("run", sloth.write(BOTH), "--yes").code == 0
    path, address = sloth.folder / "a", f"local/file:{sloth.folder}/a"
    path.chmod(0o600)
    told = sloth("stack", "drift", "site", "--json").json
    assert [(one["address"], one["registered"]) for one in told["drifted"]] == [
        (address, False),
        (address, True),
    ]
    path.unlink()
    assert sloth("stack", "drift", "site", "--json").json["missing"] == [address]
    shown = sloth("stack", "drift", "site").out
    assert f"file:{path}  is gone" in shown
    assert f"file:{path} (registered)  is gone" in shown
    assert "--fix" in shown
    fixed = sloth("stack", "drift", "site", "--fix", "--json").json
    assert (fixed["missing"], fixed["repaired"]) == ([address], [address])
    assert fixed["unchecked"] == fixed["drifted"] == []
    assert states(sloth, "site") == ["applied", "applied"]


def test_of_a_registration_only_what_works_is_offered(sloth: Sloth) -> None:
    path, address = sloth.folder / "a", f"local/file:{sloth.folder}/a"
    path.write_text("x")
    path.chmod(0o644)
    assert sloth("run", sloth.write(REGISTERED), "--yes").code == 0
    path.chmod(0o600)
    for flags in ([], ["--fix"]):
        shown = sloth("stack", "drift", "site", *flags)
        assert shown.code == 0
        assert f"file:{path} (registered)" in shown.out
        assert "only its workflow can settle" in shown.out
        assert "--fix" not in shown.out
        assert "accept" not in shown.out
        assert "Not checked" not in shown.out
        assert path.stat().st_mode & 0o777 == 0o600
    refused = sloth("stack", "accept", "site", address)
    assert refused.code == 2
    assert "only its workflow can settle it" in refused.err
    assert "nothing that drifted matches" in sloth("stack", "accept", "site", "*/a").err


def test_a_change_that_failed_and_was_dropped_is_not_carried_out_by_fix(sloth: Sloth) -> None:
    path = sloth.folder / "tree"
    path.write_text("precious")
    path.chmod(0o600)
    broken = 'file_ops.content({path = "@/tree", content = "never written", validate = "false"})'
    other = 'file_ops.content({path = "@/other", content = "x"})'
    assert sloth("run", sloth.write(broken), "--yes").code == 1
    assert sloth("run", sloth.write(other), "--yes").code == 0
    path.write_text("edited")
    shown = sloth("stack", "drift", "site", "--fix")
    assert shown.code == 0
    assert "never applied" in shown.out
    assert path.read_text() == "edited"


def test_what_is_no_longer_declared_stays_so_when_it_drifts(sloth: Sloth) -> None:
    both = [f'file_ops.content({{path = "@/{name}", content = "x"}})' for name in "ab"]
    sloth("run", sloth.write(" ".join(both)), "--yes")
    sloth("run", sloth.write(both[0]), "--yes")
    (sloth.folder / "b").write_text("other")
    assert len(sloth("stack", "drift", "site", "--json").json["drifted"]) == 1
    sloth("stack", "drift", "site", "--fix")
    assert (sloth.folder / "b").read_text() == "x"
    orphans = sloth("stack", "resources", "site", "--state", "orphaned", "--json").json
    assert [row["name"] for row in orphans] == [f"{sloth.folder}/b"]
