"""``pkg.repository``: the file it writes, and what it refuses to write."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sloth_runner.core import forms
from sloth_runner.core.errors import ParamError
from sloth_runner.resources import _sources
from sloth_runner.resources.repository import Repository

SOURCE = {"uris": ["https://host/debian"], "suites": ["stable"], "components": ["main"]}
ARMORED = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n"


def repository(**changes: Any) -> Repository:
    given_params = {"name": "own", **SOURCE, **changes}
    params = {key: value for key, value in given_params.items() if value is not None}
    made = forms.build(Repository, params, function="pkg.repository")
    assert isinstance(made, Repository)
    return made


def test_a_source_is_written_as_apt_reads_it() -> None:
    stanza = {
        "components": "main contrib",
        "languages": "none",
        "types": "deb",
        "uris": "https://host/debian",
        "suites": "stable",
        "signed-by": "/etc/apt/keyrings/own.asc",
    }
    assert _sources.render(stanza) == (
        "Types: deb\n"
        "URIs: https://host/debian\n"
        "Suites: stable\n"
        "Components: main contrib\n"
        "Signed-By: /etc/apt/keyrings/own.asc\n"
        "Languages: none\n"
    )


def test_comments_case_and_continuation_lines_are_understood() -> None:
    stanzas = _sources.parse(
        "# a comment\n"
        "types: deb\n"
        "URIS: https://a\n"
        "# between\n"
        " https://b\n"
        "Signed-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n"
        " .\n"
        "\n"
        "\n"
        "Types: deb-src\n"
    )
    assert len(stanzas) == 2
    assert _sources.words(stanzas[0]["uris"]) == ["https://a", "https://b"]
    assert stanzas[0]["signed-by"].startswith("\n -----BEGIN")
    assert stanzas[1] == {"types": "deb-src"}


@given(
    st.dictionaries(
        st.text(string.ascii_lowercase + "-", min_size=1).filter(lambda n: not n.startswith("-")),
        st.lists(st.text(string.ascii_letters + ":/.-_", min_size=1), min_size=1).map(" ".join),
        min_size=1,
    )
)
def test_what_is_written_is_read_back(stanza: dict[str, str]) -> None:
    assert _sources.parse(_sources.render(stanza)) == [stanza]


def test_fields_that_nobody_manages_are_not_compared() -> None:
    seen = {**(repository().desired() or {}), "architectures": ["amd64"], "signed_by": "/x"}
    assert not repository().diff(seen)
    assert [c.property for c in repository(architectures=["arm64"]).diff(seen).changes] == [
        "architectures"
    ]
    assert [c.property for c in repository(key_path="/y").diff(seen).changes] == ["signed_by"]


@pytest.mark.parametrize(
    ("spoiled", "property_name"),
    [({"trusted": True}, "trusted"), ({"enabled": False}, "enabled"), ({"stanzas": 2}, "stanzas")],
)
def test_what_would_weaken_or_silence_a_source_counts_as_different(
    spoiled: dict[str, Any], property_name: str
) -> None:
    seen = {**(repository().desired() or {}), **spoiled}
    assert [c.property for c in repository().diff(seen).changes] == [property_name]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "my repo"}, "cannot name a source"),
        ({"name": "../x"}, "cannot name a source"),
        ({"uris": []}, "must each have an item"),
        ({"uris": ["host/debian"]}, "not an address"),
        ({"uris": ["https://me:secret@host/debian"]}, "password"),
        ({"uris": ["https://host\nTrusted: yes"]}, "not a single word"),
        ({"suites": ["a b"]}, "not a single word"),
        ({"suites": ["./"]}, "have no components"),
        ({"components": None}, '"components" is required'),
        ({"types": ["rpm"]}, "deb-src"),
        ({"key": "hello"}, "not an OpenPGP public key"),
        ({"key": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"}, "not an OpenPGP public key"),
        ({"key": ARMORED, "key_path": "/x"}, "give one of"),
        ({"key_url": "https://host/key"}, "belong together"),
        ({"key_url": "file:///etc/shadow", "key_sha256": "0" * 64}, "https://"),
        ({"key_url": "https://host/key", "key_sha256": "0" * 63}, "64 hexadecimal"),
    ],
)
def test_what_apt_could_not_use_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamError) as caught:
        repository(**changes)
    assert says in caught.value.detail
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "suffix"),
    [
        (ARMORED, "asc"),
        ("\n" + ARMORED, "asc"),
        ("\udc99\x01\x0d", "gpg"),
        ("\udc98\x33", "gpg"),
        ("\udcc6\x33", "gpg"),
        ("\udc95\x03", None),
        ("<!DOCTYPE html>", None),
        ("", None),
    ],
)
def test_a_key_is_told_by_its_first_bytes(key: str, suffix: str | None) -> None:
    assert _sources.key_suffix(key) == suffix
