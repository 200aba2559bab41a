"""The part of the store that holds values: outputs, the keyspaces and digests."""

from collections.abc import Mapping

from sloth_runner.core import values
from sloth_runner.core.address import escaped, unescaped
from sloth_runner.core.errors import UsageError
from sloth_runner.core.record import Digest, Output, now
from sloth_runner.core.values import Value
from sloth_runner.state import rows, statements
from sloth_runner.state.rows import Columns
from sloth_runner.state.tables import Tables

_LAST = "\U0010ffff"  # Escaped text never holds it, so every key with a prefix sorts below.


class ValueTables(Tables):
    """Outputs, keys and values, digests.

    A ``scope`` is a stack's id, or "" for the keyspace of the whole database.
    """

    # outputs

    def outputs(self, stack_id: str) -> list[Output]:
        """Returns the outputs of a stack, by key."""
        return [rows.output_of(row) for row in self._rows(statements.OUTPUTS, stack_id)]

    def put_output(self, stack_id: str, output: Output) -> None:
        """Sets an output; the value of a sensitive one must come encrypted."""
        self._write(
            statements.PUT_OUTPUT,
            stack_id,
            escaped(output.key),
            _document(output.key, output.value),
            int(output.sensitive),
            output.updated_at or now(),
            output.run,
        )
        self._bump(stack_id)

    def delete_output(self, stack_id: str, key: str) -> bool:
        """Removes an output; whether it was there."""
        found = self._write(statements.DELETE_OUTPUT, stack_id, escaped(key)) > 0
        if found:
            self._bump(stack_id)
        return found

    # keys and values

    def kv_get(self, scope: str, key: str) -> Value:
        """Returns the value of a key; raises KeyError where there is none."""
        found = self._kv(scope, key)
        if found is None:
            raise KeyError(key)
        return values.decode(found)

    def kv_set(self, scope: str, key: str, value: Value) -> None:
        """Sets a key; raises UsageError for what JSON cannot hold."""
        self._write(statements.KV_SET, scope, escaped(key), _document(key, value), now())

    def kv_delete(self, scope: str, key: str) -> bool:
        """Removes a key; whether it was there."""
        return self._write(statements.KV_DELETE, scope, escaped(key)) > 0

    def kv_list(self, scope: str, prefix: str = "") -> list[tuple[str, Value, str]]:
        """Returns key, value and time of change of the keys that start with ``prefix``."""
        first = escaped(prefix)
        found = self._rows(statements.KV_LIST, scope, first, first + _LAST)
        return [(unescaped(key), values.decode(value), moment) for key, value, moment in found]

    def kv_stats(self, scope: str) -> dict[str, Value]:
        """Returns ``keys`` (count), ``size`` (characters) and ``updated_at`` (None when empty)."""
        keys, size, updated_at = self._row(statements.KV_STATS, scope) or (0, 0, None)
        return {"keys": keys, "size": size, "updated_at": updated_at}

    def _kv(self, scope: str, key: str) -> str | None:
        row: Columns | None = self._row(statements.KV_GET, scope, escaped(key))
        return None if row is None else row[0]

    # digests

    def digests(self, host: str) -> dict[str, Digest]:
        """Returns the known digests of a host's files, by path."""
        return rows.digests_of(self._rows(statements.DIGESTS, escaped(host)))

    def put_digests(self, host: str, digests: Mapping[str, Digest]) -> None:
        """Adds or replaces digests of a host's files, by path."""
        self._write_many(
            statements.PUT_DIGEST,
            (
                (escaped(host), escaped(path), rows.digest_document(digest))
                for path, digest in digests.items()
            ),
        )


def _document(key: str, value: Value) -> str:
    try:
        return values.encode(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f'the value of "{escaped(key)}" cannot be kept: {error}') from error
