"""The hashes of files are computed again exactly when they must be."""

import asyncio
import hashlib
import os
import time
from pathlib import Path

import pytest

from hosts.asking import ask
from sloth_runner.core.record import Digest
from sloth_runner.hosts.local import LocalHost


def digest_of(path: Path, **other: int | str) -> Digest:
    """A record of ``path`` as it is, hashed long after its last change."""
    seen = path.stat()
    known = Digest(
        size=seen.st_size,
        mtime_ns=seen.st_mtime_ns,
        ctime_ns=seen.st_ctime_ns,
        inode=seen.st_ino,
        sha256="f" * 64,
        hashed_at_ns=seen.st_ctime_ns + 3_000_000_000,
    )
    return known._replace(**other)


def seen_with(known: Digest, path: Path, *, rehash: bool = False) -> str:
    host = LocalHost(known={str(path): known}, rehash=rehash)
    try:
        return str(ask(host, "stat", path=str(path), digest=True)["sha256"])
    finally:
        host.close()


def test_a_known_digest_is_believed_while_nothing_moved(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    assert seen_with(digest_of(file), file) == "f" * 64


def test_rehash_believes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    assert seen_with(digest_of(file), file, rehash=True) == hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "inode"])
def test_a_digest_with_any_other_stat_is_not_believed(tmp_path: Path, field: str) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    other = digest_of(file, **{field: 7})
    assert seen_with(other, file) == hashlib.sha256(b"x").hexdigest()


def test_a_file_that_was_young_when_hashed_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    young = digest_of(file, hashed_at_ns=file.stat().st_ctime_ns + 1_999_999_999)
    assert seen_with(young, file) == hashlib.sha256(b"x").hexdigest()


def test_a_change_within_the_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "f"
    host = LocalHost()
    for count in range(50):
        content = f"{count:04}"
        with file.open("r+" if count else "w") as opened:
            opened.write(content)
        os.utime(file, ns=(1, 1))
        seen = ask(host, "stat", path=str(file), digest=True)
        assert seen["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    host.close()


def test_new_digests_can_be_used_by_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    first = LocalHost()
    before = time.time_ns()
    answer = asyncio.run(first.stat(str(file), digest=True))
    [(path, digest)] = first.new_digests().items()
    assert (path, digest.sha256) == (str(file), answer.sha256 if answer else "")
    assert before <= digest.hashed_at_ns <= time.time_ns()
    first.close()

    later = digest._replace(hashed_at_ns=digest.ctime_ns + 2_000_000_000)
    second = LocalHost(known={path: later})
    assert asyncio.run(second.stat(str(file), digest=True)) == answer
    assert second.new_digests() == {}
    second.close()


def test_stats_without_digest_compute_none(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    host = LocalHost()
    assert ask(host, "stat", path=str(tmp_path / "f"))["sha256"] is None
    assert host.new_digests() == {}
    host.close()
