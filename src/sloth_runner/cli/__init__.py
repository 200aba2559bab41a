"""The command line: thin; what it does is below it, what it shows is in ``views``."""

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process with its exit code."""
    from sloth_runner.cli.app import call

    sys.exit(call(sys.argv[1:] if argv is None else argv))
