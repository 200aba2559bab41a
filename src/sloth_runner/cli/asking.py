"""Questions at a terminal. Enter is No, and so is the end of the input."""

import os
import select
import sys
from collections.abc import Callable

YES = ("y", "yes")
NO = ("", "n", "no")


class Interruption:
    """Lets another thread end a question that waits for its answer."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def fileno(self) -> int:
        """Returns the descriptor that becomes readable when the question is to end."""
        return self._reading

    def set(self) -> None:
        """Ends the question, now or as soon as it is asked."""
        os.write(self._writing, b"!")

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self._reading)
        os.close(self._writing)


def asked(
    question: str,
    *,
    details: Callable[[], None] | None = None,
    help_text: str = "",
    interruption: Interruption | None = None,
) -> bool:
    """Asks until there is an answer, and returns whether it is yes."""
    choices = "[y]es / [N]o" + (" / [d]etails" if details else "") + (" / [?]" if help_text else "")
    while True:
        answer = _answer(f"{question} {choices} ", interruption)
        if answer is None:
            sys.stderr.write("\n")
            return False
        word = answer.strip().lower()
        if word in YES:
            return True
        if word in NO:
            return False
        if word in ("d", "details") and details is not None:
            details()
        elif word == "?" and help_text:
            sys.stderr.write(f"{help_text}\n")
        else:
            sys.stderr.write(" Please answer y or n; Enter means no.\n")


def _answer(prompt: str, interruption: Interruption | None) -> str | None:
    """Returns a line from the terminal; None at its end or when it was interrupted.

    Reads the descriptor itself, so that nothing is left in a buffer, and so that a stop can
    be noticed: signals go to another thread while a run is under way.
    """
    sys.stdout.flush()
    sys.stderr.write(prompt)
    sys.stderr.flush()
    source = sys.stdin.fileno()
    waiting = [source] if interruption is None else [source, interruption.fileno()]
    ready, _, _ = select.select(waiting, [], [])
    if source not in ready:
        return None
    data = os.read(source, 4096)
    return data.decode("utf-8", "replace") if data else None
