"""What types answer that others may have written: a mistake of theirs is told as theirs."""

from collections.abc import Awaitable
from typing import TypeVar

from sloth_runner.core.errors import PluginFailed, SlothError

T = TypeVar("T")


async def answer_of(declared: type, answer: Awaitable[T]) -> T:
    """Returns the ``answer`` of a type; raises PluginFailed for what no type is to raise."""
    try:
        return await answer
    except SlothError:
        raise
    except Exception as error:
        raise PluginFailed.of(declared, error) from error
