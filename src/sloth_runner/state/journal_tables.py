"""The part of the store that holds what is being done and what was decided."""

import json
from collections.abc import Mapping

from sloth_runner.core import values
from sloth_runner.core.address import Address, escaped
from sloth_runner.core.record import CommandRecord, Operation, StoredEvent, now
from sloth_runner.core.values import Value
from sloth_runner.state import rows, statements
from sloth_runner.state.rows import column
from sloth_runner.state.tables import Tables


class JournalTables(Tables):
    """Operations, the commands they started, and the events of runs."""

    def begin_operation(self, operation: Operation) -> None:
        """Records an intent; ``started_at`` is the present unless it is given."""
        self._write(
            statements.BEGIN_OPERATION,
            operation.id,
            operation.run,
            operation.run,
            *rows.operation_columns(operation, operation.started_at or now()),
        )

    def end_operation(self, operation_id: str, result: str) -> None:
        """Records a result: "done", "failed" or "not done".

        Raises LookupError when there is no such operation without a result.
        """
        if not self._write(statements.END_OPERATION, result, now(), operation_id):
            raise LookupError(f"operation {operation_id} is not under way")

    def open_operations(self, stack_id: str) -> list[Operation]:
        """Returns the operations of a stack that have no result, in order of their beginning."""
        found = self._rows(statements.OPEN_OPERATIONS, stack_id)
        return [rows.operation_of(row) for row in found]

    def operations(self, run_id: str) -> list[Operation]:
        """Returns the operations of a run, in order of their beginning."""
        return [rows.operation_of(row) for row in self._rows(statements.OPERATIONS, run_id)]

    def command_started(self, command: CommandRecord) -> None:
        """Records the process group of a command, before it is let go."""
        self._write(
            statements.COMMAND_STARTED,
            command.id,
            command.operation,
            command.operation,
            escaped(command.host),
            values.encode(command.argv),
            command.process_group,
            command.start_time,
            command.boot,
            int(command.finished),
        )

    def command_finished(self, command_id: str) -> None:
        """Records that a command has ended and can have no survivors."""
        self._write(statements.COMMAND_FINISHED, command_id)

    def unfinished_commands(self, stack_id: str) -> list[CommandRecord]:
        """Returns the commands of a stack that nobody saw end, in order of their ids."""
        found = self._rows(statements.UNFINISHED_COMMANDS, stack_id)
        return [rows.command_of(row) for row in found]

    def add_event(
        self, run_id: str, type: str, address: Address | str | None, data: Mapping[str, Value]
    ) -> int:
        """Adds an event to a run and returns its number, counted from 1 without gaps."""
        (seq,) = self._write_returning(
            statements.ADD_EVENT,
            run_id,
            run_id,
            now(),
            type,
            None if address is None else column(str(address)),
            values.encode(data),
        )
        return int(seq)

    def events(self, run_id: str) -> list[StoredEvent]:
        """Returns the events of a run in order; ``data`` is JSON, ``$bytes`` and all."""
        return [
            rows.event_of(row, json.loads(row[5])) for row in self._rows(statements.EVENTS, run_id)
        ]
