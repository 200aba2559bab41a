"""Package source files in the deb822 format of sources.list(5), and the keys that they name."""

import re
from collections.abc import Mapping, Sequence

from sloth_runner.core import values

Stanza = dict[str, str]
"""The fields of one stanza under their names in lower case; continuation lines are kept."""

_SPELLING = {
    "types": "Types",
    "uris": "URIs",
    "suites": "Suites",
    "components": "Components",
    "architectures": "Architectures",
    "signed-by": "Signed-By",
    "trusted": "Trusted",
    "enabled": "Enabled",
}
_ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def parse(content: str) -> list[Stanza]:
    """Returns the stanzas of a file. Comments and lines that are no field are left out."""
    stanzas: list[Stanza] = []
    name = None
    open_stanza = False
    for line in content.split("\n"):
        if line.startswith("#"):
            continue
        if not line.strip():
            open_stanza, name = False, None
        elif line[0] in " \t":
            if name is not None:
                stanzas[-1][name] += "\n" + line
        elif ":" in line:
            if not open_stanza:
                stanzas.append({})
                open_stanza = True
            name, _, value = line.partition(":")
            name = name.strip().lower()
            stanzas[-1][name] = value.strip()
    return stanzas


def render(stanza: Mapping[str, str]) -> str:
    """Returns the file that consists of ``stanza``, known fields first."""
    known = [name for name in _SPELLING if name in stanza]
    others = [name for name in stanza if name not in _SPELLING]
    return "".join(
        f"{_SPELLING.get(name, name.title())}:{_spaced(stanza[name])}\n" for name in known + others
    )


def words(value: str | None) -> list[str]:
    """Returns the items of a field that holds a list."""
    return (value or "").split()


def is_yes(value: str | None, *, default: bool) -> bool:
    """Returns the meaning of a yes-or-no field, as apt reads one; None is ``default``."""
    if value is None:
        return default
    return value.strip().lower() in ("yes", "true", "with", "on", "enable", "1")


def key_suffix(key: str) -> str | None:
    """Returns the suffix that apt wants for the bytes of a public key; None if they are none.

    Armoured keys are "asc"; binary ones are "gpg" and begin with the tag of a public-key
    packet (RFC 9580, section 4.2).
    """
    if key.lstrip().startswith(_ARMOR):
        return "asc"
    first = values.raw(key[:1])
    if not first or not first[0] & 0x80:
        return None
    tag = first[0] & 0x3F if first[0] & 0x40 else (first[0] & 0x3C) >> 2
    return "gpg" if tag == 6 else None


def is_item(value: str) -> bool:
    """Whether ``value`` can stand in a list of a field: one word, and no field of its own."""
    return re.fullmatch(r"[\x21-\x7e]+", value) is not None


def joined(items: Sequence[str]) -> str:
    """Returns the field that holds ``items``."""
    return " ".join(items)


def _spaced(value: str) -> str:
    return value if value.startswith(("\n", " ")) or not value else f" {value}"
