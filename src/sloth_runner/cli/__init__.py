"""The command line: thin; what it does is below it, what it shows is in ``views``."""

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process with its exit code."""
    # Ten thousand resources are a million objects that live to the end: looking through them
    # again and again would be a third of a run. What really is garbage in cycles is little.
    gc.set_threshold(100_000, 20, 100)
    from sloth_runner.cli.app import call

    code = call(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Everything is closed by now. To take a million objects apart, one by one, before the system
    # takes the memory back all the same, would be a tenth of a run (docs/performance.md).
    os._exit(code)
