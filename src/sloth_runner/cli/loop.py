"""The event loop of a command.

asyncio imports ssl, a fortieth of a run, for transports that are not used here: what speaks TLS
imports ssl itself, when it comes to that. So asyncio is imported as where Python has no ssl.
This module must be imported before any other that imports asyncio; a test says if it is not.
"""

import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_first = not sys.modules.keys() & {"asyncio", "ssl"}
if _first:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # "there is no such module"
try:
    import asyncio
finally:
    if _first:
        del sys.modules["ssl"]

CancelledError = asyncio.CancelledError


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs ``main`` to its end in a loop of its own and returns its result."""
    return asyncio.run(main)
