"""What one line makes in a directory and others declare there too: each has its part."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from stories.story import Story

UNPACK = 'file_ops.unarchive({src = "app.tar", dest = HERE .. "/www"})'
MADE = 'file_ops.directory({path = HERE .. "/www"})'
FILES = {"app/run": (0o755, b"#!/bin/sh\n"), "app/conf/main": (0o644, b"port=80\nhost=a\n")}


def pack(place: Path, files: Mapping[str, tuple[int, bytes]]) -> None:
    with tarfile.open(place, "w") as tar:
        folder = tarfile.TarInfo("app")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name, (mode, body) in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, len(body)
            tar.addfile(member, io.BytesIO(body))


@pytest.fixture
def site(story: Story) -> Story:
    pack(story.folder / "app.tar", FILES)
    return story


def settles(site: Story, lua: str) -> None:
    """One run makes all that its plan lists; after that nothing is changed and nothing drifts."""
    planned, ran = site.plan(lua), site.run()
    assert ran.code == 0, ran
    listed, changed = ({e["res"] for e in done.of("resource.end")} for done in (planned, ran))
    assert changed and changed == listed
    drift = site.sloth("--json", "stack", "drift", "web").json
    assert (drift["drifted"], drift["missing"]) == ([], [])
    for _ in range(2):
        assert set(site.run().counts) == {"unchanged"}


def modes(site: Story) -> dict[str, str]:
    top = site.here / "www"
    return {str(p.relative_to(top)): oct(p.stat().st_mode)[-4:] for p in sorted(top.rglob("*"))}


def whole(path: str) -> str:
    return (
        f'file_ops.directory({{path = HERE .. "{path}", recurse = true, mode = "0750", '
        'file_mode = "0640"})'
    )


@pytest.mark.parametrize("tree_first", [True, False])
@pytest.mark.parametrize("above", [True, False])
def test_what_is_unpacked_has_the_modes_of_the_recursive_directory_around_it(
    site: Story, tree_first: bool, above: bool
) -> None:
    (site.here / "www").mkdir()
    tree = whole("" if above else "/www")
    settles(site, "\n".join([tree, UNPACK] if tree_first else [UNPACK, tree]))
    assert modes(site) == {
        "app": "0750",
        "app/conf": "0750",
        "app/conf/main": "0640",
        "app/run": "0640",
    }
    (site.here / "www/app/run").unlink()
    assert site.run().counts == {"changed": 1, "unchanged": 1}
    assert modes(site)["app/run"] == "0640"


@pytest.mark.parametrize("tree_first", [True, False])
def test_a_recursive_directory_of_a_part_decides_there_alone(site: Story, tree_first: bool) -> None:
    tree = whole("/www/app/conf")
    settles(site, "\n".join([MADE, *([tree, UNPACK] if tree_first else [UNPACK, tree])]))
    assert modes(site) == {
        "app": "0755",
        "app/conf": "0750",
        "app/conf/main": "0640",
        "app/run": "0755",
    }


@pytest.mark.root
@pytest.mark.parametrize("tree_first", [True, False])
def test_what_is_unpacked_gets_the_owner_of_a_recursive_directory(
    site: Story, tree_first: bool
) -> None:
    tree = 'file_ops.directory({path = HERE .. "/www", recurse = true, owner = "nobody"})'
    (site.here / "www").mkdir()
    settles(site, "\n".join([tree, UNPACK] if tree_first else [UNPACK, tree]))
    assert {p.owner() for p in (site.here / "www").rglob("*")} == {"nobody"}
    assert oct((site.here / "www/app/run").stat().st_mode)[-4:] == "0755"


@pytest.mark.parametrize("tree_first", [True, False])
@pytest.mark.parametrize("given", ['owner = "1234"', 'file_mode = "0600"'])
def test_an_archive_that_a_recursive_directory_wants_otherwise_is_refused(
    site: Story, tree_first: bool, given: str
) -> None:
    (site.here / "www").mkdir()
    tree = (
        'file_ops.directory({path = HERE .. "/www", recurse = true, owner = "4321", '
        'file_mode = "0640"})'
    )
    unpack = f'file_ops.unarchive({{src = "app.tar", dest = HERE .. "/www", {given}}})'
    planned = site.plan("\n".join([tree, unpack] if tree_first else [unpack, tree]))
    [told] = planned.of("diagnostic")
    assert told["code"] == "SR1320"
    assert "web.lua:1" in told["detail"] and "web.lua:2" in told["detail"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('lineinfile({path = CONF, regexp = "^port=", line = "port=81"})', "port=81\nhost=a\n"),
        ('replace({path = CONF, regexp = "^port=80", replace = "port=81"})', "port=81\nhost=a\n"),
        ('content({path = CONF, content = "mine", mode = "0600"})', "mine"),
        ('symlink({path = CONF, target = "/dev/null", force = true})', ""),
        ("remove(CONF)", None),
    ],
)
def test_a_file_of_an_archive_is_edited_or_replaced_by_another_line(
    site: Story, line: str, text: str | None
) -> None:
    conf = site.here / "www/app/conf/main"
    settles(site, f'{MADE} {UNPACK} local CONF = HERE .. "/www/app/conf/main" file_ops.{line}')
    assert (conf.read_text() if conf.exists() else None) == text
    pack(site.folder / "app.tar", FILES | {"app/run": (0o755, b"second")})
    assert site.run().counts["changed"] == 1
    assert (conf.read_text() if conf.exists() else None) == text
    assert (site.here / "www/app/run").read_bytes() == b"second"


def test_a_file_that_was_declared_before_the_archive_is_not_overwritten(site: Story) -> None:
    lines = [
        'file_ops.directory({path = HERE .. "/www/app/conf"})',
        'file_ops.content({path = HERE .. "/www/app/conf/main", content = "mine"})',
        UNPACK,
    ]
    settles(site, "\n".join(lines))
    assert (site.here / "www/app/conf/main").read_text() == "mine"
    assert (site.here / "www/app/run").exists()


def test_an_edit_that_is_added_later_changes_nothing_but_its_file(site: Story) -> None:
    settles(site, f"{MADE} {UNPACK}")
    edit = 'file_ops.lineinfile({path = HERE .. "/www/app/conf/main", line = "more"})'
    settles(site, f"{MADE} {UNPACK} {edit}")
    assert (site.here / "www/app/conf/main").read_text() == "port=80\nhost=a\nmore\n"


def test_a_file_that_is_edited_is_unpacked_again_where_it_is_missing(site: Story) -> None:
    edit = 'file_ops.lineinfile({path = HERE .. "/www/app/conf/main", line = "more"})'
    settles(site, f"{MADE} {UNPACK} {edit}")
    (site.here / "www/app/conf/main").unlink()
    assert set(site.run().counts) == {"changed", "created", "unchanged"}
    assert (site.here / "www/app/conf/main").read_text() == "port=80\nhost=a\nmore\n"


def test_a_directory_of_an_archive_has_the_mode_that_another_line_gives_it(site: Story) -> None:
    folder = 'file_ops.directory({path = HERE .. "/www/app", mode = "0700"})'
    settles(site, f"{MADE} {folder} {UNPACK}")
    assert modes(site)["app"] == "0700"


def test_an_archive_takes_back_what_nothing_else_declares_any_more(site: Story) -> None:
    edit = 'file_ops.lineinfile({path = HERE .. "/www/app/conf/main", line = "more"})'
    settles(site, f"{MADE} {UNPACK} {edit}")
    site.run(f"{MADE} {UNPACK}")
    assert site.run().counts == {"changed": 1, "unchanged": 1}
    assert (site.here / "www/app/conf/main").read_bytes() == FILES["app/conf/main"][1]
    assert site.run().counts == {"unchanged": 2}


@pytest.mark.root
@pytest.mark.parametrize("tree_first", [True, False])
def test_a_fetched_file_gets_the_owner_of_the_recursive_directory_it_is_in(
    story: Story, tree_first: bool
) -> None:
    (story.here / "www").mkdir()
    (story.here / "report").write_text("well")
    lines = [
        'file_ops.directory({path = HERE .. "/www", recurse = true, owner = "nobody"})',
        'file_ops.fetch({src = HERE .. "/report", dest = HERE .. "/www/report"})',
    ]
    settles(story, "\n".join(lines if tree_first else reversed(lines)))
    assert (story.here / "www/report").owner() == "nobody"
    other = 'file_ops.fetch({src = HERE .. "/report", dest = HERE .. "/www/report", owner = "bin"})'
    [told] = story.plan("\n".join([lines[0], other])).of("diagnostic")
    assert "owner bin" in told["detail"]


def test_what_an_archive_takes_for_its_sign_may_be_made_before_it(site: Story) -> None:
    (site.here / "ready").write_text("")
    lua = f"""{MADE}
        file_ops.symlink({{path = HERE .. "/done", target = "ready"}})
        file_ops.unarchive({{src = "app.tar", dest = HERE .. "/www", creates = HERE .. "/done"}})
    """
    (site.here / "www").mkdir()
    [_, unpacked] = site.plan(lua).of("resource.end")
    assert unpacked["follows"] == f"local/symlink:{site.here}/done"
    assert site.run().counts == {"created": 1, "unchanged": 2}
    (site.here / "done").unlink()
    assert site.plan().of("resource.end")[-1]["follows"] == f"local/symlink:{site.here}/done"
    assert site.run().counts == {"created": 1, "unchanged": 2}


def test_an_edited_file_keeps_its_content_where_its_attributes_are_put_back(site: Story) -> None:
    edit = 'file_ops.lineinfile({path = HERE .. "/www/app/conf/main", line = "debug=1"})'
    settles(site, f"{MADE}\n{UNPACK}\n{edit}")
    conf = site.here / "www/app/conf/main"
    conf.write_bytes(conf.read_bytes() + b"by hand\n")
    conf.chmod(0o600)
    assert site.run().counts == {"changed": 1, "unchanged": 2}
    assert conf.read_bytes() == b"port=80\nhost=a\ndebug=1\nby hand\n"
    assert conf.stat().st_mode & 0o777 == 0o644
    conf.unlink()
    conf.symlink_to("/nowhere")
    assert site.run().code == 0
    assert (conf.is_symlink(), conf.read_text()) == (False, "port=80\nhost=a\ndebug=1\n")


@pytest.mark.parametrize("mode", ["0600", "0644"])
def test_a_file_may_be_edited_before_the_archive_that_it_is_of_is_unpacked(
    site: Story, mode: str
) -> None:
    (site.here / "www/app/conf").mkdir(parents=True)
    edit = (
        'file_ops.blockinfile({path = HERE .. "/www/app/conf/main", block = "debug=1", '
        f'create = true, mode = "{mode}", sensitive = false}})'
    )
    settles(site, f"{edit}\n{UNPACK}")
    assert "debug=1" in site.lines("www/app/conf/main")
    assert modes(site)["app/conf/main"] == "0644"


def test_an_archive_that_is_declared_again_leaves_what_was_declared_meanwhile(site: Story) -> None:
    mine = 'file_ops.content({path = HERE .. "/www/app/conf/main", content = "mine"})'
    lua = f'{MADE}\n{UNPACK}\n{mine}\ntask({{name = "again", run = function() {UNPACK} end}})'
    assert site.run(lua).code == 0
    assert site.lines("www/app/conf/main") == ["mine"]
    for _ in range(2):
        assert set(site.run().counts) == {"unchanged"}
