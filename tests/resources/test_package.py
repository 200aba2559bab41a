"""``pkg.install``, ``pkg.latest``, ``pkg.remove`` and ``pkg.hold``: what they want and refuse."""

import subprocess
from typing import Any

import pytest

from resources.bench import Bench
from sloth_runner.core import forms
from sloth_runner.core.errors import ParamError
from sloth_runner.resources.hold import Hold
from sloth_runner.resources.package import Package

debian = pytest.mark.needs("dpkg-query")


def package(**given: Any) -> Package:
    made = forms.build(Package, given, function="pkg.install")
    assert isinstance(made, Package)
    return made


def test_installed_is_another_word_for_present() -> None:
    assert package(name="nginx", state="installed").desired() == {"state": "present"}
    assert package(name="nginx").desired() == {"state": "present"}


def test_any_version_will_do_unless_one_is_asked_for() -> None:
    seen = {"state": "present", "version": "1.1-1"}
    assert not package(name="sloth-pin").diff(seen)
    assert not package(name="sloth-pin", version="1.1").diff(seen)
    assert not package(name="sloth-pin", version="1.*").diff(seen)
    change = package(name="sloth-pin", version="1.0").diff(seen)
    assert [(c.property, c.old, c.new) for c in change.changes] == [("version", "1.1-1", "1.0")]


def test_half_installed_is_not_installed() -> None:
    change = package(name="nginx").diff({"state": "half-configured", "version": "1.0"})
    assert [c.property for c in change.changes] == ["state"]


def test_the_version_reached_is_watched_only_where_one_was_asked_for() -> None:
    assert package(name="nginx").tracked == ()
    assert package(name="nginx", version="1.*").tracked == ("version",)
    assert package(name="nginx", state="latest").tracked == ("version",)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "nginx="}, "not a package name"),
        ({"name": "nginx-"}, "not a package name"),
        ({"name": "-o=x"}, "not a package name"),
        ({"name": "nginx", "version": ">= 1.0"}, "not a version"),
        ({"name": "nginx", "version": "1.0", "state": "latest"}, "exclude each other"),
        ({"name": "nginx", "version": "1.0", "state": "absent"}, "exclude each other"),
        ({"name": "nginx", "purge": True}, "purge"),
        ({"name": "nginx", "state": "instaled"}, "did you mean"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_host_is_asked(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ParamError) as caught:
        package(**given)
    assert says in caught.value.detail


def test_a_version_in_the_name_is_answered_with_how_to_write_it() -> None:
    with pytest.raises(ParamError) as caught:
        package(name="nginx=1.22.1")
    assert caught.value.hint == 'give the version apart: name = "nginx", version = "1.22.1"'


def test_a_name_of_a_hold_is_checked_too() -> None:
    with pytest.raises(ParamError):
        forms.build(Hold, {"name": "nginx-"}, function="pkg.hold")


@debian
def test_what_dpkg_says_is_installed_is_observed_with_its_version(local: Bench) -> None:
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "dpkg"], capture_output=True, text=True, check=True
    )
    assert local.observe(package(name="dpkg")) == {"state": "present", "version": shown.stdout}
    assert local.observe(package(name="no-such-package-at-all")) is None
