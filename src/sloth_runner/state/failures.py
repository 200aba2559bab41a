"""What SQLite and the file system refuse, in words that help a person."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sloth_runner.core.address import escaped
from sloth_runner.core.errors import Locked, RecordError, SlothError

BUSY_SECONDS = 10.0
"""How long a statement waits for another process to finish its transaction."""

# Primary result codes (https://www.sqlite.org/rescode.html); the module only names them in 3.11.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CLOSED = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOLFS}


def primary_code(error: sqlite3.Error) -> int:
    """Returns SQLite's primary result code of an error, 0 where the module gives none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explained(error: sqlite3.Error, path: str) -> SlothError | sqlite3.Error:
    """Returns the error that a person should see; what only a defect causes comes back as is."""
    code = primary_code(error)
    if code in _BUSY:
        return Locked(
            f"another process kept the database {escaped(path)} busy for "
            f"{BUSY_SECONDS:.0f} seconds",
            hint="wait until it has finished and try again; "
            '"sloth-runner stack list" shows what runs',
        )
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _CLOSED:
        return unusable(path, str(error))
    if code in _NO_ROOM:
        return RecordError(
            f"{escaped(path)} could not be written: {error}",
            hint="look for a full or failing disk below it; nothing that was recorded is lost",
        )
    return error


def may_pass(error: sqlite3.Error | RecordError) -> bool:
    """Whether a look without a lock may have met a file that was being written."""
    return isinstance(error, RecordError) or primary_code(error) in _DAMAGED


def damaged(path: str, why: str) -> RecordError:
    """Returns the error for a file that SQLite cannot make sense of."""
    shown = escaped(path)
    return RecordError(
        f"{shown} is damaged: {why}",
        hint=f"keep a copy of {shown} with its -wal file and of {shown}.d, then put back a backup "
        f"or a {shown}.before-N.bak; without one, move all of it aside: the machines stay as "
        "they are, and the next run records them anew",
    )


def unusable(path: str, why: str) -> RecordError:
    """Returns the error for a place that cannot be read or written."""
    return RecordError(
        f"{escaped(path)} cannot be opened for writing: {why}",
        hint="use a folder that you may write to, with --db PATH or SLOTH_RUNNER_DB, "
        "or run as the owner of this one",
    )


@contextlib.contextmanager
def explaining(path: str) -> Iterator[None]:
    """Raises what SQLite refuses inside the block as the error that a person should see."""
    try:
        yield
    except sqlite3.Error as error:
        better = explained(error, path)
        if better is error:
            raise
        raise better from error


@contextlib.contextmanager
def explaining_files(path: str) -> Iterator[None]:
    """Raises what the file system refuses inside the block as a RecordError."""
    try:
        yield
    except OSError as error:
        raise unusable(path, error.strerror or str(error)) from error
