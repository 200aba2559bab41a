"""The modules that compute and do nothing else: json, yaml, template, sha256."""

import json
from collections.abc import Callable, Mapping, Sequence

from sloth_runner.core import values
from sloth_runner.core.errors import ParamError
from sloth_runner.core.values import Value
from sloth_runner.lua import templates, yamls


def call(name: str, arguments: Sequence[Value]) -> Value:
    """Returns what the pure function ``name`` gives for these arguments.

    Raises ParamError for what it cannot take, and TaskError from a template.
    """
    return _FUNCTIONS[name](*_given(name, arguments))


def _given(name: str, arguments: Sequence[Value]) -> Sequence[Value]:
    most = 2 if name == "template.render" else 1
    if len(arguments) > most:
        raise ParamError(f"{name} takes {most} argument{'s' * (most > 1)}, not {len(arguments)}")
    if not arguments and name not in ("json.encode", "json.pretty"):
        raise ParamError(f"{name}: the text is missing")
    return arguments or (None,)


def _text(name: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    raise ParamError(f"{name} takes text, not {_shown(value)}")


def _shown(value: Value) -> str:
    if value is None:
        return "nil"
    kinds = {bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "a table")


def _json_decode(document: Value) -> Value:
    try:
        return values.canonical(values.decode(_text("json.decode", document)))
    except RecursionError:
        raise ParamError("json.decode: nested too deeply") from None
    except ValueError as error:
        raise ParamError(f"json.decode: {error}") from None


def _json_pretty(value: Value) -> Value:
    plain = values.jsonable(values.canonical(value))
    return json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False)


def _yaml_encode(value: Value) -> Value:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=True, allow_unicode=True, default_flow_style=False))


def _yaml_decode(document: Value) -> Value:
    text = _text("yaml.decode", document)
    try:
        return yamls.load(text)
    except RecursionError:
        raise ParamError("yaml.decode: nested too deeply") from None
    except ValueError as error:
        raise ParamError(f"yaml.decode: {error}") from None


def _render(text: Value, variables: Value = None) -> Value:
    if variables is None or variables == []:
        variables = {}
    if not isinstance(variables, dict):
        raise ParamError(f"template.render: the variables are a table, not {_shown(variables)}")
    return templates.render(_text("template.render", text), variables, "template")


_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "json.encode": values.encode,
    "json.decode": _json_decode,
    "json.pretty": _json_pretty,
    "yaml.encode": _yaml_encode,
    "yaml.decode": _yaml_decode,
    "template.render": _render,
    "sha256": lambda value: values.sha256(_text("sha256", value)),
}
