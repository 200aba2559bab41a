"""Sealing: nothing can be read without the key, and a lost key is said to be lost."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sloth_runner.core.errors import RecordError
from sloth_runner.state.keys import Sealer


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer.load(str(tmp_path / "stacks.db.d"))


def key_file(tmp_path: Path) -> Path:
    return tmp_path / "stacks.db.d" / "key"


def test_the_key_is_made_when_it_is_first_needed(tmp_path: Path, sealer: Sealer) -> None:
    assert not key_file(tmp_path).exists()
    sealer.hmac("x")
    assert key_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in key_file(tmp_path).parent.iterdir()] == ["key"]


def test_equal_values_have_equal_hmacs_and_others_do_not(tmp_path: Path, sealer: Sealer) -> None:
    again = Sealer.load(str(tmp_path / "stacks.db.d"))
    assert re.fullmatch(r"hmac:[0-9a-f]{64}", sealer.hmac("secret"))
    assert sealer.hmac({"b": 1.0, "a": "x"}) == again.hmac({"a": "x", "b": 1})
    seen = {sealer.hmac(value) for value in ("1", 1, True, None, "", [], {}, "\udcff", ["1"])}
    assert len(seen) == 9


def test_another_key_gives_other_hmacs(tmp_path: Path, sealer: Sealer) -> None:
    other = Sealer.load(str(tmp_path / "other.d"))
    assert sealer.hmac("x") != other.hmac("x")
    assert sealer.key_id != other.key_id


@pytest.mark.parametrize("text", ["", "hunter2", "ünïcode", "\x00\udcff", "x" * 100_000])
def test_what_was_encrypted_comes_back(tmp_path: Path, sealer: Sealer, text: str) -> None:
    sealed = sealer.encrypt(text)
    assert sealed.isascii()
    assert len(text) < 5 or text not in sealed
    assert Sealer.load(str(tmp_path / "stacks.db.d")).decrypt(sealed) == text
    assert sealer.encrypt(text) != sealed


def test_a_changed_or_cut_value_is_refused(sealer: Sealer) -> None:
    sealed = sealer.encrypt("hunter2")
    flipped = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    for wrong in (flipped, sealed[:-8], sealed[: sealed.rindex(":") + 1], "hunter2", ""):
        with pytest.raises(RecordError, match="sealed value"):
            sealer.decrypt(wrong)


def test_a_lost_key_is_never_replaced_by_a_new_one_to_read_with(
    tmp_path: Path, sealer: Sealer
) -> None:
    sealed, known = sealer.encrypt("hunter2"), sealer.key_id
    key_file(tmp_path).unlink()
    with pytest.raises(RecordError, match="is missing") as caught:
        Sealer.load(str(tmp_path / "stacks.db.d")).decrypt(sealed)
    assert "backup" in caught.value.hint
    with pytest.raises(RecordError, match="is missing"):
        Sealer.load(str(tmp_path / "stacks.db.d"), expected=known).hmac("x")
    assert not key_file(tmp_path).exists()


def test_a_key_of_another_database_is_refused(tmp_path: Path, sealer: Sealer) -> None:
    sealed, known = sealer.encrypt("hunter2"), sealer.key_id
    other = Sealer.load(str(tmp_path / "other.d"))
    other.hmac("x")
    with pytest.raises(RecordError, match="was sealed with the key"):
        other.decrypt(sealed)
    with pytest.raises(RecordError, match="is not the key"):
        Sealer.load(str(tmp_path / "other.d"), expected=known).hmac("x")


def test_a_key_file_that_is_none_is_refused_and_kept(tmp_path: Path, sealer: Sealer) -> None:
    key_file(tmp_path).parent.mkdir()
    key_file(tmp_path).write_text("half a ke")
    key_file(tmp_path).chmod(0o600)
    with pytest.raises(RecordError, match="no key file"):
        sealer.encrypt("x")
    assert key_file(tmp_path).read_text() == "half a ke"


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from sloth_runner.state.keys import Sealer;"
        "sys.stdin.readline(); print(Sealer.load(sys.argv[1]).hmac('x'))"
    )
    folder = str(tmp_path / "stacks.db.d")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0] for process in started}
    assert len(answers) == 1
    assert answers == {Sealer.load(folder).hmac("x") + "\n"}


# files

SIZES = [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 2 * 1024 * 1024]


def sealed_file(sealer: Sealer, data: bytes) -> bytes:
    target = io.BytesIO()
    sealer.encrypt_file(io.BytesIO(data), target)
    return target.getvalue()


def opened_file(sealer: Sealer, sealed: bytes) -> bytes:
    target = io.BytesIO()
    sealer.decrypt_file(io.BytesIO(sealed), target)
    return target.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_comes_back(sealer: Sealer, size: int) -> None:
    data = os.urandom(size)
    assert opened_file(sealer, sealed_file(sealer, data)) == data


def test_a_file_can_neither_be_cut_nor_rearranged(sealer: Sealer) -> None:
    data = os.urandom(3 * 1024 * 1024)
    sealed = sealed_file(sealer, data)
    piece, head = 1024 * 1024 + 16, len(sealed) - 3 * (1024 * 1024 + 16)
    first, second, third = (sealed[head + n * piece : head + (n + 1) * piece] for n in range(3))
    start = sealed[:head]
    for wrong in (
        start + first + second,
        start + second + first + third,
        start + first + first + third,
        start + first + second + third + third,
        start,
        sealed[:-1],
        sealed[: head - 1] + bytes([sealed[head - 1] ^ 1]) + sealed[head:],
    ):
        with pytest.raises(RecordError):
            opened_file(sealer, wrong)
