"""The values that cross every border of the program, and their one canonical JSON form.

Text is ``str``. Bytes that are not UTF-8 live inside ``str`` as surrogate escapes
(PEP 383), so that every name, path and content round-trips byte for byte; in JSON such a
string is ``{"$bytes": base64}``, and a table with such a key ``{"$entries": [[key, value], ...]}``.
"""

import base64
import json
import math
from typing import Any

Value = Any
"""A canonical value: None, bool, int, float, str, list or dict with string keys."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

State = dict[str, Value]
"""The managed properties of one thing; an absent thing is ``None``, never an empty state."""


def text(data: bytes) -> str:
    """Returns ``data`` as text; bytes that are not UTF-8 become surrogate escapes."""
    return data.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """Returns the bytes that ``value`` stands for: the inverse of ``text``."""
    return value.encode("utf-8", "surrogateescape")


def canonical(value: Value) -> Value:
    """Returns ``value`` in canonical form: integral floats as integers, tuples as lists.

    Raises ValueError for what JSON cannot hold: NaN, infinities, keys that are not text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a number that JSON can hold")
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"a table key must be text, not {key!r}")
        return {key: canonical(item) for key, item in value.items()}
    raise ValueError(f"a value of type {type(value).__name__} cannot be kept")


def encode(value: Value) -> str:
    """Returns the canonical JSON of ``value``: sorted keys, no spaces, UTF-8 kept as it is."""
    result = _ENCODER.encode(canonical(value))
    if _is_utf8(result):
        return result
    return _ENCODER.encode(_escape(canonical(value)))


def decode(document: str | bytes) -> Value:
    """Returns the value of a JSON document, ``{"$bytes": ...}`` turned back into text.

    Raises ValueError for what is no JSON, and for half a character (a lone surrogate).
    """
    value = json.loads(document)
    if "\\u" in str(document):
        check_whole(value)
    return _unescape(value) if "$bytes" in str(document) else value


def check_whole(value: Value) -> None:
    """Raises ValueError where a text in a decoded document holds half a character."""
    if isinstance(value, str):
        if not _is_utf8(value):
            raise ValueError("a text in it holds half a character (\\ud800 to \\udfff)")
    elif isinstance(value, list):
        for item in value:
            check_whole(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_whole(key)
            check_whole(item)


def jsonable(value: Value) -> Value:
    """Returns ``value`` with text that is not UTF-8 as ``{"$bytes": base64}``."""
    return _escape(value)


def checksum(value: Value) -> str:
    """Returns the SHA-256 of the canonical JSON, in hexadecimal."""
    return sha256(encode(value))


def sha256(value: str) -> str:
    """Returns the SHA-256 of the bytes of ``value``, in hexadecimal."""
    import hashlib  # loads OpenSSL, which short commands have no use for

    return hashlib.sha256(raw(value)).hexdigest()


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(value: Value) -> Value:
    if isinstance(value, str):
        if _is_utf8(value):
            return value
        return {"$bytes": base64.b64encode(raw(value)).decode("ascii")}
    if isinstance(value, list | tuple):
        return [_escape(item) for item in value]
    if isinstance(value, dict):
        if all(map(_is_utf8, value)):
            return {key: _escape(item) for key, item in value.items()}
        pairs = sorted(value.items(), key=lambda pair: raw(pair[0]))
        return {"$entries": [[_escape(key), _escape(item)] for key, item in pairs]}
    return value


def _unescape(value: Value) -> Value:
    if isinstance(value, list):
        return [_unescape(item) for item in value]
    if isinstance(value, dict):
        special = _special(value) if len(value) == 1 else None
        return {key: _unescape(item) for key, item in value.items()} if special is None else special
    return value


def _special(value: dict[str, Value]) -> Value:
    """Returns what a table of one key stands for; None where it is just what it looks like."""
    if isinstance(value.get("$bytes"), str):
        try:
            found = text(base64.b64decode(value["$bytes"], validate=True))
        except ValueError:
            return None
        return None if _is_utf8(found) else found
    entries = value.get("$entries")
    if isinstance(entries, list) and all(
        isinstance(pair, list) and len(pair) == 2 for pair in entries
    ):
        pairs = [(_unescape(key), _unescape(item)) for key, item in entries]
        names = [key for key, _ in pairs if isinstance(key, str)]
        if len(names) == len(pairs) and not all(map(_is_utf8, names)):
            return dict(pairs)
    return None
