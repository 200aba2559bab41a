"""How a call is written: which parameters a function takes, and what they make."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from sloth_runner.core.errors import Location, ParamError, PluginFailed
from sloth_runner.core.schema import Param, WrongValue, params_of, unknown_name
from sloth_runner.core.values import Value


class Form(Struct, frozen=True):
    """What may be written in a call that makes a ``cls``, and how it is read.

    ``written`` are the parameters by the names that this function gives them, ``preset`` the
    fields that the function itself decides.
    """

    cls: type
    written: Mapping[str, Param]
    preset: Mapping[str, Value]

    def read(
        self, given: Mapping[str, Value], *, function: str, location: Location | None = None
    ) -> Any:
        """Returns the instance that the parameters of a call describe.

        All problems are reported at once, in one ParamError.
        """
        fields: dict[str, Value] = dict(self.preset)
        problems: list[str] = []
        for name, value in given.items():
            param = self.written.get(name)
            if param is None:
                problems.append(unknown_name(name, self.written))
                continue
            try:
                fields[param.name] = param.convert(value)
            except WrongValue as wrong:
                why = f"expected {param.kind}" if param.doc.sensitive else str(wrong)
                problems.append(f"parameter {name!r}: {why}")
        if not problems:
            problems = [
                f"parameter {_shown_name(name, self.written)!r} is required"
                for name in _required(self.cls)
                if name not in fields
            ]
        if problems:
            raise ParamError(
                f"{function}: " + "; ".join(problems),
                location=location,
                hint=f"{function} takes: {', '.join(self.written)}",
            )
        return _checked(self.cls, fields, function, location)


def _checked(
    cls: type, fields: Mapping[str, Value], function: str, location: Location | None
) -> Any:
    """Returns an instance of ``cls`` that agrees with its fields."""
    try:
        instance = cls(**fields)
        check = getattr(instance, "check", None)
        if check is not None:
            check()
    except ParamError as error:
        raise error.of_call(function, location) from None
    except Exception as error:
        raise PluginFailed.of(cls, error) from error
    return instance


def form(
    cls: type,
    *,
    preset: Mapping[str, Value] | None = None,
    rename: Mapping[str, str] | None = None,
    accepts: Iterable[str] = (),
) -> Form:
    """Returns the form of a function that makes a ``cls``.

    ``rename`` maps the written names of this function to field names, ``preset`` gives
    fields that the function itself decides, and ``accepts``, if not empty, limits the
    written names.
    """
    preset, rename = preset or {}, rename or {}
    params, limits = params_of(cls), set(accepts)
    hidden = {*rename.values(), *preset}
    names = {**rename, **{name: name for name in params if name not in hidden}}
    written = {name: params[f] for name, f in names.items() if not limits or name in limits}
    return Form(cls, written, preset)


def build(
    cls: type,
    given: Mapping[str, Value],
    *,
    function: str,
    location: Location | None = None,
    preset: Mapping[str, Value] | None = None,
    rename: Mapping[str, str] | None = None,
    accepts: Iterable[str] = (),
) -> Any:
    """Returns an instance of ``cls`` from the parameters of one call (see ``form``)."""
    read = form(cls, preset=preset, rename=rename, accepts=accepts).read
    return read(given, function=function, location=location)


def own_form(cls: Any) -> Form:
    """Returns the form of ``cls`` itself: every field, by its own name."""
    return _own_form(cls)


@functools.cache
def _own_form(cls: Any) -> Form:
    return form(cls)


@functools.cache
def _required(cls: Any) -> tuple[str, ...]:
    return tuple(param.name for param in params_of(cls).values() if param.required)


def _shown_name(field: str, written: Mapping[str, Param]) -> str:
    return next((name for name, param in written.items() if param.name == field), field)
