"""Addresses: any bytes in a name, printable text outside, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sloth_runner.core import values
from sloth_runner.core.address import Address, escaped, unescaped
from sloth_runner.core.errors import UsageError

BYTES = st.binary(min_size=1, max_size=30)
HOSTS = BYTES.filter(lambda data: b"/" not in data and b":" not in data)


def test_an_address_reads_as_host_type_and_name() -> None:
    assert str(Address("web1", "file", "/etc/nginx/nginx.conf")) == (
        "web1/file:/etc/nginx/nginx.conf"
    )


def test_an_address_without_a_host_is_of_the_default_one() -> None:
    assert Address.parse("package:nginx") == Address("local", "package", "nginx")
    assert Address.parse("package:nginx", default_host="web1").host == "web1"


def test_a_name_may_hold_every_separator() -> None:
    for name in ("/etc/a:b", "a/b:c/d", ":", "x#^y=.*$", "local/file:/etc"):
        assert Address.parse(f"local/line:{name}") == Address("local", "line", name)


@pytest.mark.parametrize(
    "written", ["", "nginx", "package:", ":nginx", "local/:x", "a/b/package:nginx", "local/nginx"]
)
def test_what_is_no_address_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        Address.parse(written)
    assert repr(written) in str(caught.value)
    assert "local/package:nginx" in caught.value.hint


@given(HOSTS, BYTES)
def test_any_bytes_come_back_from_a_printable_address(host: bytes, name: bytes) -> None:
    address = Address(values.text(host), "file", values.text(name))
    assert str(address).isprintable()
    assert Address.parse(str(address)) == address


def test_escapes_are_bytes_in_hexadecimal() -> None:
    assert escaped("a\nb\\c" + values.text(b"\xff")) == "a\\x0ab\\c\\xff"
    assert escaped(r"\x41 and \xyz") == r"\x5cx41 and \xyz"
    assert escaped("\u2028") == "\\xe2\\x80\\xa8"
    assert escaped("grüße") == "grüße"


@given(st.binary(max_size=30))
def test_escaping_is_undone_exactly(data: bytes) -> None:
    assert values.raw(unescaped(escaped(values.text(data)))) == data


def test_text_that_looks_like_an_escape_is_not_taken_for_one() -> None:
    assert unescaped(escaped("\\xff")) == "\\xff"
