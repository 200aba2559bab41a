"""Imports other libraries without what they load for features that are not used here."""

import contextlib
import sys
from collections.abc import Iterator

UNUSED = ("ssl", "typing_extensions")
"""What asyncio and msgspec load where it is installed, and do without where it is not.

What speaks TLS here imports ssl itself, when it comes to that.
"""


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """Within it, what is ``UNUSED`` looks as if it were not installed, unless it is loaded."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # "there is no such module"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
