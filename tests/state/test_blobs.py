"""Blobs: named by what they hold, checked when they are read, gone only when nobody needs them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sloth_runner.core.errors import RecordError
from sloth_runner.core.record import Stack
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.journal import Journal
from sloth_runner.state.keys import Sealer
from state.builders import a_row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stacks.db.d"


@pytest.fixture
def blobs(folder: Path) -> Blobs:
    return Blobs(str(folder))


@pytest.fixture
def sealer(folder: Path) -> Sealer:
    return Sealer.load(str(folder))


def stored(folder: Path) -> list[Path]:
    return [file for file in (folder / "blobs").rglob("*") if file.is_file()]


@pytest.mark.parametrize("data", [b"", b"hello\n", bytes(range(256)) * 5000])
def test_a_blob_is_named_by_its_hash_and_comes_back(
    folder: Path, blobs: Blobs, data: bytes
) -> None:
    key = blobs.put(data)
    assert key == hashlib.sha256(data).hexdigest()
    assert blobs.path(key) == str(folder / "blobs" / key[:2] / key)
    assert Path(blobs.path(key)).read_bytes() == data
    with blobs.open(key) as file:
        assert file.read() == data
    assert blobs.read(key) == data.decode("utf-8", "surrogateescape")
    assert blobs.put(blobs.read(key)) == key
    assert len(stored(folder)) == 1


def test_many_are_kept_at_once(folder: Path, blobs: Blobs) -> None:
    keys = blobs.put_many([f"content {n}" for n in range(20)])
    assert [blobs.read(key) for key in keys] == [f"content {n}" for n in range(20)]
    assert list((folder / "tmp").iterdir()) == []


def test_a_file_is_copied_and_stays(folder: Path, blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.write_bytes(os.urandom(3_000_000))
    source.chmod(0o644)
    key = blobs.put_file(str(source))
    assert Path(blobs.path(key)).read_bytes() == source.read_bytes()
    assert Path(blobs.path(key)).stat().st_ino != source.stat().st_ino
    assert Path(blobs.path(key)).stat().st_mode & 0o777 == 0o600
    content = blobs.content(key)
    assert (content.sha256, content.size, content.path) == (key, 3_000_000, blobs.path(key))


def test_a_scratch_file_is_moved_into_place(folder: Path, blobs: Blobs) -> None:
    scratch = Path(blobs.scratch())
    assert scratch.stat().st_mode & 0o777 == 0o600
    scratch.write_bytes(b"fetched")
    number = scratch.stat().st_ino
    key = blobs.put_file(str(scratch))
    assert not scratch.exists()
    assert Path(blobs.path(key)).stat().st_ino == number
    assert blobs.read(key) == "fetched"


def test_a_link_is_followed_to_the_file_of_the_user(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    key = blobs.put_file(str(tmp_path / "link"))
    with blobs.open(key) as kept:
        assert kept.read() == b"x"
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize("key", ["", "../../../etc/passwd", "ab", "A" * 64, "a" * 64 + "/x", "/"])
def test_only_a_key_leads_to_a_path(blobs: Blobs, key: str) -> None:
    with pytest.raises(ValueError, match="is not the key"):
        blobs.path(key)


def test_a_damaged_or_missing_blob_is_never_given_out(blobs: Blobs) -> None:
    key = blobs.put("precious")
    Path(blobs.path(key)).write_text("precioux")
    with pytest.raises(RecordError, match="is damaged"):
        blobs.read(key)
    with pytest.raises(RecordError, match="is damaged"):
        blobs.content(key)
    assert blobs.put("precious") == key
    assert blobs.read(key) == "precious"
    Path(blobs.path(key)).unlink()
    assert not blobs.exists(key)
    with pytest.raises(RecordError, match="cannot be read"):
        blobs.read(key)


# sealed


def test_a_sealed_blob_shows_neither_content_nor_hash(
    folder: Path, blobs: Blobs, sealer: Sealer
) -> None:
    secret = "root:$6$salt$hash:19000:0:99999:7:::\n" * 10
    key = blobs.put_sealed(secret, sealer)
    assert hashlib.sha256(secret.encode()).hexdigest() not in key
    (file,) = stored(folder)
    assert b"$6$salt" not in file.read_bytes()
    assert blobs.read(key, sealer) == secret
    assert blobs.content(key, sealer).data == secret


def test_equal_sealed_content_is_kept_once(
    folder: Path, blobs: Blobs, sealer: Sealer, tmp_path: Path
) -> None:
    (tmp_path / "shadow").write_bytes(b"secret\xff")
    first = blobs.put_sealed(b"secret\xff", sealer)
    assert blobs.put_sealed_file(str(tmp_path / "shadow"), sealer) == first
    assert len(stored(folder)) == 1
    assert blobs.put_sealed("other", sealer) != first


def test_a_sealed_blob_under_the_name_of_another_is_refused(blobs: Blobs, sealer: Sealer) -> None:
    one, two = blobs.put_sealed("one", sealer), blobs.put_sealed("two", sealer)
    Path(blobs.path(one)).write_bytes(Path(blobs.path(two)).read_bytes())
    with pytest.raises(RecordError, match="is damaged"):
        blobs.read(one, sealer)
    with pytest.raises(ValueError, match="no sealer"):
        blobs.read(two)


def test_decrypting_leaves_no_file_behind(folder: Path, blobs: Blobs, sealer: Sealer) -> None:
    key = blobs.put_sealed("secret", sealer)
    with blobs.open(key, sealer) as file:
        assert list((folder / "tmp").iterdir()) == []
        assert file.read() == b"secret"


# leftovers


def test_only_the_leftovers_of_dead_processes_are_cleaned(folder: Path, blobs: Blobs) -> None:
    mine = Path(blobs.scratch())
    program = (
        "import os, sys; from sloth_runner.state.blobs import Blobs;"
        "Blobs(sys.argv[1]).scratch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], timeout=60, check=False)
    reused = folder / "tmp" / f"{os.getpid()}-1-abcdef"  # Our number, but another start.
    reused.touch()
    assert len(list((folder / "tmp").iterdir())) == 3
    assert blobs.clean() == 2
    assert list((folder / "tmp").iterdir()) == [mine]


def test_cleaning_an_unused_folder_is_nothing(blobs: Blobs) -> None:
    assert blobs.clean() == 0


def test_only_what_the_record_does_not_name_is_collected(
    journal: Journal, stack: Stack, blobs: Blobs, sealer: Sealer
) -> None:
    named, unnamed = blobs.put_many(["named", "unnamed"])
    sealed, lost = blobs.put_sealed("named", sealer), blobs.put_sealed("unnamed", sealer)
    saved = {"/a": {"$blob": named}, "/b": {"$blob": sealed, "sealed": True}}
    journal.call(lambda s: s.put_resource(stack.id, a_row(origin={"saved": saved})))
    assert journal.call(blobs.collect) == 2
    there = [blobs.exists(key) for key in (named, sealed, unnamed, lost)]
    assert there == [True, True, False, False]
    assert journal.call(blobs.collect) == 0


def test_nothing_is_collected_while_others_may_write(journal: Journal, blobs: Blobs) -> None:
    key = blobs.put("about to be named")
    with pytest.raises(RuntimeError, match="wrote to the record"):
        journal.look(blobs.collect)
    assert blobs.exists(key)
