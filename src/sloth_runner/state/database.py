"""Opening a database: its place, its permissions, its settings and its migrations."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sloth_runner.core.address import escaped
from sloth_runner.core.errors import RecordError, UsageError
from sloth_runner.core.record import now
from sloth_runner.state import failures
from sloth_runner.state.files import PRIVATE_FILE, check_own, descriptor, make_folder, sync_folder
from sloth_runner.state.room import check_room, take_room

MIGRATIONS = Path(__file__).with_name("migrations")
"""The folder of our migrations: NUMBER_NAME.sql, numbered from 1 without gaps."""

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_MOVING_SECONDS = 1.0
_UNTOUCHED = "mode=ro&immutable=1"
_WAL_LIMIT = 16 * 1024 * 1024  # Bytes to which the log shrinks back after a burst.


def default_path(environ: Mapping[str, str], is_root: bool, home: str) -> str:
    """Returns where the record is when no ``--db`` says so."""
    chosen = environ.get("SLOTH_RUNNER_DB")
    if chosen:
        return chosen
    folder = Path("/etc/sloth-runner") if is_root else Path(home) / ".sloth-runner"
    return str(folder / "stacks.db")


def folder_of(path: str) -> str:
    """Returns the folder beside a database that holds its blobs, locks and key.

    One database has one such folder, by whatever links it is reached.
    """
    return f"{os.path.realpath(path)}.d"


def is_there(path: str) -> bool:
    """Whether there is a database at ``path``; raises RecordError where nobody lets us look."""
    with failures.explaining_files(path):
        try:
            Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def connect(
    path: str, *, create: bool = True, migrations: Sequence[Path] = (MIGRATIONS,)
) -> sqlite3.Connection:
    """Opens the database at an absolute ``path``, made or migrated where that is needed.

    The connection is in autocommit: transactions are written out. Raises UsageError when
    there is no database and ``create`` is false, RecordError when it cannot be used, and
    Locked when another process keeps it busy.
    """
    _prepare(path, create=create)
    real = os.path.realpath(path)  # what lies beside a database is beside the file itself
    with failures.explaining(path), failures.explaining_files(path):
        check_room(real)
        _check_ours(path)
        _hide(path)
        connection = _plain(path)
        try:
            _set_up(connection)
            take_room(real)
            _migrate(connection, path, _steps(migrations))
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(path: str, *, create: bool) -> None:
    with failures.explaining_files(path):
        if not is_there(path):
            if not create:
                raise UsageError(
                    f"there is no record at {escaped(path)}",
                    hint="run a workflow first, or name another record with --db PATH",
                )
            _make(path)
        check_own(os.path.realpath(path))
        check_own(folder_of(path))
        if not Path(path).is_file():
            raise RecordError(
                f"{escaped(path)} is not a file", hint="name a file for the record with --db PATH"
            )


def _check_ours(path: str) -> None:
    """Raises for what is no record of ours, without any trace in it or beside it.

    Only where a log (WAL) lies beside it is it opened as usual: the file alone need not be whole
    then, and may be moving. Otherwise no lock is asked for, so that what this holds against a file
    that another process is just making must hold for a while.
    """
    deadline = time.monotonic() + _MOVING_SECONDS
    while True:
        how = "mode=ro" if Path(f"{os.path.realpath(path)}-wal").exists() else _UNTOUCHED
        # Path.as_uri loads a whole HTTP client, since Python 3.14.
        address = f"file:{quote(os.fsencode(path))}?{how}"
        try:
            with closing(
                sqlite3.connect(address, uri=True, timeout=failures.BUSY_SECONDS)
            ) as connection:
                _version(connection, path)
        except (sqlite3.DatabaseError, RecordError) as error:
            if not failures.may_pass(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _hide(path: str) -> None:
    """Lets nobody else read a record that is ours, whoever has opened it to them."""
    with failures.explaining_files(path):
        # By name: closing a descriptor of the file would drop the locks that SQLite holds on
        # it elsewhere in this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
        found = Path(path).stat()
        if found.st_mode & 0o077 and found.st_uid == os.geteuid():
            Path(path).chmod(PRIVATE_FILE)


def _make(path: str) -> None:
    folder = str(Path(path).parent)
    make_folder(folder)
    with (
        suppress(FileExistsError),
        descriptor(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW),
    ):
        sync_folder(folder)


def _plain(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=failures.BUSY_SECONDS,
        isolation_level=None,
        cached_statements=256,
    )


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    deadline = time.monotonic() + failures.BUSY_SECONDS
    while True:
        # Two processes that switch a new file at once: one is told "busy" without any wait.
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if failures.primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _steps(folders: Sequence[Path]) -> list[Path]:
    found = sorted(
        (file for folder in folders for file in folder.iterdir() if _FILE.fullmatch(file.name)),
        key=lambda file: file.name,
    )
    numbers = [_number(file) for file in found]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"migrations are numbered from 1 without gaps, not {numbers}")
    return found


def _number(file: Path) -> int:
    return int(file.name[:4])


def _version(connection: sqlite3.Connection, path: str) -> int:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master LIMIT 100")}
    if not tables:
        return 0
    if not {"migrations", "stacks"} <= tables:
        raise RecordError(
            f"{escaped(path)} is a database of some other program",
            hint="name another file with --db PATH; this one was not touched",
        )
    row = connection.execute("SELECT max(number) FROM migrations").fetchone()
    return int(row[0] or 0)


def _migrate(connection: sqlite3.Connection, path: str, steps: Sequence[Path]) -> None:
    version = _version(connection, path)
    if version > len(steps):
        raise RecordError(
            f"{escaped(path)} has version {version}, and this sloth-runner knows versions "
            f"up to {len(steps)}",
            hint="it was written by a newer sloth-runner: use that one, or another --db PATH",
            facts={"database version": version, "known version": len(steps)},
        )
    if version == len(steps):
        return
    if version:
        _back_up(connection, path, version, len(steps))
    for file in steps[version:]:
        with _transaction(connection):
            # Another process may have been first, while this one waited for its turn.
            if _version(connection, path) < _number(file):
                _apply(connection, path, file)


def _apply(connection: sqlite3.Connection, path: str, file: Path) -> None:
    for statement in _statements(file.read_text(encoding="utf-8")):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)",
        (_number(file), file.stem[5:], now()),
    )
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        raise failures.damaged(path, f"rows without their parent after migration {file.stem}")


def _statements(script: str) -> Iterator[str]:
    """Splits a script: ``executescript`` would commit the transaction that it is to run in."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        raise ValueError(f"the migration ends inside a statement: {pending.strip()!r}")


def _back_up(connection: sqlite3.Connection, path: str, version: int, target: int) -> None:
    """Copies the database to ``PATH.before-N.bak``, complete and durable or not at all."""
    backup = f"{path}.before-{target}.bak"
    partial = f"{backup}.{os.getpid()}"
    with failures.explaining_files(backup), _transaction(connection):
        if _version(connection, path) != version:
            return
        with descriptor(partial, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_NOFOLLOW):
            pass
        # A second connection reads what is committed; the transaction keeps writers out.
        with closing(_plain(path)) as source, closing(_plain(partial)) as copy:
            source.backup(copy)
        with descriptor(partial, os.O_RDONLY) as number:
            os.fsync(number)
        Path(partial).rename(backup)
        sync_folder(str(Path(backup).parent))
