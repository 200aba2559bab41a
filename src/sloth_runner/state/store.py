"""The store: everything that the record can be asked and told, one method each.

Every method runs inside the transaction of the journal that calls it (``state.journal``).
All SQL is in ``state.statements``.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sloth_runner.core import values
from sloth_runner.core.address import escaped
from sloth_runner.core.errors import UsageError
from sloth_runner.core.record import Holder, Run, RunKind, Stack, StackStatus, now
from sloth_runner.state import rows, statements
from sloth_runner.state.ids import new_id
from sloth_runner.state.journal_tables import JournalTables
from sloth_runner.state.resource_tables import ResourceTables
from sloth_runner.state.rows import column
from sloth_runner.state.value_tables import ValueTables

if TYPE_CHECKING:
    from sloth_runner.state.transfer_tables import WholeStack


_UNNAMED = "unnamed blobs"
"""The setting that says whether there may be blobs which nothing names any more."""


class Store(ResourceTables, JournalTables, ValueTables):
    """The record of one database: stacks and runs here, the rest in the base classes."""

    # stacks

    def stacks(self) -> list[Stack]:
        """Returns every stack, by name."""
        return [rows.stack_of(row) for row in self._rows(statements.STACKS)]

    def stack(self, name: str) -> Stack | None:
        """Returns the stack of that name, or None."""
        row = self._row(statements.STACK, escaped(name))
        return None if row is None else rows.stack_of(row)

    def create_stack(
        self, name: str, *, version: str, workflow: str | None = None, description: str = ""
    ) -> Stack:
        """Adds a stack and returns it; raises UsageError when the name is taken or empty."""
        if not name:
            raise UsageError("a stack needs a name")
        moment = now()
        stack = Stack(
            id=new_id(),
            name=name,
            version=version,
            status="new",
            created_at=moment,
            updated_at=moment,
            serial=1,
            lineage=new_id(),
            workflow=workflow,
            description=description,
        )
        if not self._write(statements.ADD_STACK, *rows.stack_columns(stack)):
            raise _taken(name)
        return stack

    def update_stack(
        self,
        stack_id: str,
        *,
        status: StackStatus | None = None,
        workflow: str | None = None,
        description: str | None = None,
        version: str | None = None,
    ) -> None:
        """Changes what is given and leaves the rest; the serial grows by one."""
        self._write(
            statements.UPDATE_STACK,
            status,
            column(workflow),
            column(description),
            column(version),
            now(),
            stack_id,
        )

    def rename(self, stack_id: str, name: str) -> None:
        """Gives a stack another name; raises UsageError when it is taken or empty."""
        if not name:
            raise UsageError("a stack needs a name")
        other = self.stack(name)
        if other is not None and other.id != stack_id:
            raise _taken(name)
        self._write(statements.RENAME_STACK, escaped(name), now(), stack_id)

    def delete_stack(self, stack_id: str) -> bool:
        """Removes a stack with all that is recorded of it; whether there was one."""
        self.note_unnamed_blobs(True)
        self._write(statements.KV_CLEAR, stack_id)
        return self._write(statements.DELETE_STACK, stack_id) > 0

    def restore_stack(self, whole: "WholeStack") -> None:
        """Adds a stack with all that was recorded of it elsewhere; raises UsageError if taken."""
        from sloth_runner.state.transfer_tables import TransferTables  # for an import only

        TransferTables(self._connection, writable=self._writable).restore_stack(whole)

    # runs

    def begin_run(
        self, stack_id: str, *, kind: RunKind, who: str, command: str, source_hash: str
    ) -> Run:
        """Adds the next run of a stack, numbered from 1, and returns it."""
        run_id, moment = new_id(), now()
        (number,) = self._write_returning(
            statements.BEGIN_RUN,
            run_id,
            stack_id,
            stack_id,
            kind,
            escaped(who),
            escaped(command),
            source_hash,
            moment,
        )
        return Run(
            id=run_id,
            stack=stack_id,
            number=number,
            kind=kind,
            who=who,
            command=command,
            source_hash=source_hash,
            started_at=moment,
        )

    def finish_run(
        self, run_id: str, *, result: str, counts: Mapping[str, int], at: str | None = None
    ) -> None:
        """Records how a run ended, and when (``at``, or now); ``counts`` are outcomes by name."""
        ended = at or now()
        self._write(
            statements.FINISH_RUN, ended, escaped(result), values.encode(dict(counts)), run_id
        )

    def runs(self, stack_id: str, limit: int | None = None) -> list[Run]:
        """Returns the runs of a stack, the newest first, at most ``limit`` of them."""
        found = self._rows(statements.RUNS, stack_id, -1 if limit is None else limit)
        return [rows.run_of(row) for row in found]

    def run(self, stack_id: str, number: int) -> Run | None:
        """Returns one run of a stack, or None."""
        row = self._row(statements.RUN, stack_id, number)
        return None if row is None else rows.run_of(row)

    # holders

    def holder(self, stack_id: str) -> Holder | None:
        """Returns who said last that they hold the stack; the lock itself is ``state.locks``."""
        row = self._row(statements.HOLDER, stack_id)
        return None if row is None else rows.holder_of(row)

    def holding_run(self, stack_id: str) -> str | None:
        """Returns the id of the run that holds the stack, as its row says."""
        row = self._row(statements.HOLDER_RUN, stack_id)
        return None if row is None else str(row[0])

    def set_holder(self, stack_id: str, run_id: str, holder: Holder) -> None:
        """Records who holds the stack, in place of whoever held it before."""
        self._write(
            statements.SET_HOLDER,
            stack_id,
            run_id,
            escaped(holder.who),
            holder.pid,
            holder.since,
            escaped(holder.command),
            holder.run,
        )

    def clear_holder(self, stack_id: str, run_id: str) -> bool:
        """Removes the holder if it is that run; whether it was."""
        return self._write(statements.CLEAR_HOLDER, stack_id, run_id) > 0

    # blobs

    def texts_with_blobs(self) -> Iterator[str]:
        """Yields every text of the record that may name a blob, whatever stack it is of."""
        for piece in self._pieces(statements.TEXTS_WITH_BLOBS):
            for row in piece:
                yield row[0]

    def may_have_unnamed_blobs(self) -> bool:
        """Whether a stack or a run has ended so that it may have left blobs behind."""
        return self.setting(_UNNAMED) == "yes"

    def note_unnamed_blobs(self, there: bool) -> None:
        """Records whether there may be blobs that nothing names."""
        self.set_setting(_UNNAMED, "yes" if there else "no")

    # settings

    def schema_version(self) -> int:
        """Returns the number of the newest migration that the database has."""
        row = self._row(statements.SCHEMA_VERSION)
        return int(row[0]) if row and row[0] is not None else 0

    def setting(self, name: str) -> str | None:
        """Returns a fact about the whole database, for example the id of its key; or None."""
        row = self._row(statements.SETTING, name)
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        """Records a fact about the whole database."""
        self._write(statements.PUT_SETTING, name, value)


def _taken(name: str) -> UsageError:
    return UsageError(
        f'there is a stack "{escaped(name)}" already',
        hint='choose another name; "sloth-runner stack list" shows all of them',
    )
