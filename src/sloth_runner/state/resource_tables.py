"""The part of the store that holds what is managed."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import structs

from sloth_runner.core.address import Address
from sloth_runner.core.record import ResourceRow, now
from sloth_runner.core.values import Value
from sloth_runner.state import rows, statements
from sloth_runner.state.rows import column, document, key_columns
from sloth_runner.state.tables import Tables

Key = tuple[Address, bool]
"""What identifies a resource in its stack: its address, and whether it is a registration."""


class ResourceTables(Tables):
    """Resources of stacks; every change but ``touch`` makes the stack's serial grow."""

    def resources(self, stack_id: str) -> list[ResourceRow]:
        """Returns the resources of a stack in the order of their creation."""
        with rows.collector_paused():
            pieces = self._pieces(statements.RESOURCES, stack_id)
            return [row for piece in pieces for row in rows.resources_of(piece)]

    def resource_count(self, stack_id: str) -> int:
        """Returns how many resources are recorded in a stack."""
        row = self._row(statements.RESOURCE_COUNT, stack_id)
        return int(row[0]) if row else 0

    def resource_states(self, stack_id: str) -> dict[str, int]:
        """Returns how many resources of a stack are in each state."""
        return dict(self._rows(statements.RESOURCE_STATES, stack_id))

    def resource(
        self, stack_id: str, address: Address, registered: bool = False
    ) -> ResourceRow | None:
        """Returns one resource, or None."""
        key = key_columns(stack_id, address, registered)
        found = rows.resources_of(self._rows(statements.RESOURCE, *key))
        return found[0] if found else None

    def put_resource(self, stack_id: str, row: ResourceRow) -> ResourceRow:
        """Adds or replaces a resource and returns it as recorded.

        A new one gets the next ``order``, and a ``created_at`` unless it brings one (an
        import does); an existing one keeps both. ``updated_at`` is always the present.
        """
        moment = now()
        resource_id, order, created_at = self._write_returning(
            statements.PUT_RESOURCE,
            *key_columns(stack_id, row.address, row.registered),
            *rows.resource_values(row),
            stack_id,
            *rows.resource_extras(row),
            row.created_at or moment,
            moment,
            row.last_applied,
        )
        self._write(statements.PUT_CLAIM, resource_id, row.claimed_run, column(row.task))
        self._bump(stack_id)
        return structs.replace(row, order=order, created_at=created_at, updated_at=moment)

    def delete_resource(self, stack_id: str, address: Address, registered: bool = False) -> bool:
        """Removes a resource from the record; whether it was there."""
        key = key_columns(stack_id, address, registered)
        found = self._write(statements.DELETE_RESOURCE, *key) > 0
        if found:
            self._bump(stack_id)
        return found

    def touch(self, stack_id: str, tasks: Mapping[int, str], *, run_number: int) -> None:
        """Records that a run claims resources, given by their ``order``, each for a task.

        Being looked at is no change: serial and ``updated_at`` stay.
        """
        self._write_many(
            statements.TOUCH,
            (
                (run_number, column(tasks[first]), stack_id, first, last)
                for first, last in _spans(tasks)
            ),
        )

    def relocate(self, stack_id: str, places: Mapping[int, str | None]) -> None:
        """Records where resources, given by their ``order``, are declared now."""
        self._write_many(
            statements.RELOCATE,
            ((column(place), stack_id, order) for order, place in places.items()),
        )

    def set_drift(
        self,
        stack_id: str,
        address: Address,
        drift: Sequence[Mapping[str, Value]],
        since: str | None,
        *,
        registered: bool = False,
    ) -> None:
        """Records how a resource differs from its machine; without differences, that it agrees.

        The state goes from "applied" to "drift" and back; another state stays what it is.
        """
        key = key_columns(stack_id, address, registered)
        if drift:
            changed = self._write(statements.SET_DRIFT, document(drift), since, now(), *key)
        else:
            changed = self._write(statements.CLEAR_DRIFT, now(), *key)
        if changed:
            self._bump(stack_id)

    def clear_carry(self, stack_id: str, keys: Sequence[Key]) -> None:
        """Records that nothing is owed for these resources any more."""
        if not keys:
            return
        moment = now()
        self._write_many(
            statements.CLEAR_CARRY,
            ((moment, *key_columns(stack_id, address, registered)) for address, registered in keys),
        )
        self._bump(stack_id)


def _spans(tasks: Mapping[int, str]) -> Iterator[tuple[int, int]]:
    """Yields first and last of the numbers that follow one another with the same task.

    One statement for each: a thousand resources that one task claims are one or two.
    """
    first = last = None
    for order in sorted(tasks):
        if first is None or last is None:
            first = order
        elif order != last + 1 or tasks[order] != tasks[first]:
            yield first, last
            first = order
        last = order
    if first is not None and last is not None:
        yield first, last
