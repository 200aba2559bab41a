"""Where the writers write nothing, the plan says so before, in the same words."""

import os
from pathlib import Path

import pytest

from resources.bench import snapshot
from stories.story import Story


def refused_alike(story: Story, lua: str, why: str) -> None:
    before = snapshot(story.here)
    planned = story.plan(lua)
    assert snapshot(story.here) == before
    ran = story.run()
    [told], [failed] = planned.of("diagnostic"), ran.of("diagnostic")
    assert why in told["detail"]
    assert (told["code"], told["detail"]) == (failed["code"], failed["detail"])
    assert planned.code != 0 and ran.code != 0


@pytest.mark.parametrize(
    "line",
    [
        'content({path = HERE .. "/open/new", content = "x"})',
        'content({path = HERE .. "/open/old", content = "x"})',
        'content({path = HERE .. "/open/old", content = "old", mode = "0600"})',
        'lineinfile({path = HERE .. "/open/old", line = "x"})',
        'blockinfile({path = HERE .. "/open/new", block = "x", create = true})',
        'directory({path = HERE .. "/open/a/b"})',
        'directory({path = HERE .. "/open/folder", mode = "0700"})',
        'directory({path = HERE .. "/open/folder", mode = "0700", recurse = true})',
        'symlink({path = HERE .. "/open/link", target = "x"})',
        'download({url = "http://127.0.0.1:9/", dest = HERE .. "/open/new"})',
        'fetch({src = HERE .. "/open/old", dest = HERE .. "/open/new"})',
        'unarchive({archive = HERE .. "/app.tar", dest = HERE .. "/open/folder"})',
    ],
)
def test_a_directory_that_everybody_may_write_is_refused_in_the_plan(
    story: Story, line: str
) -> None:
    shared = story.here / "open"
    (shared / "folder").mkdir(parents=True)
    (shared / "folder/f").touch()
    (shared / "old").write_text("old")
    pack(story.here / "app.tar")
    shared.chmod(0o777)
    refused_alike(story, f"file_ops.{line}", f"everybody may write to {shared}")


def pack(place: Path) -> None:
    from sloth_runner.resources._trees import packed

    place.write_text(packed({"run": "x"}))


@pytest.mark.parametrize(
    "line",
    [
        'content({path = HERE .. "/group/f", content = "f", mode = "0600"})',
        'content({path = HERE .. "/group/f", content = "x", in_place = true})',
        'lineinfile({path = HERE .. "/group/f", line = "x", in_place = true})',
        'directory({path = HERE .. "/group", recurse = true, file_mode = "0600"})',
    ],
)
@pytest.mark.root
def test_a_file_that_others_may_have_linked_there_is_refused_in_the_plan(
    story: Story, line: str
) -> None:
    shared = story.here / "group"
    shared.mkdir()
    (shared / "a").touch()
    (story.here / "secret").write_text("f")
    (shared / "f").hardlink_to(story.here / "secret")
    os.chown(shared, 0, 4242)
    shared.chmod(0o775)
    refused_alike(story, f"file_ops.{line}", f"{shared}/f has 2 names")


@pytest.mark.root
def test_a_link_that_others_may_have_laid_is_refused_in_the_plan(story: Story) -> None:
    (story.here / "home").mkdir()
    (story.here / "home/link").symlink_to("/etc")
    os.chown(story.here / "home", 4242, 4242)
    for line in (
        'content({path = HERE .. "/home/link/f", content = "x"})',
        'remove(HERE .. "/home/link/passwd")',
    ):
        refused_alike(story, f"file_ops.{line}", "leads to /etc")


@pytest.mark.parametrize(
    "before",
    [
        'file_ops.directory({path = HERE .. "/open", mode = "0755"})',
        'exec.run({argv = {"chmod", "755", HERE .. "/open"}})',
    ],
)
def test_what_is_put_right_before_is_not_refused(story: Story, before: str) -> None:
    (story.here / "open").mkdir()
    (story.here / "open").chmod(0o777)
    lua = f'{before}\nfile_ops.content({{path = HERE .. "/open/f", content = "x"}})'
    assert story.plan(lua).code == 0
    assert story.run().code == 0


@pytest.mark.root
def test_an_account_that_is_to_be_made_is_no_reason_to_refuse(story: Story) -> None:
    lua = 'file_ops.content({path = HERE .. "/f", content = "x", owner = "no-such-user"})'
    assert story.plan(lua).code == 0
