"""The journal: shared commits, errors that stay with their caller, and the fence."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sloth_runner.core.errors import Locked, RecordError, UsageError
from sloth_runner.core.record import Run, Stack
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store
from state.builders import a_holder, a_row


def count(store: Store) -> int:
    """Adds one to a key and returns the sum: it needs that nobody comes between."""
    number = sum(value for _, value, _ in store.kv_list("", "n")) + 1
    store.kv_set("", "n", number)
    return number


def test_an_answer_means_that_another_connection_sees_it(journal: Journal, stack: Stack) -> None:
    async def story() -> list[str]:
        await journal.do(lambda s: s.put_resource(stack.id, a_row()))
        plain = sqlite3.connect(journal.path)
        try:
            return [row[0] for row in plain.execute("SELECT name FROM resources")]
        finally:
            plain.close()

    assert asyncio.run(story()) == ["/etc/motd"]


def test_what_waits_together_shares_one_commit(journal: Journal) -> None:
    async def story() -> None:
        entered, go = threading.Event(), threading.Event()

        def slow(store: Store) -> None:
            store.kv_set("", "slow", 1)
            entered.set()
            go.wait(10)

        first = asyncio.ensure_future(journal.do(slow))
        await asyncio.to_thread(entered.wait, 10)
        rest = [asyncio.ensure_future(journal.do(count)) for _ in range(100)]
        await asyncio.sleep(0)
        go.set()
        await first
        assert sorted(await asyncio.gather(*rest)) == list(range(1, 101))

    before = wal_commits(journal.path)
    asyncio.run(story())
    assert wal_commits(journal.path) - before == 2


def wal_commits(path: str) -> int:
    """Counts the commit frames of the write-ahead log (https://www.sqlite.org/fileformat2.html).

    Each frame has a header of 24 bytes; in a commit frame bytes 4 to 8 are not zero.
    """
    data = Path(f"{path}-wal").read_bytes()
    size = 24 + int.from_bytes(data[8:12], "big")
    starts = range(32, len(data) - 23, size)
    return sum(1 for at in starts if any(data[at + 4 : at + 8]))


def test_an_exception_undoes_its_own_writes_and_reaches_its_caller_only(journal: Journal) -> None:
    def fails(store: Store) -> None:
        store.kv_set("", "lost", 1)
        raise ValueError("mine")

    async def story() -> list[object]:
        return await asyncio.gather(
            journal.do(lambda s: s.kv_set("", "a", 1)),
            journal.do(fails),
            journal.do(lambda s: s.kv_set("", "b", 1)),
            return_exceptions=True,
        )

    answers = asyncio.run(story())
    assert answers[0] is None
    assert answers[2] is None
    assert isinstance(answers[1], ValueError)
    assert [key for key, _, _ in journal.look(lambda s: s.kv_list(""))] == ["a", "b"]


def test_a_cancelled_caller_does_not_take_its_work_back(journal: Journal) -> None:
    async def story() -> None:
        task = asyncio.ensure_future(journal.do(lambda s: s.kv_set("", "k", 1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await journal.read(lambda s: s.kv_get("", "k")) == 1

    asyncio.run(story())


def test_threads_without_a_loop_can_write_side_by_side(journal: Journal) -> None:
    threads = [
        threading.Thread(target=lambda: [journal.call(count) for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.look(lambda s: s.kv_get("", "n")) == 80


def test_a_read_sees_what_was_written_and_cannot_write(journal: Journal) -> None:
    async def story() -> object:
        await journal.do(lambda s: s.kv_set("", "k", 1))
        with pytest.raises(RuntimeError, match="read wrote"):
            await journal.read(lambda s: s.kv_set("", "k", 2))
        return await journal.read(lambda s: s.kv_get("", "k"))

    assert asyncio.run(story()) == 1


def test_a_read_commits_nothing(journal: Journal) -> None:
    journal.call(lambda s: s.kv_set("", "k", 1))
    before = wal_commits(journal.path)
    for _ in range(5):
        journal.look(lambda s: s.kv_get("", "k"))
    assert wal_commits(journal.path) == before


def test_reading_goes_on_while_another_process_writes(journal: Journal) -> None:
    journal.call(lambda s: s.kv_set("", "k", 1))
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        began = time.monotonic()
        assert journal.look(lambda s: s.kv_get("", "k")) == 1
        assert time.monotonic() - began < 5
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_database_that_stays_busy_is_reported_as_locked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.open(journal.path) as impatient:
        impatient.call(lambda s: s._connection.execute("PRAGMA busy_timeout = 50").fetchone())
        other = sqlite3.connect(journal.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(Locked, match="busy"):
                impatient.call(lambda s: s.kv_set("", "k", 1))
        finally:
            other.execute("ROLLBACK")
            other.close()
        impatient.call(lambda s: s.kv_set("", "k", 1))


def test_a_full_disk_fails_everyone_in_the_transaction_and_keeps_the_rest(
    journal: Journal,
) -> None:
    journal.call(lambda s: s.kv_set("", "kept", 1))
    journal.call(lambda s: s._connection.execute("PRAGMA max_page_count = 1").fetchone())

    async def story() -> list[object]:
        return await asyncio.gather(
            journal.do(lambda s: s.kv_set("", "big", "x" * 1_000_000)),
            journal.do(lambda s: s.kv_set("", "huge", "x" * 1_000_000)),
            return_exceptions=True,
        )

    answers = asyncio.run(story())
    assert [type(answer) for answer in answers] == [RecordError, RecordError]
    assert "full" in str(answers[0])
    journal.call(lambda s: s._connection.execute("PRAGMA max_page_count = 100000").fetchone())
    assert [key for key, _, _ in journal.look(lambda s: s.kv_list(""))] == ["kept"]
    journal.call(lambda s: s.kv_set("", "after", 1))


# the fence


def test_a_run_that_lost_its_stack_records_nothing_more(
    journal: Journal, stack: Stack, run: Run
) -> None:
    journal.call(lambda s: s.set_holder(stack.id, run.id, a_holder()))
    journal.fence(stack.id, run.id)
    journal.call(lambda s: s.put_resource(stack.id, a_row("mine")))
    with Journal.open(journal.path) as other:
        other.call(lambda s: s.set_holder(stack.id, "other run", a_holder()))

        async def story() -> list[object]:
            return await asyncio.gather(
                journal.do(lambda s: s.put_resource(stack.id, a_row("late"))),
                journal.do(lambda s: s.kv_set("", "late", 1)),
                return_exceptions=True,
            )

        answers = asyncio.run(story())
        assert [type(answer) for answer in answers] == [Locked, Locked]
        assert answers[0] is not answers[1]
        assert "another run has taken the stack" in str(answers[0])
        assert [r.address.name for r in other.look(lambda s: s.resources(stack.id))] == ["mine"]
        assert other.look(lambda s: s.kv_list("")) == []


def test_a_run_whose_holder_was_cleared_records_nothing_more(
    journal: Journal, stack: Stack, run: Run
) -> None:
    journal.call(lambda s: s.set_holder(stack.id, run.id, a_holder()))
    journal.fence(stack.id, run.id)
    assert journal.call(lambda s: s.clear_holder(stack.id, run.id)) is True
    with pytest.raises(Locked):
        journal.call(lambda s: s.kv_set("", "late", 1))
    journal.unfence()
    journal.call(lambda s: s.kv_set("", "after", 1))


# opening and closing


def test_closing_finishes_what_waits(journal: Journal) -> None:
    path = journal.path

    async def story() -> None:
        tasks = [asyncio.ensure_future(journal.do(count)) for _ in range(50)]
        await asyncio.sleep(0)
        journal.close()
        await asyncio.gather(*tasks)

    asyncio.run(story())
    journal.close()
    with pytest.raises(RuntimeError, match="closed"):
        journal.look(lambda s: s.kv_get("", "n"))
    with Journal.open(path) as again:
        assert again.look(lambda s: s.kv_get("", "n")) == 50


def test_a_record_that_is_not_there_is_made_only_on_request(tmp_path) -> None:
    path = tmp_path / "none" / "stacks.db"
    with pytest.raises(UsageError, match="there is no record"):
        Journal.open(str(path), create=False)
    assert not path.parent.exists()


def test_a_name_that_means_memory_to_sqlite_is_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal.open(":memory:") as journal:
        journal.call(lambda s: s.kv_set("", "k", 1))
    assert (tmp_path / ":memory:").exists()


def test_a_process_that_never_closes_its_journal_can_end(tmp_path) -> None:
    program = (
        "import sys; from sloth_runner.state.journal import Journal;"
        "j = Journal.open(sys.argv[1]); j.call(lambda s: s.kv_set('', 'k', 1))"
    )
    path = str(tmp_path / "stacks.db")
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
    with Journal.open(path) as journal:
        assert journal.look(lambda s: s.kv_get("", "k")) == 1


def test_opening_loads_neither_asyncio_nor_cryptography(tmp_path) -> None:
    program = (
        "import sys; from sloth_runner.state.journal import Journal;"
        "import sloth_runner.state.keys, sloth_runner.state.blobs, sloth_runner.state.locks;"
        "j = Journal.open(sys.argv[1]); j.look(lambda s: s.stacks()); j.close();"
        "print(sorted({'asyncio', 'cryptography', 'logging', 'subprocess'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "stacks.db")],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"
