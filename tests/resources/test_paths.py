"""``file_ops.stat``, ``exists``, ``read`` and ``compute_checksum``."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from resources.bench import Bench
from sloth_runner.core.errors import HostError
from sloth_runner.core.host import ReadOnlyHost
from sloth_runner.core.resource import Query
from sloth_runner.resources.paths import Checksum, Exists, Read, Stat


def ask(local: Bench, query: Query) -> Any:
    return asyncio.run(query.ask(ReadOnlyHost(local.host)))


def test_stat_describes_a_file_and_a_link(here: Path, local: Bench) -> None:
    (here / "f").write_text("12345")
    (here / "f").chmod(0o640)
    (here / "l").symlink_to("f")
    seen = ask(local, Stat(path=str(here / "f")))
    assert (seen["kind"], seen["mode"], seen["size"], seen["owner"]) == (
        "file",
        "0640",
        5,
        (here / "f").owner(),
    )
    assert seen["mtime"] == pytest.approx((here / "f").stat().st_mtime)
    assert ask(local, Stat(path=str(here / "l")))["target"] == "f"
    assert ask(local, Stat(path=str(here / "l"), follow=True))["size"] == 5
    assert ask(local, Stat(path=str(here / "none"))) is None


def test_exists_follows_links(here: Path, local: Bench) -> None:
    (here / "dangling").symlink_to("none")
    assert ask(local, Exists(path=str(here))) is True
    assert ask(local, Exists(path=str(here / "dangling"))) is False
    assert ask(local, Exists(path=str(here / "none"))) is False


def test_read_gives_all_bytes_or_nothing(here: Path, local: Bench) -> None:
    (here / "f").write_bytes(b"a\xff\0")
    (here / "l").symlink_to("f")
    assert ask(local, Read(path=str(here / "l"))) == "a\udcff\0"
    assert ask(local, Read(path=str(here / "none"))) is None
    with pytest.raises(HostError):
        ask(local, Read(path=str(here)))


def test_a_checksum_is_that_of_the_bytes(here: Path, local: Bench) -> None:
    (here / "f").write_bytes(b"a\xff\0")
    digest = hashlib.sha256(b"a\xff\0").hexdigest()
    assert ask(local, Checksum(path=str(here / "f"))) == digest
    assert ask(local, Checksum(path=str(here / "none"))) is None


@pytest.mark.parametrize("query", [Stat, Exists, Read, Checksum])
def test_a_path_that_will_be_gone_is_seen_as_gone(query: type[Query]) -> None:
    assert not query(path="/x").predict(None, None)  # type: ignore[call-arg]


def test_what_will_be_there_is_told_as_far_as_it_is_known() -> None:
    desired = {"content": "sha256:" + "0" * 64}
    assert Exists(path="/x").predict(desired, "text") is True
    assert Read(path="/x").predict(desired, "text") == "text"
    assert Checksum(path="/x").predict(desired, None) == "0" * 64
    for query, known in ((Read, desired), (Stat, desired), (Checksum, {"kind": "directory"})):
        with pytest.raises(LookupError):
            query(path="/x").predict(known, None)
    with pytest.raises(LookupError):
        Exists(path="/x").predict({"target": "/maybe"}, None)
