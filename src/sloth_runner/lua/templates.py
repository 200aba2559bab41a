"""Templates: Jinja2 in its sandbox, where an unknown name is an error and never empty text."""

import functools
import re
from collections.abc import Iterable, Mapping, Sized
from typing import Any

from sloth_runner.core import values
from sloth_runner.core.errors import Location, TaskError
from sloth_runner.core.values import Value

LARGEST = 64 * 1024 * 1024
"""Characters that a template may come to, and items that an operation in it may make."""


_SPACES = "\x1c\x1d\x1e\x1f\x0b\x0c\x85\u2028\u2029\u2005\u2006\u2008"
"""Characters that Python's regular expressions take for space, and that hardly anyone writes."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_OWN = ("'dict object'", "'list object'", "'str object'", "'int object'", "'float object'")


class TemplateFailed(TaskError):
    title = "the template cannot be rendered"
    code = "SR2110"


def render(text: str, variables: Mapping[str, Value], name: str) -> str:
    """Returns template ``text`` rendered with ``variables``; ``name`` is for messages.

    Its line ends stay as they are. Raises TemplateFailed, with the line of the template.
    """
    import jinja2

    stand_in = _stand_in(text, variables)
    try:
        template = _environment().from_string(text.replace("\r", stand_in))
        rendered = _joined(template.generate(dict(variables))).replace(stand_in, "\r")
        values.raw(rendered)
        return rendered
    except UnicodeEncodeError:
        raise TemplateFailed(
            f"{name}: the text holds half a character (\\ud800 to \\udfff)",
            facts={"template": name},
        ) from None
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFailed(
            f"{name}:{error.lineno}: {_told(error.message, text)}", facts={"template": name}
        ) from None
    except jinja2.UndefinedError as error:
        raise TemplateFailed(
            f"{_place(error, name)}: {_told(error.message, text)}",
            hint=f"variables given: {', '.join(sorted(variables)) or 'none'}",
            facts={"template": name},
        ) from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateFailed(
            f"{_place(error, name)}: {_told(str(error), text)}", facts={"template": name}
        ) from None


def _stand_in(text: str, variables: Mapping[str, Value]) -> str:
    """Returns a character for the carriage returns of a template, which Jinja would take away.

    It is one that occurs nowhere else; space to Jinja, as it is in the source.
    """
    if "\r" not in text:
        return "\r"
    given = str(variables)  # in which such characters stand escaped
    free = (c for c in _SPACES if c not in text and repr(c)[1:-1] not in given)
    return next(free, "\r")


def _told(message: str | None, text: str) -> str:
    """Returns a message without what it quotes and the template does not say: values."""
    return _QUOTED.sub(
        lambda quoted: quoted[0] if quoted[0][1:-1] in text or quoted[0] in _OWN else "'...'",
        message or "",
    )


def _joined(pieces: Iterable[str]) -> str:
    parts: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > LARGEST:
            raise ValueError(f"the result is larger than {LARGEST} characters")
        parts.append(piece)
    return "".join(parts)


@functools.cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """The sandbox, in which no operation makes more than fits into memory."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*":
                for one, other in ((left, right), (right, left)):
                    if isinstance(one, Sized) and isinstance(other, int):
                        _check_size(len(one) * other)
            elif isinstance(left, int) and isinstance(right, int):
                _check_size(left.bit_length() * right // 8)
            return super().call_binop(context, operator, left, right)

    # The output is a file of a machine and not a page, so nothing is escaped for HTML.
    return Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"the result would be larger than {LARGEST} items")


def _place(error: BaseException, name: str) -> Location | str:
    """Returns the line of the template that was being rendered."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return Location(name, line) if line else name
