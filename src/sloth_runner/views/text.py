"""Lines of styled text: what every renderer for people is made of.

A line is spans of text with the name of a style, so that one line can be painted for a
terminal, written plain, or measured. Text that came from outside goes through ``clean``,
so that no name, output or path can drive the terminal that it is shown on.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from msgspec import Struct

from sloth_runner.core.values import raw

STYLES: Mapping[str, str] = {
    "": "",
    "created": "32",
    "changed": "33",
    "removed": "31",
    "ran": "36",
    "written": "36",
    "failed": "1;31",
    "unknown": "34",
    "carried": "35",
    "drift": "35",
    "dim": "2",
    "bold": "1",
}
"""SGR parameters by style (ECMA-48, 8.3.117): the 16 base colours, so that the theme decides."""


class Span(Struct, frozen=True):
    """A piece of a line; ``style`` is a key of ``STYLES``."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


class Look(Struct, frozen=True, kw_only=True):
    """How to write: ``width`` in columns (None: never cut), with colour, beyond ASCII."""

    width: int | None = None
    colour: bool = False
    unicode: bool = True

    def symbol(self, outcome: str) -> str:
        """Returns the one sign that carries an outcome, with or without colour."""
        sign, plain = _SYMBOLS[outcome]
        return sign if self.unicode else plain

    def style(self, outcome: str) -> str:
        """Returns the style of an outcome."""
        return outcome if outcome in STYLES else "dim"

    def mark(self, outcome: str) -> Span:
        """Returns the sign of an outcome as a span."""
        return Span(self.symbol(outcome), self.style(outcome))

    def sign(self, name: str) -> str:
        """Returns a sign of the layout: "arrow", "bar", "rule", "minus", "dot" or "cut"."""
        sign, plain = _SIGNS[name]
        return sign if self.unicode else plain

    def paint(self, line: Line) -> str:
        """Returns ``line`` ready to be written, without a newline."""
        if not self.colour:
            return self.writable("".join(span.text for span in line).rstrip())
        return "".join(
            f"\x1b[{STYLES[span.style]}m{self.writable(span.text)}\x1b[0m"
            if STYLES[span.style]
            else self.writable(span.text)
            for span in line
        )

    def writable(self, value: str) -> str:
        """Returns ``value`` as it can be written: to a terminal, only what that understands.

        A file or a pipe gets the text of the workflow as it is, whatever the locale.
        """
        if self.unicode or self.width is None or value.isascii():
            return value
        return value.translate(_PLAIN).encode("ascii", "backslashreplace").decode("ascii")


_SYMBOLS: Mapping[str, tuple[str, str]] = {
    "created": ("+", "+"),
    "changed": ("~", "~"),
    "removed": ("-", "-"),
    "unchanged": ("=", "="),
    "ran": (">", ">"),
    "written": ("*", "*"),
    "failed": ("!", "!"),
    "blocked": ("/", "/"),
    "skipped": ("·", "."),
    "unknown": ("?", "?"),
    "carried": ("↻", "^"),
    "drift": ("≠", "!="),
}

_SIGNS: Mapping[str, tuple[str, str]] = {
    "arrow": ("→", "->"),
    "bar": ("│", "|"),
    "rule": ("─", "-"),
    "minus": ("\N{MINUS SIGN}", "-"),
    "dot": ("·", "-"),
    "cut": ("…", "..."),
}

_DRIVING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters beyond ASCII, and those that turn the direction of text around."""

_PLAIN = str.maketrans({sign: plain for sign, plain in (*_SIGNS.values(), *_SYMBOLS.values())})


def line(*pieces: str | Span) -> Line:
    """Returns a line; plain text has no style."""
    return tuple(Span(piece) if isinstance(piece, str) else piece for piece in pieces)


def clean(value: str) -> str:
    """Returns ``value`` with everything that is not printable written as ``\\xff``.

    That covers escape sequences, newlines, bidirectional overrides and bytes that are not
    UTF-8. A tab becomes four spaces.
    """
    if value.isprintable():
        return value
    return "".join(
        char
        if char.isprintable()
        else "    "
        if char == "\t"
        else "".join(f"\\x{byte:02x}" for byte in raw(char))
        for char in value
    )


def harmless(json: str) -> str:
    """Returns JSON that means the same and cannot drive the terminal that it is shown on."""
    return json if json.isascii() else _DRIVING.sub(lambda char: f"\\u{ord(char[0]):04x}", json)


def cells(value: str) -> int:
    """Returns how many columns ``value`` takes (Unicode TR 11: wide characters take two)."""
    if value.isascii():
        return len(value)
    return sum(_cell(char) for char in value)


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def width_of(parts: Iterable[Span]) -> int:
    """Returns how many columns a line takes."""
    return sum(cells(span.text) for span in parts)


def cut(value: str, width: int | None, look: Look) -> str:
    """Returns ``value`` in at most ``width`` columns, its end replaced by a sign."""
    if width is None or cells(value) <= width:
        return value
    sign = look.sign("cut")
    return _head(value, width - len(sign)) + sign


def shorten(value: str, width: int | None, look: Look) -> str:
    """Returns ``value`` in at most ``width`` columns, its middle replaced by a sign.

    The end of a name tells more than its middle, so it gets the larger half.
    """
    if width is None or cells(value) <= width:
        return value
    sign = look.sign("cut")
    room = max(width - len(sign), 2)
    tail = _head(value[::-1], (room + 1) // 2)[::-1]
    return _head(value, room - cells(tail)) + sign + tail


def _head(value: str, width: int) -> str:
    taken, used = [], 0
    for char in value:
        used += _cell(char)
        if used > width:
            break
        taken.append(char)
    return "".join(taken)


def padded(value: str, width: int) -> str:
    """Returns ``value`` followed by spaces up to ``width`` columns."""
    return value + " " * max(width - cells(value), 0)


def fitted(parts: Line, look: Look) -> Line:
    """Returns a line cut at the width of the terminal, if it has one."""
    if look.width is None or width_of(parts) <= look.width:
        return parts
    left, kept = look.width, []
    for span in parts:
        if cells(span.text) > left:
            kept.append(Span(cut(span.text, left, look), span.style))
            break
        kept.append(span)
        left -= cells(span.text)
    return tuple(kept)
