"""The part of the store that holds values: outputs, the keyspaces, digests and blob references."""

import re
from collections.abc import Mapping

from sloth_runner.core import values
from sloth_runner.core.address import escaped, unescaped
from sloth_runner.core.errors import UsageError
from sloth_runner.core.record import Digest, Output, now
from sloth_runner.core.values import Value
from sloth_runner.state import rows, statements
from sloth_runner.state.rows import Columns
from sloth_runner.state.tables import Tables

_WHOLE = re.compile(r"-?[0-9]{1,15}")
_LAST = "\U0010ffff"  # Escaped text never holds it, so every key with a prefix sorts below.


class ValueTables(Tables):
    """Outputs, keys and values, digests, blob references.

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

    def kv_increment(self, scope: str, key: str, by: int = 1) -> int:
        """Adds ``by`` to a whole number and returns the sum; a key without value counts as 0.

        Raises UsageError when the value is no whole number.
        """
        found = self._kv(scope, key)
        total = incremented(key, None if found is None else values.decode(found), by)
        self.kv_set(scope, key, total)
        return total

    def kv_compare_swap(self, scope: str, key: str, expected: Value, new: Value) -> bool:
        """Sets a key to ``new`` if its value is ``expected``; whether it did.

        None is no value: as ``expected`` it stands for a key that is not there (or null),
        as ``new`` it removes the key.
        """
        if (self._kv(scope, key) or "null") != _document(key, expected):
            return False
        if new is None:
            self.kv_delete(scope, key)
        else:
            self.kv_set(scope, key, new)
        return True

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

    # blobs

    def put_blob_ref(self, stack_id: str, blob: str) -> None:
        """Records that a stack needs a blob."""
        self._write(statements.PUT_BLOB_REF, stack_id, blob)

    def blob_refs(self, stack_id: str | None = None) -> set[str]:
        """Returns the blobs that a stack needs; without a stack, those that any needs."""
        if stack_id is None:
            return {row[0] for row in self._rows(statements.ALL_BLOB_REFS)}
        return {row[0] for row in self._rows(statements.BLOB_REFS, stack_id)}


def incremented(key: str, value: Value, by: int) -> int:
    """Returns what a key holds after ``by`` was added; no value counts as 0.

    The digits of a whole number are one, since that is how the command line writes them.
    Raises UsageError for anything else.
    """
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise UsageError(
            f'the value of "{escaped(key)}" is no whole number, so it cannot be incremented',
            hint="set it to a number first, or choose another key",
            facts={"value": values.jsonable(value)},
        )
    return (value or 0) + by


def _document(key: str, value: Value) -> str:
    try:
        return values.encode(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f'the value of "{escaped(key)}" cannot be kept: {error}') from error
