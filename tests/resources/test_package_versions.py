"""Versions and names of packages, against dpkg itself."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloth_runner.resources import _dpkg

PART = st.text("0019azA~.+", max_size=5)
UPSTREAM = st.builds(str.__add__, st.sampled_from("0129"), PART)
VERSION = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "0:", "1:", "10:"]),
    UPSTREAM,
    st.one_of(st.just(""), st.builds("-{}".format, st.text("01a~.+", min_size=1, max_size=4))),
)
NEAR = VERSION.flatmap(
    lambda version: st.tuples(
        st.just(version),
        st.one_of(VERSION, st.sampled_from("0~a.+1").map(lambda end: f"{version}{end}")),
    )
)


@pytest.mark.needs("dpkg")
@settings(max_examples=150, deadline=None)
@given(pair=NEAR)
def test_versions_compare_as_dpkg_compares_them(pair: tuple[str, str]) -> None:
    left, right = pair
    order = _dpkg.compare(left, right)
    for word, ours in (("lt", order < 0), ("eq", order == 0)):
        dpkg = subprocess.run(["dpkg", "--compare-versions", left, word, right], check=False)
        assert (dpkg.returncode == 0) == ours, (left, word, right)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~rc1", "1.0"),
        ("1.0", "1.0+b1"),
        ("1.9", "1.10"),
        ("2.0", "1:1.0"),
        ("1.0-1", "1.0-1+deb12u1"),
        ("1.0-1~bpo12+1", "1.0-1"),
        ("1.0a", "1.0+"),
    ],
)
def test_well_known_orders_hold(older: str, newer: str) -> None:
    assert _dpkg.compare(older, newer) < 0 < _dpkg.compare(newer, older)


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("1.18.0-6", "1.18.0-6"),
        ("1.18.0-6", "0:1.18.0-6"),
        ("1.0-0", "1.0"),
        ("1.18.0", "1.18.0-6"),
        ("1.18.0", "1:1.18.0-6"),
        ("2.0-beta", "2.0-beta-1"),
        ("1.18.*", "1.18.0-6"),
        ("1.18.*", "1:1.18.0-6"),
        ("1:1.18.*", "1:1.18.0-6"),
        ("1.18.?", "1:1.18.0-6"),
        ("*-6", "1.18.0-6"),
    ],
)
def test_a_version_matches_in_full_by_its_upstream_part_or_as_a_glob(
    wanted: str, version: str
) -> None:
    assert _dpkg.version_matches(wanted, version)


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("1.18.0-6", "1:1.18.0-6"),
        ("1.18.0-6", "1.18.0-7"),
        ("1.18", "1.18.0-6"),
        ("1.18.*", "1.180-1"),
        ("1.18.*", "1.19.0-1"),
        ("6", "1.18.0-6"),
    ],
)
def test_another_version_does_not_match(wanted: str, version: str) -> None:
    assert not _dpkg.version_matches(wanted, version)


@pytest.mark.parametrize("name", ["nginx", "g++", "libc6:i386", "python3.11", "0ad", "libstdc++6"])
def test_names_of_packages_are_accepted(name: str) -> None:
    assert _dpkg.is_package_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "n",
        "Nginx",
        "nginx-",
        "-nginx",
        "nginx=1.0",
        "nginx/stable",
        "nginx*",
        "tasks^",
        "a b",
        "nginx\n",
        "../nginx",
        "$(id)",
        "python3:any",
        "nginx:",
        "b\udcffd",
    ],
)
def test_what_apt_would_take_for_something_else_is_refused(name: str) -> None:
    assert not _dpkg.is_package_name(name)


@pytest.mark.parametrize(
    "version", ["", ">= 1.0", "1.0 ", "1.0=", "1.0\n", "1.0;id", "-", "-1", "1:"]
)
def test_what_cannot_be_a_version_is_refused(version: str) -> None:
    assert not _dpkg.is_version_pattern(version)


def database(*rows: str) -> _dpkg.Database:
    lines = ["dpkg amd64 install installed ok 1.21.22", *rows]
    return _dpkg.Database.parse("".join("\t".join(row.split(" ")) + "\n" for row in lines))


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ("x amd64 install installed ok 1.0", "present"),
        ("x amd64 hold installed ok 1.0", "present"),
        ("x amd64 install triggers-pending ok 1.0", "present"),
        ("x amd64 install triggers-awaited ok 1.0", "present"),
        ("x amd64 deinstall config-files ok 1.0", "config-files"),
        ("x amd64 install half-configured ok 1.0", "half-configured"),
        ("x amd64 install half-installed reinstreq 1.0", "half-installed"),
        ("x amd64 install unpacked ok 1.0", "unpacked"),
        ("x amd64 install installed reinstreq 1.0", "reinst-required"),
        ("x amd64 hold not-installed ok ", None),
    ],
)
def test_only_what_is_installed_and_configured_is_present(row: str, state: str | None) -> None:
    entry = database(row).find("x")
    assert entry is not None
    assert entry.state == state
    assert entry.held == (" hold " in row)


def test_a_name_means_the_native_package_when_there_are_several() -> None:
    both = database("libc6 amd64 install installed ok 2.36", "libc6 i386 install installed ok 2.35")
    versions = {name: both.find(name) for name in ("libc6", "libc6:amd64", "libc6:i386")}
    assert {name: entry.version for name, entry in versions.items() if entry} == {
        "libc6": "2.36",
        "libc6:amd64": "2.36",
        "libc6:i386": "2.35",
    }
    assert both.find("libc6:arm64") is None


def test_a_foreign_package_serves_where_there_is_no_native_one() -> None:
    found = database("wine32 i386 install installed ok 8.0").find("wine32")
    assert found is not None
    assert found.architecture == "i386"


def test_a_package_for_all_architectures_is_also_of_the_native_one() -> None:
    assert database("tzdata all install installed ok 1").find("tzdata:amd64") is not None
    assert database("tzdata all install installed ok 1").find("tzdata:i386") is None
