"""Errors on their way into Lua, and what Lua raised on its way out."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sloth_runner.core.errors import Location, LuaFailure, SlothError
from sloth_runner.core.values import Value
from sloth_runner.lua import codec

MOST = 4096
"""How many errors of one attempt are remembered, so that one that is raised again is itself."""

FAILED = 2
"""The status with which a failed call is resumed."""


class Places(Protocol):
    """How places are known to us and to Lua, which names files from the workflow's folder."""

    def place(self, file: str, line: int) -> Location:
        """Returns the place of a line in a file that Lua names."""
        ...

    def spelled(self, location: Location) -> str:
        """Returns the file of a place as Lua names it."""
        ...


class Errors:
    """The errors that calls of one attempt met, by the number under which Lua knows them."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._known: dict[int, SlothError] = {}
        self._last = 0

    def reply(self, error: SlothError) -> tuple[int, bytes]:
        """Returns the answer that makes a call raise ``error``."""
        self._last += 1
        self._known[self._last] = error
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return (FAILED, codec.encode({**self.fields(error), "number": self._last}))

    def raised(self, data: bytes, place: Location | None) -> SlothError:
        """Returns the error for a failure that Lua reports; ``place`` where it names none."""
        record = codec.decode(data)
        location = place
        if record.get("file") and record.get("line"):
            location = self._places.place(record["file"], int(record["line"]))
        error = self._known.get(record.get("id") or 0)
        if error is None:
            error = self._of_parts(record, location) or LuaFailure(
                record["text"], location=location, hint=record.get("near") or ""
            )
        error.location = error.location or location
        error.traceback = error.traceback or record["trace"]
        return error

    def _of_parts(self, record: Mapping[str, Value], location: Location | None) -> Value:
        """Returns one error for several, with all that is known of the first.

        It is of the class of all of them, where they share one.
        """
        parts: Sequence[Mapping[str, Value]] = record.get("parts") or ()
        causes = [self._known.get(part["id"]) for part in parts]
        first = next((cause for cause in causes if cause is not None), None)
        if first is None:
            return None
        alike = all(type(cause) is type(first) for cause in causes)
        error = (type(first) if alike else LuaFailure)(
            record["text"],
            hint=first.hint,
            location=first.location or location,
            facts={**{part["index"]: part["text"] for part in parts}, **first.facts},
            effects=first.effects,
        )
        error.__cause__ = first
        return error

    def fields(self, error: SlothError) -> dict[str, Value]:
        """Returns what a workflow sees of an error."""
        location = error.location
        return {
            **{key.replace(" ", "_"): _plain(value) for key, value in error.facts.items()},
            "code": error.code,
            "title": error.title,
            "detail": error.detail,
            "message": error.said,
            "hint": error.hint,
            "file": self._places.spelled(location) if location else None,
            "line": location.line if location else None,
        }


def _plain(value: Value) -> Value:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)
