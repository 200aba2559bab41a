"""``stack accept``: what is there becomes what is wanted, or nothing is taken at all."""

import json
from pathlib import Path

import pytest

from stories.story import Story

FILE = 'file_ops.content({path = HERE .. "/%s", content = "%s", mode = "0644"})'
SECRET = "hunter2-and-more"


def holding(folder: Path, text: str) -> list[Path]:
    """Returns the files below a folder in which a text stands in plain."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]


def test_a_secret_that_is_accepted_is_nowhere_in_plain(story: Story) -> None:
    secret = story.here / "secret"
    story.run('file_ops.content({path = HERE .. "/secret", content = "at first", mode = "0600"})')
    secret.write_text(SECRET)
    assert story.sloth("stack", "accept", "web", f"file:{secret}").code == 0
    assert holding(story.db.parent, SECRET) == []
    secret.write_text("other")
    assert story.sloth("stack", "drift", "web", "--fix").code == 0
    assert secret.read_text() == SECRET


def test_a_secret_stays_one_when_its_file_was_opened_to_others(story: Story) -> None:
    secret = story.here / "secret"
    story.run('file_ops.content({path = HERE .. "/secret", content = "at first", mode = "0600"})')
    secret.write_text(SECRET)
    secret.chmod(0o644)
    assert story.sloth("stack", "accept", "web", f"file:{secret}").code == 0
    assert holding(story.db.parent, SECRET) == []


def test_a_directory_in_place_of_a_file_is_not_accepted(story: Story) -> None:
    path = story.here / "f"
    story.run(FILE % ("f", "x"))
    path.unlink()
    path.mkdir()
    (path / "inner").write_text("inner")
    refused = story.sloth("stack", "accept", "web", f"file:{path}")
    assert refused.code == 2
    assert "cannot be accepted" in refused.err
    assert holding(story.db.parent / "stacks.db.d" / "tmp", "inner") == []


@pytest.mark.parametrize(
    ("lua", "name", "text"),
    [
        ('file_ops.remove(HERE .. "/old")', "path:{}/old", "precious"),
        (
            'file_ops.lineinfile({path = HERE .. "/old", line = "gone", state = "absent"})',
            "line:{}/old#gone",
            "gone\n",
        ),
    ],
)
def test_what_is_declared_absent_is_not_accepted(
    story: Story, lua: str, name: str, text: str
) -> None:
    story.run(lua)
    (story.here / "old").write_text(text)
    refused = story.sloth("stack", "accept", "web", name.format(story.here))
    assert refused.code == 2
    assert "it is declared to be absent, and is there" in refused.err
    assert (story.here / "old").read_text() == text


def test_all_that_is_named_is_accepted_or_nothing(story: Story) -> None:
    story.run(FILE % ("a", "1") + FILE % ("b", "2"))
    (story.here / "a").write_text("other")
    (story.here / "b").unlink()
    names = [f"file:{story.here}/{name}" for name in "ab"]
    assert story.sloth("stack", "accept", "web", *names).code == 2
    shown = json.loads(story.sloth("stack", "drift", "web", "--json").out)
    assert [one["address"] for one in shown["drifted"]] == [f"local/{names[0]}"]


def test_what_a_followed_link_leads_to_is_accepted(story: Story) -> None:
    (story.here / "real").write_text("a")
    (story.here / "link").symlink_to("real")
    story.run('file_ops.content({path = HERE .. "/link", content = "v1", follow = true})')
    (story.here / "real").write_text("edited")
    accepted = story.sloth("stack", "accept", "web", f"file:{story.here}/link")
    assert accepted.code == 0, accepted
    assert json.loads(story.sloth("stack", "drift", "web", "--json").out)["drifted"] == []
