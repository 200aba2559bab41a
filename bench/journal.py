"""The journal: what does it cost to record one change, however large the record is?"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.table import ms, ratio, show, verdict
from sloth_runner.core.address import Address
from sloth_runner.core.record import Operation, ResourceRow, Run, now
from sloth_runner.core.values import checksum
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store

TARGET_MS = 3.0
"""For a change: an intent and a result, each durable before the next step."""


def run(folder: str, sizes: Sequence[int], changes: int) -> None:
    """Records ``changes`` changes one after the other in records of each size; prints the table."""
    rows: list[Sequence[object]] = []
    for size in sizes:
        subject, floor = measured(f"{folder}/journal-{size}", size, changes)
        each = median(subject) * 1e3
        times = ratio(subject, floor)
        rows.append(
            [f"{size:,}", times, verdict(each, TARGET_MS), ms(subject), ms(floor), len(subject)]
        )
    head = ("recorded", "x floor", f"target {TARGET_MS} ms", "ms a change (min)", "floor", "n")
    show("Journal: one change at a time, two commits each", head, rows)


def measured(folder: str, size: int, changes: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of each change, and of two bare commits made in turn with it."""
    Path(folder).mkdir(parents=True)
    with Journal.open(f"{folder}/stacks.db") as journal, closing(_plain(folder)) as plain:
        stack = journal.call(lambda store: store.create_stack("bench", version="0"))
        run = journal.call(
            lambda store: store.begin_run(
                stack.id, kind="run", who="bench", command="", source_hash=""
            )
        )
        for start in range(0, size, 1000):
            rows = [_row(i, run) for i in range(start, min(size, start + 1000))]
            journal.call(lambda store, rows=rows: _fill(store, stack.id, rows))
        return asyncio.run(_changes(journal, stack.id, run, changes, plain))


async def _changes(
    journal: Journal, stack_id: str, run: Run, changes: int, plain: sqlite3.Connection
) -> tuple[list[float], list[float]]:
    subject, floor = [], []
    for i in range(changes):
        began = time.perf_counter()
        await _change(journal, stack_id, run, _row(i * 7, run))
        subject.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(2):
            plain.execute("INSERT INTO plain (body) VALUES (?)", ("x" * 1000,))
        floor.append(time.perf_counter() - began)
    return subject, floor


async def _change(journal: Journal, stack_id: str, run: Run, row: ResourceRow) -> None:
    operation = Operation(
        id=f"{row.run}-{row.address.name}-{time.monotonic_ns()}",
        run=run.id,
        address=row.address,
        kind="change",
        task="main",
        attempt=1,
        ordinal=0,
        registered=False,
        row=dict(row.params),
        previous={"actual": row.actual, "saved": {}},
        diff=({"path": "mode", "old": "0600", "new": "0644", "sensitive": False},),
        started_at=now(),
    )
    event = {"type": "resource.start", "msg": f"change {row.address}", "task": "main"}

    def intend(store: Store) -> None:
        store.begin_operation(operation)
        store.add_event(run.id, "resource.start", row.address, event)

    def settle(store: Store) -> None:
        store.put_resource(stack_id, row)
        store.end_operation(operation.id, "done")
        store.add_event(run.id, "resource.end", row.address, event)

    await journal.do(intend)
    await journal.do(settle)


def _fill(store: Store, stack_id: str, rows: Sequence[ResourceRow]) -> None:
    for row in rows:
        store.put_resource(stack_id, row)


def _row(number: int, run: Run) -> ResourceRow:
    state = {"content": f"sha256:{number:064x}", "mode": "0644", "owner": "root", "group": "root"}
    return ResourceRow(
        address=Address("local", "file", f"/srv/bench/{number:06d}.conf"),
        module="file_ops",
        registered=False,
        params={"path": f"/srv/bench/{number:06d}.conf", "mode": "0644"},
        desired=state,
        actual=state,
        checksum=checksum(state),
        state="applied",
        provenance="created",
        task="main",
        claimed_run=run.number,
        run=run.number,
        last_applied=now(),
    )


def _plain(folder: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{folder}/plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, body TEXT)")
    return connection
