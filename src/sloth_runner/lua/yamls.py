"""YAML as people write it, read safely; errors never quote it, since it may hold secrets."""

import contextlib
import re
from collections.abc import Mapping

from sloth_runner.core import values
from sloth_runner.core.values import Value

_QUOTED = re.compile(r"'[^']*'" + r'|"[^"]*"')


def load(text: str) -> Value:
    """Returns the value of a YAML document; dates and keys are the text that they stand for.

    Raises ValueError that says where and what is wrong, but not what is written there, and
    RecursionError for what is nested too deeply.
    """
    with contextlib.suppress(ValueError):  # YAML 1.1 takes nearly all of JSON, but not all
        return values.canonical(values.decode(text))
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        words = [part for part in (error.context, error.problem) if part]
        raise ValueError(place + _QUOTED.sub(_unless_a_sign, ", ".join(words))) from None
    except yaml.reader.ReaderError as error:
        raise ValueError(f"position {error.position}: {error.reason}") from None
    except yaml.YAMLError:
        raise ValueError("it is not YAML") from None
    except ValueError:  # a date or number that there is none of: its message has the text of it
        raise ValueError("a date or a number in it is none") from None
    values.check_whole(found)
    return _plain(found)


def _unless_a_sign(quoted: re.Match[str]) -> str:
    """Returns a quoted sign or kind of token as it is, and hides an alias or a tag."""
    inner = quoted[0][1:-1]
    return quoted[0] if len(inner) < 2 or inner.startswith("<") else "'…'"


def _plain(value: Value) -> Value:
    """Returns a YAML value as a canonical one."""
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set):
        return [_plain(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return values.text(value)
    if value is None or isinstance(value, str | bool | int | float):
        return values.canonical(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _key(key: Value) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)
