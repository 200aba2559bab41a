"""The part of the store that puts back a stack which was recorded before, times and all."""

import sqlite3
from collections.abc import Sequence

from msgspec import Struct

from sloth_runner.core import values
from sloth_runner.core.address import escaped
from sloth_runner.core.errors import UsageError
from sloth_runner.core.record import Operation, Output, ResourceRow, Run, Stack, StoredEvent
from sloth_runner.core.values import Value
from sloth_runner.state import rows, statements
from sloth_runner.state.rows import column, key_columns
from sloth_runner.state.tables import Tables


class StoredRun(Struct, frozen=True, kw_only=True):
    """A run with everything that was recorded of it."""

    run: Run
    operations: Sequence[Operation]
    events: Sequence[StoredEvent]


class WholeStack(Struct, frozen=True, kw_only=True):
    """Everything that is recorded of one stack; ``keys`` are key, value and time of change."""

    stack: Stack
    resources: Sequence[ResourceRow]
    outputs: Sequence[Output]
    runs: Sequence[StoredRun]
    keys: Sequence[tuple[str, Value, str]] = ()


class TransferTables(Tables):
    """Writes a whole stack in one transaction, as it was."""

    def restore_stack(self, whole: WholeStack) -> None:
        """Adds a stack with all that was recorded of it.

        Raises UsageError when its name is taken, when it is here already by another name, or
        when its parts cannot belong together.
        """
        try:
            self._restore(whole)
        except (sqlite3.IntegrityError, OverflowError) as error:
            raise UsageError(
                f"the exported stack contradicts itself: {error}",
                hint="export it again; a document that was edited by hand must keep its shape",
                effects=("nothing was changed",),
            ) from error

    def _restore(self, whole: WholeStack) -> None:
        stack = whole.stack
        known = self._row(statements.STACK_BY_ID, stack.id)
        if known is not None:
            name = rows.stack_of(known).name
            raise UsageError(
                f'this stack is recorded here already, as "{escaped(name)}"',
                hint="delete that record first, or import into another one with --db PATH",
                effects=("nothing was changed",),
            )
        if not self._write(statements.ADD_STACK, *rows.stack_columns(stack)):
            raise UsageError(
                f'there is a stack "{escaped(stack.name)}" already',
                hint="import it under another name with --name, or delete the one that is here",
                effects=("nothing was changed",),
            )
        for stored in whole.runs:
            self._restore_run(stack.id, stored)
        for row in whole.resources:
            self._restore_resource(stack.id, row)
        for output in whole.outputs:
            document = values.encode(output.value)
            self._write(
                statements.PUT_OUTPUT,
                stack.id,
                escaped(output.key),
                document,
                int(output.sensitive),
                output.updated_at,
                output.run,
            )
        for key, value, moment in whole.keys:
            self._write(statements.KV_SET, stack.id, escaped(key), values.encode(value), moment)

    def _restore_run(self, stack_id: str, stored: StoredRun) -> None:
        run = stored.run
        self._write(
            statements.RESTORE_RUN,
            run.id,
            stack_id,
            run.number,
            run.kind,
            escaped(run.who),
            escaped(run.command),
            run.source_hash,
            run.started_at,
            run.finished_at,
            column(run.result),
            values.encode(dict(run.counts)),
        )
        for operation in stored.operations:
            columns = rows.operation_columns(operation, operation.started_at)
            self._write(statements.BEGIN_OPERATION, operation.id, run.id, run.id, *columns)
        for event in stored.events:
            self._write(
                statements.RESTORE_EVENT,
                run.id,
                event.seq,
                event.at,
                event.type,
                column(event.address),
                values.encode(dict(event.data)),
            )

    def _restore_resource(self, stack_id: str, row: ResourceRow) -> None:
        resource_id, _, _ = self._write_returning(
            statements.PUT_RESOURCE,
            *key_columns(stack_id, row.address, row.registered),
            *rows.resource_values(row),
            stack_id,
            *rows.resource_extras(row),
            row.created_at,
            row.updated_at,
            row.last_applied,
        )
        self._write(statements.PUT_CLAIM, resource_id, row.claimed_run, column(row.task))
