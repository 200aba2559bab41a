"""Groups on a real host, looked at with getent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import Machine
from resources.inside import converge, inside, refusal
from sloth_runner.core import forms
from sloth_runner.core.errors import ParamError
from sloth_runner.resources.group import Group


@pytest.fixture(scope="module")
def host(machine_image: Path) -> Iterator[Machine]:
    """One host for all tests of this file; each has groups of its own."""
    with Machine(machine_image) as machine:
        yield machine


@pytest.mark.parametrize("given", [{"name": "-x"}, {"name": "a,b"}, {"name": "x", "gid": -1}])
def test_what_cannot_be_a_group_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ParamError):
        forms.build(Group, given, function="group.create")


def test_a_group_is_made_once(host: Machine) -> None:
    assert converge(host, "group.create", name="made", gid=4300)["before"] is None
    assert host.sh("getent group made").stdout == "made:x:4300:\n"
    assert converge(host, "group.create", name="made", gid=4300)["changes"] == []
    assert converge(host, "group.create", name="made")["changes"] == []


def test_a_system_group_gets_a_number_of_the_system(host: Machine) -> None:
    converge(host, "group.create", name="inner", system=True)
    assert int(host.sh("getent group inner | cut -d: -f3").stdout) < 1000


def test_the_number_changes_and_the_members_stay(host: Machine) -> None:
    host.sh("groupadd moved; useradd -G moved member")
    assert converge(host, "group.create", name="moved", gid=5301)["changes"] == ["gid"]
    assert host.sh("getent group moved").stdout == "moved:x:5301:member\n"


def test_what_groupadd_would_refuse_is_refused_in_the_preview(host: Machine) -> None:
    host.sh("useradd owner")
    assert "belongs to the group root" in refusal(host, "group.create", name="z", gid=0)
    assert "primary group of owner" in refusal(host, "group.remove", name="owner")
    assert "group of root" in refusal(host, "group.remove", name="root")


def test_a_group_is_removed_once(host: Machine) -> None:
    host.sh("groupadd gone")
    converge(host, "group.remove", name="gone")
    assert host.sh("getent group gone", check=False).returncode == 2
    assert converge(host, "group.remove", name="gone")["before"] is None


@pytest.mark.parametrize(
    ("function", "given"),
    [("group.create", {"gid": 4999}), ("group.remove", {})],
)
def test_what_was_there_before_comes_back(
    host: Machine, function: str, given: dict[str, Any]
) -> None:
    host.sh(
        "getent group back || { groupadd -g 4400 back; useradd -G back b1; useradd -G back b2; }"
    )
    said = inside(host, "undo", function, name="back", **given)
    assert "error" not in said
    assert said["after"] != said["before"] == said["undone"]
    assert host.sh("getent group back").stdout == "back:x:4400:b1,b2\n"


def test_a_group_that_was_made_goes(host: Machine) -> None:
    said = inside(host, "undo", "group.create", name="brief")
    assert (said["before"], said["undone"]) == (None, None)
