"""Templates: Jinja2 in its sandbox, where an unknown name is an error and never empty text."""

import functools
from collections.abc import Mapping
from typing import Any

from sloth_runner.core.errors import Location, TaskError
from sloth_runner.core.values import Value


class TemplateFailed(TaskError):
    title = "the template cannot be rendered"
    code = "SR2110"


def render(text: str, variables: Mapping[str, Value], name: str) -> str:
    """Returns template ``text`` rendered with ``variables``; ``name`` is for messages.

    A final newline stays. Raises TemplateFailed, with the line of the template.
    """
    import jinja2

    try:
        result: str = _environment().from_string(text).render(dict(variables))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFailed(
            f"{name}:{error.lineno}: {error.message}", facts={"template": name}
        ) from None
    except jinja2.UndefinedError as error:
        raise TemplateFailed(
            f"{_place(error, name)}: {error.message}",
            hint=f"variables given: {', '.join(sorted(variables)) or 'none'}",
            facts={"template": name},
        ) from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateFailed(f"{_place(error, name)}: {error}", facts={"template": name}) from None
    return result


@functools.cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The output is a file of a machine and not a page, so nothing is escaped for HTML.
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _place(error: BaseException, name: str) -> Location | str:
    """Returns the line of the template that was being rendered."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return Location(name, line) if line else name
