"""kill -9 at any moment: what was answered is there, what is there is whole."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sloth_runner.core.record import ResourceRow
from sloth_runner.state.journal import Journal

WRITE = """
import asyncio, sys
from sloth_runner.state.journal import Journal
from state.builders import a_row, an_operation

async def main():
    journal = Journal.open(sys.argv[1])
    stack = await journal.read(lambda s: s.stack("web"))
    run = await journal.do(lambda s: s.begin_run(
        stack.id, kind="run", who="a", command="c", source_hash="h"))

    async def change(n):
        name = f"/{run.number}/{n}"
        operation = an_operation(run.id, name)
        await journal.do(lambda s: s.begin_operation(operation))
        print("intent", name, flush=True)

        def result(store):
            store.end_operation(operation.id, "done")
            store.put_resource(stack.id, a_row(name, run=run.number))
            store.add_event(run.id, "resource.end", name, {"n": n})

        await journal.do(result)
        print("done", name, flush=True)

    async def worker(first):
        for n in range(first, 100000, 4):
            await change(n)

    await asyncio.gather(*(worker(first) for first in range(4)))

asyncio.run(main())
"""


@pytest.mark.crash
def test_kill_9_loses_nothing_that_was_answered_and_tears_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "stacks.db")
    with Journal.open(path) as journal:
        stack = journal.call(lambda s: s.create_stack("web", version="1"))
    chance = random.Random(20260102)
    answered: dict[str, set[str]] = {"intent": set(), "done": set()}
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE, path],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(chance.uniform(0.0, 0.08))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        for line in lines:
            if line.endswith("\n"):
                kind, name = line.split()
                answered[kind].add(name)
        check(path, stack.id, answered)
    assert len(answered["done"]) >= 8


def check(path: str, stack_id: str, answered: dict[str, set[str]]) -> None:
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
    plain.close()
    with Journal.open(path) as journal:
        rows: list[ResourceRow] = journal.look(lambda s: s.resources(stack_id))
        recorded = {row.address.name for row in rows}
        doubtful = {o.address.name for o in journal.look(lambda s: s.open_operations(stack_id))}
        events = [
            event.address
            for run in journal.look(lambda s: s.runs(stack_id))
            for event in journal.look(lambda s, run=run: s.events(run.id))
        ]
    assert answered["done"] <= recorded
    assert answered["intent"] <= recorded | doubtful
    assert recorded.isdisjoint(doubtful)
    assert sorted(filter(None, events)) == sorted(recorded)
    assert [row.order for row in rows] == list(range(1, len(rows) + 1))
