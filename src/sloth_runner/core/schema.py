"""Parameters: declared once as annotated fields of a struct, and everything read off them.

A field is ``name: Annotated[str, Doc("What it is.", key=True)]``; from it come validation
with did-you-mean, the reference page and ``validate``. Field types: ``str``, ``int``,
``bool``, ``Literal[...]``, ``tuple[str, ...]``, ``dict[str, Value]``, and ``Path``,
``Mode``, ``Account``, ``Seconds``, ``Content`` of this module; ``| None`` makes one optional.
"""

import functools
import hashlib
import posixpath
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NewType

from msgspec import NODEFAULT, Struct, structs

from sloth_runner.core import values
from sloth_runner.core.nearest import nearest
from sloth_runner.core.values import Value

Path = NewType("Path", str)
"""An absolute, normalised path on the host."""
Mode = NewType("Mode", str)
"""Permission bits as four octal digits: "0644"."""
Account = NewType("Account", str)
"""A user or group, by name or by number in decimal digits."""
Seconds = NewType("Seconds", float)
"""A duration in seconds; in Lua a number of seconds or "300ms", "5m", "1h30m"."""


class Content(Struct, frozen=True, eq=False):
    """Bytes for a file, by what they are: held in memory (``data``) or at a path of the controller.

    ``sha256`` in hexadecimal and ``size`` in bytes describe them in both cases, and two
    contents are equal when these are.
    """

    sha256: str
    size: int
    data: str | None = None
    path: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Content):
            return NotImplemented
        return self.sha256 == other.sha256 and self.size == other.size

    def __hash__(self) -> int:
        return hash(self.sha256)

    @classmethod
    def of(cls, data: str) -> "Content":
        """Returns the content that consists of ``data``."""
        body = values.raw(data)
        return cls(sha256=hashlib.sha256(body).hexdigest(), size=len(body), data=data)


class Doc(Struct, frozen=True):
    """What a parameter means. ``key``: part of the name; ``sensitive``: never shown or stored.

    ``private``: text of a file, which is sensitive where others may not read that.
    """

    text: str
    key: bool = False
    sensitive: bool = False
    private: bool = False


class Param(Struct, frozen=True):
    """One parameter: ``kind`` is how it is written in the docs, ``convert`` checks a value."""

    name: str
    kind: str
    doc: Doc
    required: bool
    default: Value
    convert: Callable[[Value], Value]


class WrongValue(ValueError):
    """A value that a parameter does not take; the message says what it takes."""


def params_of(cls: Any) -> Mapping[str, Param]:
    """Returns the parameters of a struct by name, in order of declaration."""
    return _params(cls)


def keys_of(cls: Any) -> tuple[str, ...]:
    """Returns the fields that are part of the name, in order of declaration."""
    return _keys(cls)


@functools.cache
def _keys(cls: Any) -> tuple[str, ...]:
    return tuple(name for name, param in params_of(cls).items() if param.doc.key)


@functools.cache
def _params(cls: Any) -> Mapping[str, Param]:
    return {field.name: _param(field) for field in structs.fields(cls)}


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Returns the sentence for a parameter that does not exist, with the nearest that does."""
    return f"unknown parameter {name!r}{meant(name, known)}"


def meant(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean ...?" for the nearest known name, or nothing."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


def given_params(instance: Any) -> dict[str, Value]:
    """Returns the fields that are set (not at their default), ready for canonical JSON."""
    result = {}
    for param in params_of(type(instance)).values():
        value = getattr(instance, param.name)
        if param.required or value != param.default:
            result[param.name] = _plain(value)
    return result


def _plain(value: Value) -> Value:
    if isinstance(value, Content):
        return {"$content": {k: v for k, v in structs.asdict(value).items() if v is not None}}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _param(field: structs.FieldInfo) -> Param:
    doc, hint = Doc(""), field.type
    if typing.get_origin(hint) is typing.Annotated:
        hint, *marks = typing.get_args(hint)
        doc = next((mark for mark in marks if isinstance(mark, Doc)), doc)
    options = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    if len(options) != 1:
        raise TypeError(f"parameter {field.name}: one type, or one type | None")
    default = None if field.default is NODEFAULT else field.default
    if field.default_factory is not NODEFAULT:
        default = field.default_factory()
    kind, convert = _converter(options[0])
    return Param(field.name, kind, doc, field.required, default, convert)


def _converter(hint: Any) -> tuple[str, Callable[[Value], Value]]:
    simple = _CONVERTERS.get(hint)
    if simple is not None:
        return simple
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(f'"{arg}"' for arg in args), functools.partial(_choice, args)
    if origin is tuple:
        kind, convert = _converter(args[0])
        return f"list of {kind}", functools.partial(_list, convert)
    if origin is dict:
        return "table", _table
    raise TypeError(f"{hint!r} is not a parameter type")


def shown_value(value: Value) -> str:
    """Returns what a workflow gave, in words."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {values.encode(value[:80])}"
    if isinstance(value, Content):
        return "a content"
    return "a table" if isinstance(value, dict | list) else f"{value!r}"


def _text(value: Value) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise WrongValue("expected text without a NUL byte")
        return value
    raise WrongValue(f"expected text, got {shown_value(value)}")


def _path(value: Value) -> str:
    path = _text(value)
    if not path.startswith("/"):
        raise WrongValue(f"expected an absolute path, got {shown_value(value)}")
    if "//" not in path and "/." not in path and path[-1] != "/":
        return path  # normal already, as most are
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def _mode(value: Value) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        meant = f"0{value}" if re.fullmatch("[0-7]{3}", str(value)) else "0644"
        raise WrongValue(f'expected text such as "{meant}", got {shown_value(value)}')
    return _four_digits(_text(value))


@functools.lru_cache(256)
def _four_digits(mode: str) -> str:
    if not re.fullmatch("[0-7]{3,5}", mode) or int(mode, 8) > 0o7777:
        raise WrongValue(f'expected octal digits such as "0644", got {shown_value(mode)}')
    return f"{int(mode, 8):04o}"


def _account(value: Value) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    name = _text(value)
    if not name or name.startswith("-") or re.search(r"[:/\s]", name):
        raise WrongValue(f"expected a user or group name or its number, got {shown_value(value)}")
    return name


def _integer(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise WrongValue(f"expected a whole number, got {shown_value(value)}")
    return int(value)


def _boolean(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    raise WrongValue(f"expected true or false, got {shown_value(value)}")


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Value) -> float:
    """Returns a duration in seconds from a number or from text such as "1h30m".

    Raises WrongValue for anything else, and for a negative number.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str) and value:
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value)
        if parts and "".join(n + u for n, u in parts) == value:
            return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
        if re.fullmatch(r"\d+(?:\.\d+)?", value):
            return float(value)
    raise WrongValue(f'expected seconds or text such as "5m" or "1h30m", got {shown_value(value)}')


def _content(value: Value) -> Content:
    if isinstance(value, Content):
        return value
    if isinstance(value, dict) and set(value) == {"$content"}:
        return Content(**value["$content"])
    if isinstance(value, str):
        return Content.of(value)
    raise WrongValue(f"expected text, got {shown_value(value)}")


def _choice(choices: tuple[str, ...], value: Value) -> str:
    if isinstance(value, str) and value in choices:
        return value
    near = nearest(str(value), choices)
    advice = f'; did you mean "{near}"?' if near else ""
    allowed = ", ".join(f'"{choice}"' for choice in choices)
    raise WrongValue(f"expected one of {allowed}, got {shown_value(value)}{advice}")


def _list(convert: Callable[[Value], Value], value: Value) -> tuple[Value, ...]:
    if isinstance(value, str):
        return (convert(value),)
    if value == {}:
        return ()
    if isinstance(value, list | tuple):
        return tuple(convert(item) for item in value)
    raise WrongValue(f"expected a list, got {shown_value(value)}")


def _table(value: Value) -> dict[str, Value]:
    if value == []:
        return {}
    if isinstance(value, dict):
        return value
    raise WrongValue(f"expected a table, got {shown_value(value)}")


_CONVERTERS: dict[Any, tuple[str, Callable[[Value], Value]]] = {
    str: ("text", _text),
    int: ("whole number", _integer),
    bool: ("boolean", _boolean),
    Path: ("absolute path", _path),
    Mode: ("octal mode", _mode),
    Account: ("name or number", _account),
    Seconds: ("duration", seconds),
    Content: ("text", _content),
}
