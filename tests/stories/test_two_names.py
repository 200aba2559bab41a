"""One place under two names, through a folder that is a link: what is said of both must agree."""

import tarfile

import pytest

from stories.story import Story

AGAINST = {
    'content({path = HERE .. "/run/x", content = "one"})': (
        'content({path = HERE .. "/var/run/x", content = "two"})'
    ),
    'content({path = HERE .. "/run/x", content = "one", mode = "0644"})': (
        'content({path = HERE .. "/var/run/x", content = "one", mode = "0600", sensitive = false})'
    ),
    'directory({path = HERE .. "/run/d", mode = "0755"})': (
        'directory({path = HERE .. "/var/run/d", mode = "0700"})'
    ),
    'symlink({path = HERE .. "/run/l", target = "a"})': (
        'symlink({path = HERE .. "/var/run/l", target = "b"})'
    ),
    'lineinfile({path = HERE .. "/run/old", line = "a=1", regexp = "^a="})': (
        'lineinfile({path = HERE .. "/var/run/old", line = "a=2", regexp = "^a="})'
    ),
    'content({path = HERE .. "/run/old", content = "one"})': (
        'lineinfile({path = HERE .. "/var/run/old", line = "two"})'
    ),
    'content({path = HERE .. "/run/old", content = "one "})': (
        'content({path = HERE .. "/name", content = "two", follow = true})'
    ),
    'content({path = HERE .. "/run/d/x", content = "one"})': (
        'remove({path = HERE .. "/var/run/d", force = true})'
    ),
    'content({path = HERE .. "/var/run/x", content = "one", mode = "0600"})': (
        'directory({path = HERE .. "/run", recurse = true, file_mode = "0640"})'
    ),
}


@pytest.fixture
def site(story: Story) -> Story:
    """A folder ``run`` that is ``var/run`` too, and a file in it that is ``name`` too."""
    (story.here / "run").mkdir()
    (story.here / "var").mkdir()
    (story.here / "var" / "run").symlink_to("../run")
    (story.here / "run" / "old").write_text("")
    (story.here / "name").symlink_to("run/old")
    return story


@pytest.mark.parametrize("one", AGAINST)
@pytest.mark.parametrize("turned", [False, True])
def test_two_names_of_one_place_that_want_it_otherwise_are_refused(
    site: Story, one: str, turned: bool
) -> None:
    (site.here / "run" / "d").mkdir()
    lines = [f"file_ops.{one}", f"file_ops.{AGAINST[one]}"]
    planned, ran = site.plan("\n".join(reversed(lines) if turned else lines)), site.run()
    for done in (planned, ran):
        assert done.code != 0
        [told] = done.of("diagnostic")
        assert told["title"] == "two declarations of one thing"
        assert "web.lua:1" in told["detail"] and told["loc"].endswith(":2")


def test_two_names_that_want_the_same_are_two_rows(site: Story) -> None:
    lua = """
        file_ops.content({path = HERE .. "/run/x", content = "one"})
        file_ops.content({path = HERE .. "/var/run/x", content = "one"})
        file_ops.lineinfile({path = HERE .. "/run/old", line = "a"})
        file_ops.lineinfile({path = HERE .. "/var/run/old", line = "b"})
        file_ops.content({path = HERE .. "/var/y", content = "two"})
        file_ops.remove(HERE .. "/var/run/z")
    """
    planned = {event["res"]: event.get("follows") for event in site.plan(lua).of("resource.end")}
    first = f"local/line:{site.here}/run/old#a"
    assert planned[f"line:{site.here}/var/run/old#b"] == first
    assert site.run().code == 0
    assert set(site.run().counts) == {"unchanged"}
    assert len(site.resources()) == 6


def test_a_link_is_not_what_it_leads_to(site: Story) -> None:
    lua = """
        file_ops.symlink({path = HERE .. "/name", target = "run/old"})
        file_ops.content({path = HERE .. "/name", content = "x", follow = true})
        file_ops.symlink({path = HERE .. "/var/run", target = "../run"})
        file_ops.directory({path = HERE .. "/run", mode = "0755"})
    """
    assert site.run(lua).code == 0
    assert set(site.run().counts) == {"unchanged"}


@pytest.mark.parametrize(("into", "other"), [("run", "var/run"), ("var/run", "run")])
@pytest.mark.parametrize("archive_first", [True, False])
def test_what_another_name_declares_of_an_archive_is_left_to_it(
    site: Story, into: str, other: str, archive_first: bool
) -> None:
    with tarfile.open(site.folder / "app.tar", "w") as tar:
        for name in ("app", "kept"):
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            tar.addfile(member)
    lines = [
        f'file_ops.unarchive({{src = "app.tar", dest = HERE .. "/{into}"}})',
        f'file_ops.content({{path = HERE .. "/{other}/app", content = "mine"}})',
    ]
    assert site.run("\n".join(lines if archive_first else reversed(lines))).code == 0
    for _ in range(2):
        assert set(site.run().counts) == {"unchanged"}
    drift = site.sloth("--json", "stack", "drift", "web").json
    assert (drift["checked"], drift["drifted"], drift["missing"]) == (2, [], [])
    assert site.lines("run/app") == ["mine"]
    assert sorted(p.name for p in (site.here / "run").iterdir()) == ["app", "kept", "old"]
