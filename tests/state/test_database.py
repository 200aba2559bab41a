"""The file itself: its place, its permissions, its versions, and what happens when it is hurt."""

import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from sloth_runner.core.errors import RecordError
from sloth_runner.core.record import Stack
from sloth_runner.state import statements
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.database import MIGRATIONS, default_path
from sloth_runner.state.journal import Journal
from sloth_runner.state.keys import Sealer
from sloth_runner.state.locks import StackLock
from state.builders import a_row


def mode_of(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "stacks.db"


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A folder with the migration that a later version would bring."""
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "0002_colour.sql").write_text(
        "-- A comment; with a semicolon.\n"
        "ALTER TABLE stacks ADD COLUMN colour TEXT;\n"
        "CREATE TABLE shades (id INTEGER PRIMARY KEY,\n  name TEXT);\n"
    )
    return folder


# place and permissions


@pytest.mark.parametrize(
    ("environ", "root", "expected"),
    [
        ({}, True, "/etc/sloth-runner/stacks.db"),
        ({}, False, "/home/ana/.sloth-runner/stacks.db"),
        ({"SLOTH_RUNNER_DB": "/srv/my.db"}, True, "/srv/my.db"),
        ({"SLOTH_RUNNER_DB": ""}, False, "/home/ana/.sloth-runner/stacks.db"),
    ],
)
def test_the_record_has_a_place_without_being_told(
    environ: dict[str, str], root: bool, expected: str
) -> None:
    assert default_path(environ, root, "/home/ana") == expected


@pytest.mark.usefixtures("umask_000")
def test_everything_that_is_made_is_for_its_owner_alone(path: Path) -> None:
    with Journal.open(str(path)) as journal:
        stack = journal.call(lambda s: s.create_stack("web", version="1"))
        blobs, sealer = Blobs(journal.folder), Sealer.load(journal.folder)
        blobs.put("plain")
        blobs.put_sealed("secret", sealer)
        blobs.scratch()
        lock = StackLock(journal.folder, stack.id)
        lock.acquire()
        made = [path.parent.parent, *path.parent.parent.rglob("*")]
        wrong = {
            str(file): mode_of(file)
            for file in made
            if mode_of(file) != ("0o700" if file.is_dir() else "0o600")
        }
        lock.release()
    assert wrong == {}
    names = {file.name for file in made}
    assert {"stacks.db", "stacks.db-wal", "stacks.db-shm", "key", "locks", "tmp"} <= names


def test_a_record_that_others_may_read_is_closed_to_them(path: Path) -> None:
    Journal.open(str(path)).close()
    path.chmod(0o644)
    with Journal.open(str(path)):
        assert mode_of(path) == "0o600"
        assert mode_of(path.with_name("stacks.db-wal")) == "0o600"


def test_a_folder_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    Journal.open(str(folder / "stacks.db")).close()
    assert mode_of(folder) == "0o755"


def test_an_empty_file_left_by_a_killed_process_becomes_a_record(tmp_path: Path) -> None:
    path = tmp_path / "stacks.db"
    path.touch()
    with Journal.open(str(path)) as journal:
        assert journal.look(lambda s: s.stacks()) == []


# versions


def test_a_database_of_a_newer_version_is_refused_by_name(path: Path, newer: Path) -> None:
    with Journal.open(str(path), migrations=(MIGRATIONS, newer)) as journal:
        journal.call(lambda s: s.kv_set("", "k", 1))
    before = path.read_bytes()
    with pytest.raises(RecordError, match=r"has version 2.*up to 1") as caught:
        Journal.open(str(path))
    assert caught.value.exit_code == 6
    assert path.read_bytes() == before


def test_an_older_database_is_backed_up_and_migrated(path: Path, newer: Path) -> None:
    with Journal.open(str(path)) as journal:
        stack = journal.call(lambda s: s.create_stack("web", version="1"))
        journal.call(lambda s: s.put_resource(stack.id, a_row()))
    old = os.umask(0)
    try:
        journal = Journal.open(str(path), migrations=(MIGRATIONS, newer))
    finally:
        os.umask(old)
    with journal:
        assert journal.look(lambda s: s.schema_version()) == 2
        assert len(journal.look(lambda s: s.resources(stack.id))) == 1
    backup = path.with_name("stacks.db.before-2.bak")
    assert mode_of(backup) == "0o600"
    with Journal.open(str(backup)) as saved:
        assert saved.look(lambda s: s.schema_version()) == 1
        assert len(saved.look(lambda s: s.resources(stack.id))) == 1
    assert [p.name for p in path.parent.glob("*.bak.*")] == []


def test_a_migration_that_fails_changes_nothing(path: Path, newer: Path) -> None:
    (newer / "0003_broken.sql").write_text(
        "CREATE TABLE half (id INTEGER);\nINSERT INTO nowhere VALUES (1);\n"
    )
    Journal.open(str(path)).close()
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Journal.open(str(path), migrations=(MIGRATIONS, newer))
    plain = sqlite3.connect(path)
    tables = {row[0] for row in plain.execute("SELECT name FROM sqlite_master")}
    versions = [row[0] for row in plain.execute("SELECT number FROM migrations")]
    plain.close()
    assert "half" not in tables
    assert "shades" in tables
    assert versions == [1, 2]


def test_two_processes_can_make_one_record_at_once(path: Path) -> None:
    program = (
        "import sys; from sloth_runner.state.journal import Journal\n"
        "def count(store):\n"
        "    numbers = [value for _, value, _ in store.kv_list('', 'n')]\n"
        "    store.kv_set('', 'n', sum(numbers) + 1)\n"
        "with Journal.open(sys.argv[1]) as j: j.call(count)"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in started] == [0] * 4
    with Journal.open(str(path)) as journal:
        assert journal.look(lambda s: s.kv_get("", "n")) == 4
        assert journal.look(lambda s: s.schema_version()) == 1


def test_a_file_that_is_just_being_written_is_not_called_damaged(path: Path) -> None:
    Journal.open(str(path)).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(len(whole) - 100))
    writing = threading.Timer(0.2, lambda: path.write_bytes(whole))
    writing.start()
    with Journal.open(str(path)) as journal:
        assert journal.look(lambda s: s.schema_version()) == 1
    writing.join()


def test_a_record_whose_log_was_half_moved_into_it_is_whole(path: Path, tmp_path: Path) -> None:
    with Journal.open(str(path)) as journal:
        for number in range(200):
            journal.call(lambda s, n=number: s.kv_set("", f"key {n}", "x" * 500))  # type: ignore[misc]
        files = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal")}
    half = tmp_path / "half.db"  # as kill -9 leaves it: a log, and a part of it in the file
    whole = path.read_bytes()
    half.write_bytes(whole[:4096] + files[""][4096:])
    Path(f"{half}-wal").write_bytes(files["-wal"])
    with Journal.open(str(half)) as journal:
        assert journal.look(lambda s: len(s.kv_list("", "key"))) == 200


# damage


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "stacks.db"
    path.write_bytes(b"this is a shopping list, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(RecordError, match="is damaged") as caught:
        Journal.open(str(path))
    assert "backup" in caught.value.hint
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "stacks.db"
    plain = sqlite3.connect(path)
    plain.execute("CREATE TABLE songs (id INTEGER)")
    plain.close()
    with pytest.raises(RecordError, match="some other program"):
        Journal.open(str(path))


def test_damage_inside_is_found_when_it_is_read(path: Path) -> None:
    with Journal.open(str(path)) as journal:
        stack = journal.call(lambda s: s.create_stack("web", version="1"))
        journal.call(lambda s: [s.put_resource(stack.id, a_row(f"/etc/{n}")) for n in range(200)])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)  # The schema lies before, the newest rows after.
        file.write(os.urandom(size - size // 2))
    with (
        Journal.open(str(path)) as journal,
        pytest.raises(RecordError, match="is damaged") as caught,
    ):
        journal.look(lambda s: s.resources(stack.id))
    assert caught.value.exit_code == 6


@pytest.mark.root
def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0 and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    Journal.open(str(tmp_path / "stacks.db")).close()
    (tmp_path / "stacks.db").chmod(0o644)
    program = (
        "import os, sys, urllib.parse\n"  # what later Pythons import only when they need it
        "from sloth_runner.core.errors import SlothError\n"
        "from sloth_runner.state.journal import Journal\n"
        "os.setuid(65534)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        Journal.open(path).call(lambda s: s.kv_set('', 'k', 1))\n"
        "    except SlothError as error:\n"
        "        print(error.exit_code, error.detail, error.hint)\n"
    )
    places = [str(tmp_path / "stacks.db"), str(tmp_path / "new.db"), str(tmp_path / "a" / "b.db")]
    done = subprocess.run(
        [sys.executable, "-c", program, *places], timeout=60, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    for line, place in zip(lines, places, strict=True):
        assert line.startswith(f"6 {place} cannot be opened for writing"), line
        assert "--db" in line


# cost


def all_statements() -> dict[str, str]:
    return {
        name: text
        for name, text in vars(statements).items()
        if name.isupper() and not name.startswith("_") and isinstance(text, str)
    }


WHOLE_TABLE = {"STACKS", "TEXTS_WITH_BLOBS"}  # A listing of all there is has nothing to look up.


@pytest.mark.parametrize("name", sorted(all_statements()))
def test_no_statement_grows_with_the_record(journal: Journal, name: str) -> None:
    statement = all_statements()[name]
    plain = sqlite3.connect(journal.path)
    plan = plain.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?")).fetchall()
    plain.close()
    steps = [row[3] for row in plan]
    scans = [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step]
    assert bool(scans) == (name in WHOLE_TABLE), steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps


def test_the_pages_that_a_change_writes_do_not_grow_with_the_record(
    journal: Journal, stack: Stack
) -> None:
    def pages_of_one_change() -> int:
        plain = sqlite3.connect(journal.path)
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        plain.close()
        journal.call(lambda s: s.put_resource(stack.id, a_row("/etc/one", error="x")))
        return Path(f"{journal.path}-wal").stat().st_size // 4096

    journal.call(lambda s: s.put_resource(stack.id, a_row("/etc/one")))
    few = pages_of_one_change()
    journal.call(lambda s: [s.put_resource(stack.id, a_row(f"/etc/{n:05}")) for n in range(3000)])
    assert 1 <= pages_of_one_change() <= few + 2


@pytest.mark.root
@pytest.mark.parametrize("what", ["", ".d", ".d/key"])
def test_what_another_account_has_laid_there_is_not_used(path: Path, what: str) -> None:
    with Journal.open(str(path)):
        sealer = Sealer.load(f"{path}.d")
        sealer.encrypt("x")
    os.chown(f"{path}{what}", 65534, 65534)
    with (
        pytest.raises(RecordError, match="belongs to the account 65534"),
        Journal.open(str(path)),
    ):
        Sealer.load(f"{path}.d").encrypt("x")


def test_a_key_that_others_can_read_and_a_folder_that_is_a_link_are_not_used(path: Path) -> None:
    with Journal.open(str(path)):
        Sealer.load(f"{path}.d").encrypt("x")
    Path(f"{path}.d/key").chmod(0o644)
    with pytest.raises(RecordError, match="others may read"):
        Sealer.load(f"{path}.d").encrypt("x")
    Path(f"{path}.d").rename(f"{path}.elsewhere")
    Path(f"{path}.d").symlink_to(f"{path}.elsewhere")
    with pytest.raises(RecordError, match="is a symbolic link"):
        Journal.open(str(path))


def test_what_is_no_record_of_ours_is_left_as_it_is(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("a text\n")
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    folder = path.with_name("folder")
    folder.mkdir()
    for place in (path, other, folder):
        place.chmod(0o755)
        before = place.read_bytes() if place.is_file() else b""
        with pytest.raises(RecordError):
            Journal.open(str(place))
        assert mode_of(place) == "0o755"
        assert (place.read_bytes() if place.is_file() else b"") == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["folder", "other.db", "stacks.db"]


@pytest.mark.root
@pytest.mark.needs("mkfs.ext4")
def test_a_disk_that_is_full_is_an_error_and_never_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    with small_blocks(tmp_path) as disk:
        db = disk / "stacks.db"
        for free, old in itertools.product(range(0, 72, 12), (False, True)):
            for file in disk.iterdir():
                file.unlink() if file.is_file() else shutil.rmtree(file)
            if old:
                assert set_key(db, 1).returncode == 0
            fill(disk, free)
            done = set_key(db, 100)
            assert done.returncode in (0, 6), (free, done)
            assert done.returncode == 0 or b"full" in done.stderr or b"disk" in done.stderr


@pytest.mark.root
@pytest.mark.needs("mkfs.ext4")
def test_what_a_disk_has_left_for_root_alone_serves_root(tmp_path: Path) -> None:
    with small_blocks(tmp_path, reserved=50) as disk:
        fill(disk, 0)
        assert os.statvfs(disk).f_bavail == 0
        done = set_key(disk / "stacks.db", 100)
        assert done.returncode == 0, done


@contextmanager
def small_blocks(folder: Path, reserved: int = 0) -> Iterator[Path]:
    """A file system of 2 MiB whose blocks are smaller than a page of memory.

    So many percent of it are for root only.
    """
    image, disk = folder / "image", folder / "disk"
    disk.mkdir()
    image.write_bytes(bytes(2 * 1024 * 1024))
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", "-m", str(reserved), image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(disk: Path, free: int) -> None:
    """Leaves so many KiB free, or a little less."""
    with (disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while (left := os.statvfs(disk).f_bavail - free) > 0:
            file.write(bytes(1024 * max(1, left // 2)))
            os.fsync(file.fileno())


def set_key(db: Path, size: int) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "sloth_runner", "--db", db, "state", "set", "key", "x" * size],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
