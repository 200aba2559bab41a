"""Writing to standard output and standard error, which may be closed, broken or full."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from sloth_runner.core.errors import TaskError


@contextlib.contextmanager
def writing(stream: TextIO) -> Iterator[None]:
    """Lets everything after a failure go nowhere; raises TaskError for a result that is lost.

    A reader that has enough is no failure, and nobody misses talk.
    """
    try:
        yield
    except OSError as error:
        hush(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            lost = unwritable(error)
            lost.hint = "what was done is in the record: sloth-runner stack history NAME shows it"
            raise lost from error


def unwritable(error: OSError) -> "TaskError":
    """Returns the error that standard output cannot take what is written to it."""
    from sloth_runner.core.errors import TaskError

    return TaskError(f"standard output cannot be written: {error.strerror}")


def hush(stream: TextIO) -> None:
    """Lets the interpreter end without a second complaint about a stream that is lost."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
