"""The address of a managed thing: ``HOST/TYPE:NAME``."""

import re
from typing import NamedTuple

from sloth_runner.core.errors import UsageError
from sloth_runner.core.values import raw, text

LOCAL = "local"
"""The name of the machine that the program itself runs on."""


class Address(NamedTuple):
    """Names one thing on one host, for example ``web1/file:/etc/nginx/nginx.conf``.

    The host ends at the first ``/``, the type at the first ``:``; the rest is the name, so
    names need no quoting. Bytes that are not UTF-8, control characters and a backslash that
    would begin such an escape are written as ``\\xff``. A tuple: it is the key of most tables.
    """

    host: str
    type: str
    name: str

    def __str__(self) -> str:
        return f"{escaped(self.host)}/{self.type}:{escaped(self.name)}"

    @classmethod
    def parse(cls, written: str, *, default_host: str = LOCAL) -> "Address":
        """Returns the address that ``written`` spells; without a host, ``default_host``.

        Raises UsageError when there is no type or no name.
        """
        head, colon, name = written.partition(":")
        host, slash, kind = head.rpartition("/")
        if not colon or not kind or not name or "/" in host:
            raise UsageError(
                f"{written!r} is not an address",
                hint='an address is HOST/TYPE:NAME, for example "local/package:nginx"',
            )
        return cls(unescaped(host) if slash else default_host, kind, unescaped(name))


def escaped(value: str) -> str:
    """Returns ``value`` as printable text that any column, log or terminal can hold."""
    if "\\x" in value:  # what only looks like an escape
        value = re.sub(r"\\(?=x[0-9a-fA-F]{2})", r"\\x5c", value)
    if value.isprintable():
        return value
    return "".join(
        char if char.isprintable() else "".join(f"\\x{b:02x}" for b in raw(char)) for char in value
    )


def unescaped(value: str) -> str:
    """Returns the text that ``escaped`` was given."""
    if "\\" not in value:
        return value
    pieces = re.split(r"((?:\\x[0-9a-fA-F]{2})+)", value)
    return text(
        b"".join(
            bytes.fromhex(piece.replace("\\x", "")) if index % 2 else raw(piece)
            for index, piece in enumerate(pieces)
        )
    )
