"""Two lines that want one thing in different ways are refused before either could win."""

import pytest

from stories.story import Story

WHOLE = 'file_ops.content({path = HERE .. "/unit", content = "x"})'
OTHERS = {
    "line": 'file_ops.lineinfile({path = HERE .. "/unit", line = "y", create = true})',
    "block": 'file_ops.blockinfile({path = HERE .. "/unit", block = "y", create = true})',
    "replace": 'file_ops.replace({path = HERE .. "/unit", regexp = "a", replace = "b"})',
    "download": 'file_ops.download({url = "http://127.0.0.1:9/", dest = HERE .. "/unit"})',
}


@pytest.mark.parametrize("first", [WHOLE, None])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_has_one_owner_of_its_content(story: Story, kind: str, first: str | None) -> None:
    lua = f"{WHOLE}\n{OTHERS[kind]}" if first else f"pcall(function() {OTHERS[kind]} end)\n{WHOLE}"
    ran = story.run(lua)
    assert ran.code == 1 if first else ran.code in (1, 2)
    [told] = ran.of("diagnostic")
    assert told["title"] == "two declarations of one thing"
    assert f"own the content of {story.here}/unit" in told["detail"]
    assert story.file.name in told["detail"] and ":1" in told["detail"]


AWAY = {
    "path": 'file_ops.remove({path = HERE .. "/old", force = true})',
    "directory": 'file_ops.directory({path = HERE .. "/old", state = "absent", force = true})',
}
KEPT = [
    'content({path = HERE .. "/old", content = "x"})',
    'copy({src = "page", dest = HERE .. "/old/page"})',
    'directory({path = HERE .. "/old/a/b"})',
    'symlink({path = HERE .. "/old", target = "page"})',
    'download({url = "http://127.0.0.1:9/", dest = HERE .. "/old"})',
    'fetch({src = HERE .. "/page", dest = HERE .. "/old"})',
    'unarchive({src = "app.tar", dest = HERE .. "/old"})',
    'lineinfile({path = HERE .. "/old", line = "x", create = true})',
]


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("away_first", [True, False])
def test_a_path_is_kept_or_kept_away(story: Story, kept: str, away: str, away_first: bool) -> None:
    for file in (story.folder / "page", story.folder / "app.tar", story.here / "page"):
        file.write_text("page")
    kept = f"file_ops.{kept}"
    lines = [AWAY[away], kept] if away_first else [f"pcall(function() {kept} end)", AWAY[away]]
    told = story.plan("\n".join(lines)).of("diagnostic")[-1]
    assert told["title"] == "two declarations of one thing"
    assert f"{story.here}/old" in told["detail"] and "web.lua:1" in told["detail"]
    assert told["loc"].endswith(":2")


@pytest.mark.parametrize(
    "beside",
    [
        'file_ops.lineinfile({path = HERE .. "/old/f", regexp = "x", state = "absent"})',
        'file_ops.content({path = HERE .. "/older", content = "x"})',
        "file_ops.directory({path = HERE})",
        'file_ops.remove(HERE .. "/old/f")',
        'file_ops.fetch({src = HERE .. "/page", dest = HERE .. "/copy"})',
    ],
)
def test_what_is_not_in_a_removed_path_goes_with_it(story: Story, beside: str) -> None:
    (story.here / "page").write_text("page")
    for lua in (f"{AWAY['path']}\n{beside}", f"{beside}\n{AWAY['path']}"):
        assert story.run(lua).code == 0
        assert set(story.run().counts) == {"unchanged"}


def test_another_attempt_may_keep_what_one_has_removed(story: Story) -> None:
    lua = f"""task({{name = "t", retries = 1, run = function(ctx)
        if ctx.attempt == 1 then {AWAY["path"]} error("once more") end
        file_ops.content({{path = HERE .. "/old", content = "x"}})
    end}})"""
    assert story.run(lua).code == 0
    assert story.lines("old") == ["x"]


AGAIN = """task({{name = "t", retries = 1, run = function(ctx)
    if ctx.attempt == 1 then {first} error("once more") end
    {second}
end}})"""


@pytest.mark.parametrize(
    "second",
    [
        'file_ops.content({path = HERE .. "/f", content = "x"}) '
        'file_ops.lineinfile({path = HERE .. "/f", line = "y"})',
        'file_ops.lineinfile({path = HERE .. "/f", line = "y"}) '
        'file_ops.content({path = HERE .. "/f", content = "x"})',
    ],
)
def test_what_an_earlier_attempt_declared_permits_no_contradiction(
    story: Story, second: str
) -> None:
    first = 'file_ops.content({path = HERE .. "/f", content = "x"})'
    ran = story.run(AGAIN.format(first=first, second=second))
    assert ran.code == 1
    assert "both own the content" in ran.of("diagnostic")[-1]["detail"]


def test_another_attempt_may_give_a_recursive_directory_other_modes(story: Story) -> None:
    tree = 'file_ops.directory({path = HERE .. "/www", recurse = true, file_mode = "%s"})'
    file = 'file_ops.content({path = HERE .. "/www/f", content = "x"})'
    lua = AGAIN.format(first=f"{tree % '0640'} {file}", second=f"{tree % '0600'} {file}")
    ran = story.run(lua)
    assert ran.code == 0, ran
    assert (story.here / "www/f").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("refused", "then"),
    [
        ("file_ops.remove({path = HERE, force = true})", 'file_ops.directory(HERE .. "/b")'),
        ('file_ops.lineinfile({path = HERE .. "/a", line = "y"})', 'file_ops.remove(HERE .. "/b")'),
        (
            'user.create({name = "sloth-b", uid = 4719})',
            'user.create({name = "sloth-b", uid = 4718})',
        ),
        (
            'file_ops.directory({path = HERE, recurse = true, file_mode = "0600"})',
            'file_ops.content({path = HERE .. "/b", content = "x", mode = "0640"})',
        ),
    ],
)
def test_what_was_refused_contradicts_nothing_any_more(
    story: Story, refused: str, then: str
) -> None:
    lua = f"""
        file_ops.content({{path = HERE .. "/a", content = "x", mode = "0644"}})
        user.create({{name = "sloth-a", uid = 4719}})
        assert(not pcall(function() {refused} end))
        {then}
    """
    planned = story.plan(lua)
    assert (planned.code, planned.of("diagnostic")) == (0, [])


TREE = (
    'file_ops.directory({path = HERE .. "/www", recurse = true, mode = "0750", file_mode = "0640"})'
)


@pytest.mark.parametrize("tree_first", [True, False])
def test_a_file_in_a_recursive_directory_follows_it_from_the_first_run(
    story: Story, tree_first: bool
) -> None:
    lines = [
        'file_ops.content({path = HERE .. "/www/page", content = "x"})',
        'file_ops.directory({path = HERE .. "/www/below"})',
        'file_ops.copy({src = "page", dest = HERE .. "/www/below/copy"})',
        'file_ops.content({path = HERE .. "/www-data", content = "x"})',
    ]
    (story.folder / "page").write_text("page")
    (story.here / "www").mkdir()
    lua = "\n".join([TREE, *lines] if tree_first else [*lines, TREE])
    planned, ran = story.plan(lua), story.run()
    assert ran.code == 0, ran
    assert planned.counts == ran.counts
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in story.here.rglob("*")}
    assert modes == {
        "www": "0o750",
        "page": "0o640",
        "below": "0o750",
        "copy": "0o640",
        "www-data": "0o644",
    }
    again = story.sloth("run", str(story.file), "--yes", "-q")
    assert (again.code, again.out) == (0, "")


@pytest.mark.parametrize("tree_first", [True, False])
@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            'file_ops.content({path = HERE .. "/www/key", content = "x", mode = "0600"})',
            "mode 0600",
        ),
        ('file_ops.directory({path = HERE .. "/www/below", mode = "0700"})', "mode 0700"),
        (
            'file_ops.directory({path = HERE .. "/www/a", recurse = true, file_mode = "0600"})',
            "file_mode 0600",
        ),
    ],
)
def test_a_file_that_a_recursive_directory_wants_otherwise_is_refused(
    story: Story, tree_first: bool, line: str, what: str
) -> None:
    (story.here / "www").mkdir()
    lua = "\n".join([TREE, line] if tree_first else [line, TREE])
    planned, ran = story.plan(lua), story.run()
    for done in (planned, ran):
        assert done.code != 0
        [told] = done.of("diagnostic")
        assert told["code"] == "SR1320"
        assert what in told["detail"]
        assert "web.lua:1" in told["detail"] and "web.lua:2" in told["detail"]
    same = lua.replace("0600", "0640").replace("0700", "0750")
    assert story.run(same).code == 0


@pytest.mark.root
def test_a_name_and_a_number_of_one_account_are_no_contradiction(story: Story) -> None:
    (story.here / "www").mkdir()
    lua = """
        file_ops.directory({path = HERE .. "/www", recurse = true, owner = "root"})
        file_ops.content({path = HERE .. "/www/a", content = "x", owner = "0"})
    """
    assert story.run(lua).code == 0
    assert story.run(lua).counts == {"unchanged": 2}


@pytest.mark.root
@pytest.mark.parametrize(
    "inner",
    [
        'file_ops.symlink({path = HERE .. "/www/current", target = "releases/42"})',
        'file_ops.lineinfile({path = HERE .. "/www/f", line = "x", create = true})',
        'file_ops.blockinfile({path = HERE .. "/www/f", block = "x", create = true})',
    ],
)
def test_what_is_made_in_a_recursive_directory_gets_its_owner(story: Story, inner: str) -> None:
    lua = f"""
        file_ops.directory({{path = HERE .. "/www", recurse = true, owner = "nobody",
            group = "nogroup"}})
        {inner}
    """
    assert story.run(lua).counts == {"created": 2}
    assert story.run().counts == {"unchanged": 2}
    [made] = (story.here / "www").iterdir()
    assert made.lstat().st_uid == (story.here / "www").stat().st_uid != 0


@pytest.mark.parametrize(
    ("lua", "what", "places"),
    [
        ('user.create({names = {"sloth-a", "sloth-b"}, uid = 4711})', "uid 4711", [1]),
        ('group.create({names = {"sloth-a", "sloth-b"}, gid = 4711})', "gid 4711", [1]),
        (
            'user.create({name = "sloth-a"})\nuser.modify({name = "sloth-a", uid = 4711})\n'
            'user.create({name = "sloth-b", uid = 4711})',
            "uid 4711",
            [2, 3],
        ),
    ],
)
def test_two_accounts_cannot_have_one_number(
    story: Story, lua: str, what: str, places: list[int]
) -> None:
    done = story.plan(lua)
    assert done.code != 0
    [told] = done.of("diagnostic")
    assert told["code"] == "SR1320"
    for said in (what, "sloth-a", "sloth-b"):
        assert said in told["detail"]
    for place in places:
        assert f"web.lua:{place}" in told["detail"] + told["loc"]


def test_one_account_may_have_a_number_by_any_call(story: Story) -> None:
    calls = [
        'user.create({names = {"sloth-a", "sloth-a"}, uid = 4711})',
        'user.modify({name = "sloth-a", uid = 4712})',
        'user.create({name = "sloth-b", uid = 4711})',
        'group.create({name = "sloth-c", gid = 4711})',
        'user.create({name = "sloth-d", uid = 4713})',
    ]
    done = story.plan("\n".join(calls))
    assert (done.code, done.of("diagnostic")) == (0, [])


@pytest.mark.parametrize("first", ["", 'user.create({name = "sloth-new", shell = "/bin/bash"})'])
@pytest.mark.parametrize("between", ["", 'comment = "New"'])
def test_two_changes_of_a_user_that_contradict_each_other_are_refused(
    story: Story, first: str, between: str
) -> None:
    name = "sloth-new" if first else "root"
    wishes = ['shell = "/bin/zsh"', between, 'shell = "/bin/ksh"']
    changes = [f'user.modify({{name = "{name}", {wish}}})' if wish else "" for wish in wishes]
    [told] = story.plan("\n".join([first, *changes])).of("diagnostic")
    assert told["title"] == "two declarations of one thing"
    assert told["loc"].endswith(":4") and "web.lua:" in told["detail"]


@pytest.mark.parametrize(
    "more", ['comment = "New"', 'shell = "/bin/zsh", groups = {"audio"}, append = true']
)
def test_changes_of_a_user_that_go_together_are_all_wanted(story: Story, more: str) -> None:
    lua = f"""
        user.create({{name = "sloth-new", shell = "/bin/bash"}})
        user.modify({{name = "sloth-new", shell = "/bin/zsh"}})
        user.modify({{name = "sloth-new", {more}}})
    """
    planned = story.plan(lua)
    assert (planned.code, planned.counts) == (0, {"created": 1, "changed": 2})


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("whole_first", [True, False])
def test_a_retry_forgives_no_contradiction(story: Story, kind: str, whole_first: bool) -> None:
    (story.here / "unit").write_text("x")
    lines = [WHOLE, OTHERS[kind]] if whole_first else [OTHERS[kind], WHOLE]
    lines[0] = f"pcall(function() {lines[0]} end)" if "http" in lines[0] else lines[0]
    lua = f"""task({{name = "t", retries = 1, run = function() {lines[0]}; {lines[1]} end}})"""
    for done in (story.plan(lua), story.run()):
        assert done.code != 0
        assert {d["title"] for d in done.of("diagnostic")} == {"two declarations of one thing"}


def test_what_was_refused_stands_in_the_way_of_nothing(story: Story) -> None:
    lua = f"""
        {OTHERS["line"]}
        pcall(function() {WHOLE} end)
        {OTHERS["block"]}
        pcall(function() {AWAY["path"].replace("old", "unit")} end)
        file_ops.lineinfile({{path = HERE .. "/unit", line = "z"}})
    """
    assert story.run(lua).code == 0
    assert {"y", "z"} <= set(story.lines("unit"))


PARTS = {
    "a line in a block": (
        'lineinfile({path = HERE .. "/conf", line = "x=1", regexp = "^x="})',
        'blockinfile({path = HERE .. "/conf", block = "x=2"})',
    ),
    "a line that another pattern finds": (
        'lineinfile({path = HERE .. "/conf", line = "x=1", regexp = "^x="})',
        'lineinfile({path = HERE .. "/conf", line = "x=2", regexp = "^x=2"})',
    ),
    "a line that is replaced": (
        'lineinfile({path = HERE .. "/conf", line = "x=1"})',
        'replace({path = HERE .. "/conf", regexp = "x=1", replace = "x=2"})',
    ),
    "a line that is kept out": (
        'blockinfile({path = HERE .. "/conf", block = "x=1"})',
        'lineinfile({path = HERE .. "/conf", regexp = "x=", state = "absent"})',
    ),
    "markers of a block": (
        'blockinfile({path = HERE .. "/conf", block = "x=1"})',
        'lineinfile({path = HERE .. "/conf", regexp = "END", state = "absent"})',
    ),
}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("turned", [False, True])
def test_parts_of_a_file_that_undo_each_other_are_refused(
    story: Story, parts: str, turned: bool
) -> None:
    (story.here / "conf").write_text("first\nx=3\nx=1\n" if "kept" not in parts else "first\n")
    lines = [f"file_ops.{part}" for part in PARTS[parts]]
    lua = "\n".join(reversed(lines) if turned else lines)
    ran = [story.run(lua), story.plan(), story.run()]
    for done in ran:
        assert done.code != 0
        [told] = done.of("diagnostic")
        assert told["title"] == "two declarations of one thing"
        assert "would undo" in told["detail"] and "web.lua:1" in told["detail"]
        assert told["loc"].endswith(":2")
    assert not {"changed", "created", "removed"} & set(ran[-1].counts)


def test_parts_of_a_file_that_meet_and_agree_are_kept(story: Story) -> None:
    (story.here / "conf").write_text("x=0\nport=80\n")
    lua = """
        file_ops.lineinfile({path = HERE .. "/conf", line = "x=1", regexp = "^x="})
        file_ops.replace({path = HERE .. "/conf", regexp = "^port=.*$", replace = "port=81"})
        file_ops.blockinfile({path = HERE .. "/conf", block = "x=1\\nport=81"})
        file_ops.lineinfile({path = HERE .. "/conf", line = "y=1", insertbefore = "BOF"})
    """
    assert story.run(lua).code == 0
    assert set(story.run().counts) == {"unchanged"}


KINDS = {
    "file": 'file_ops.content({path = HERE .. "/p", content = "x"})',
    "line": 'file_ops.lineinfile({path = HERE .. "/p", line = "x", create = true})',
    "directory": 'file_ops.directory({path = HERE .. "/p"})',
    "link": 'file_ops.symlink({path = HERE .. "/p", target = HERE .. "/q", force = true})',
}


@pytest.mark.parametrize(
    ("first", "second"),
    [(a, b) for a in KINDS for b in KINDS if a != b and {a, b} != {"file", "line"}],
)
def test_one_path_is_not_two_things(story: Story, first: str, second: str) -> None:
    lua = f"{KINDS[first]}\n{KINDS[second]}"
    for done in (story.plan(lua), story.run(lua)):
        assert done.code != 0
        [told] = done.of("diagnostic")
        assert told["title"] == "two declarations of one thing"
        assert "web.lua:1" in told["detail"] and told["loc"].endswith(":2")


def test_what_a_link_leads_to_is_no_other_thing(story: Story) -> None:
    follow = KINDS["file"].replace('"x"', '"x", follow = true')
    for lua in (f"{KINDS['link']}\n{follow}", KINDS["directory"] + "\n" + KINDS["directory"]):
        (story.here / "q").write_text("")
        assert story.plan(lua).code == 0, lua
    assert story.run(f"{KINDS['link']}\n{follow}").code == 0
    assert (story.here / "p").is_symlink() and (story.here / "q").read_text() == "x"
    assert set(story.run().counts) == {"unchanged"}
