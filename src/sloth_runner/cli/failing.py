"""The one place where an error becomes a message and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sloth_runner.cli.streams import hush, unwritable

if TYPE_CHECKING:
    from sloth_runner.cli.settings import Settings
    from sloth_runner.core.errors import SlothError

OUR_BUG = 70
CANCELLED = 8
_INTERRUPTED = 130
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF)


def explained(error: BaseException, settings: "Settings", argv: Sequence[str]) -> int:
    """Writes what went wrong to standard error and returns the exit code."""
    if isinstance(error, SystemExit | click.exceptions.Exit):
        code = error.code if isinstance(error, SystemExit) else error.exit_code
        return code if isinstance(code, int) else 0
    if isinstance(error, BrokenPipeError):
        hush(sys.stdout)
        return 0
    if isinstance(error, KeyboardInterrupt | click.Abort):
        print("\nInterrupted.", file=sys.stderr)  # noqa: T201 - there is nothing else to say
        return _INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    from sloth_runner.core.errors import SlothError

    if isinstance(error, click.ClickException):
        error = _usage(error)
    if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
        hush(sys.stdout)
        error = unwritable(error)
    if isinstance(error, SlothError):
        report(error, settings)
        return error.exit_code
    if type(error).__name__ == "CancelledError":  # asyncio is not loaded for it
        return CANCELLED
    _crashed(error, settings, argv)
    return OUR_BUG


def report(error: "SlothError", settings: "Settings") -> None:
    """Writes an error as help to standard error."""
    from sloth_runner.cli.pages import Pages
    from sloth_runner.core.errors import Cancelled
    from sloth_runner.core.events import Diagnostic
    from sloth_runner.views.report import declined

    pages = Pages(settings)
    diagnostic = Diagnostic(
        code=error.code,
        title=error.title,
        detail=error.detail,
        hint=error.hint,
        loc=str(error.location) if error.location else None,
        facts={k: v for k, v in error.facts.items() if v not in (None, "", [])},
        effects=error.effects,
        traceback=error.traceback,
    )
    if error.code == Cancelled.code:
        pages.talk(declined(diagnostic))
        return
    for one in pages.report().one(diagnostic):
        pages.talk(one)


def _usage(error: click.ClickException) -> "SlothError":
    from sloth_runner.core.errors import UsageError

    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "sloth-runner"
    message = error.format_message()
    if not isinstance(error, click.UsageError | click.FileError):
        return UsageError(message)
    return UsageError(message[:1].lower() + message[1:], hint=f"{path} --help")


def _crashed(error: BaseException, settings: "Settings", argv: Sequence[str]) -> None:
    import traceback

    trace = "".join(traceback.format_exception(error))
    words = [f"error[SR9001]: this is a bug of sloth-runner: {type(error).__name__}"]
    try:
        words.append(f"   details    {_crash_file(trace, settings, argv)}")
    except OSError as failure:
        words.append(f"   details    could not be kept ({failure.strerror}); -v shows them")
    words.append("   hint       what was recorded so far is safe; please report it with that file")
    print("\n".join(words), file=sys.stderr)  # noqa: T201 - the views may be what is broken
    if settings.verbose:
        print(trace, file=sys.stderr)  # noqa: T201


def _crash_file(trace: str, settings: "Settings", argv: Sequence[str]) -> str:
    """Writes a private file beside the record; of the arguments only names, no values."""
    import time

    from sloth_runner import __version__
    from sloth_runner.state.files import descriptor, make_folder, write_all

    folder = Path(f"{settings.database}.d") / "crashes"
    make_folder(str(folder))
    path = str(folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt")
    options = [word.partition("=")[0] for word in argv if word.startswith("-")]
    head = f"sloth-runner {__version__}, Python {sys.version}\noptions: {' '.join(options)}\n\n"
    with descriptor(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW) as number:
        write_all(number, (head + trace).encode("utf-8", "backslashreplace"))
    return path
