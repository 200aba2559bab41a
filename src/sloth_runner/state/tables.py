"""What every part of the store stands on: one connection, and who may write through it."""

import sqlite3
from collections.abc import Iterable, Iterator

from sloth_runner.core.record import now
from sloth_runner.state import statements
from sloth_runner.state.rows import Columns


class Tables:
    """Runs statements on one connection; ``writable`` is False inside ``Journal.read``.

    Opens and ends no transaction: that is the journal's part.
    """

    def __init__(self, connection: sqlite3.Connection, *, writable: bool = True) -> None:
        self._connection = connection
        self._writable = writable

    def _rows(self, statement: str, *columns: object) -> list[Columns]:
        return self._connection.execute(statement, columns).fetchall()

    def _pieces(self, statement: str, *columns: object) -> Iterator[list[Columns]]:
        """Yields rows a thousand at a time: a large result is never in memory twice."""
        cursor = self._connection.execute(statement, columns)
        while piece := cursor.fetchmany(1000):
            yield piece

    def _row(self, statement: str, *columns: object) -> Columns | None:
        row: Columns | None = self._connection.execute(statement, columns).fetchone()
        return row

    def _write(self, statement: str, *columns: object) -> int:
        self._check_writable()
        return self._connection.execute(statement, columns).rowcount

    def _write_many(self, statement: str, rows: Iterable[Columns]) -> int:
        self._check_writable()
        return self._connection.executemany(statement, rows).rowcount

    def _write_returning(self, statement: str, *columns: object) -> Columns:
        self._check_writable()
        # Fetched to the end: a statement that still runs would hold up the commit.
        (row,) = self._connection.execute(statement, columns).fetchall()
        return tuple(row)

    def _bump(self, stack_id: str) -> None:
        self._write(statements.BUMP_STACK, now(), stack_id)

    def _check_writable(self) -> None:
        if not self._writable:
            raise RuntimeError("a function given to Journal.read wrote to the record")
