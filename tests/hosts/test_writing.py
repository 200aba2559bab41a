"""Replacing a file: whole, durable, with its attributes, or not at all."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hosts.asking import MALLORY, NOBODY, ask, leftovers, names_in, python, refusal
from sloth_runner.core.errors import HostError, ValidationRejected
from sloth_runner.core.host import Host
from sloth_runner.core.values import text
from sloth_runner.hosts import primitives


def mode_of(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"no end", b"crlf\r\nmixed\n", bytes(range(256)), b"\0" * 5000, b"\xff\xfe"],
)
def test_content_arrives_byte_for_byte(host: Host, tmp_path: Path, data: bytes) -> None:
    answer = ask(host, "write", path=str(tmp_path / "f"), data=text(data))
    assert (tmp_path / "f").read_bytes() == data
    assert answer["sha256"] == hashlib.sha256(data).hexdigest()
    assert leftovers(tmp_path) == []


def test_a_new_file_is_0644_and_ours_whatever_the_umask(host: Host, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        answer = ask(host, "write", path=str(tmp_path / "f"), data="x")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "f") == 0o644
    assert (tmp_path / "f").stat().st_uid == os.geteuid()
    assert (answer["links"], answer["backup"], answer["in_place"]) == (0, None, False)


def test_unset_attributes_are_kept_and_set_ones_taken(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    file.chmod(0o604)
    inode = file.stat().st_ino
    ask(host, "write", path=str(file), data="new")
    assert (file.read_text(), mode_of(file)) == ("new", 0o604)
    assert file.stat().st_ino != inode
    ask(host, "write", path=str(file), data="new", mode="4755")
    assert mode_of(file) == 0o4755


@pytest.mark.root
def test_owners_are_taken_by_name_and_by_number(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    ask(host, "write", path=str(file), data="x", owner="nobody", group=str(MALLORY), mode="6755")
    seen = file.stat()
    assert (seen.st_uid, seen.st_gid, mode_of(file)) == (NOBODY, MALLORY, 0o6755)
    ask(host, "write", path=str(file), data="y")
    seen = file.stat()
    assert (seen.st_uid, seen.st_gid, mode_of(file)) == (NOBODY, MALLORY, 0o6755)


def test_an_unknown_owner_is_named_and_nothing_is_written(host: Host, tmp_path: Path) -> None:
    file = str(tmp_path / "f")
    assert (
        "'no-such-user'" in refusal(host, "write", path=file, data="x", owner="no-such-user").detail
    )
    assert (
        "'no-such-group'"
        in refusal(host, "attributes", path=str(tmp_path), group="no-such-group").detail
    )
    assert names_in(tmp_path) == []


def test_content_comes_from_a_file_too_and_must_have_its_hash(host: Host, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"\xff" * 3_000_001)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    target = tmp_path / "target"

    ask(host, "write", path=str(target), source=str(source), sha256=digest)
    assert target.read_bytes() == source.read_bytes()

    wrong = refusal(host, "write", path=str(target), data="other", sha256=digest)
    assert wrong.errno_name == "EBADMSG"
    assert wrong.effects == (f"{target} is as it was",)
    assert target.read_bytes() == source.read_bytes()
    assert leftovers(tmp_path) == []


def test_a_huge_file_never_enters_memory(tmp_path: Path) -> None:
    size = 200 << 20
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(size)
    code = "import resource\nfrom primitives import export, perform\n"
    code += "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    code += "resource.setrlimit(resource.RLIMIT_AS, (now + (24 << 20),) * 2)\n"
    code += "size = 0\ndef take(data):\n    global size\n    size += len(data)\n"
    code += "source, path = sys.argv[1:]\n"
    code += "print(perform([('write', {'path': path, 'source': source}),"
    code += " ('stat', {'path': path, 'digest': True})])[1][1]['size'])\n"
    code += "export(source, take)\nprint(size)"
    said = python(code, str(tmp_path / "huge"), str(tmp_path / "copy"))
    assert said.split() == [str(size)] * 2


def test_a_directory_a_pipe_and_a_missing_parent_are_refused(host: Host, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert refusal(host, "write", path=str(tmp_path / "d"), data="x").errno_name == "EISDIR"
    assert refusal(host, "write", path=str(tmp_path / "pipe"), data="x").errno_name == "EINVAL"
    missing = refusal(host, "write", path=str(tmp_path / "no/f"), data="x")
    assert missing.errno_name == "ENOENT"
    assert str(tmp_path / "no") in missing.detail
    assert refusal(host, "write", path="/", data="x").errno_name == "EISDIR"
    assert names_in(tmp_path) == ["d", "pipe"]


def test_a_backup_keeps_the_old_file_with_its_mode(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("first")
    file.chmod(0o640)
    one = ask(host, "write", path=str(file), data="second", backup=True)["backup"]
    two = ask(host, "write", path=str(file), data="third", backup=True)["backup"]
    assert one != two
    assert Path(one).read_text() == "first"
    assert Path(two).read_text() == "second"
    assert mode_of(Path(one)) == 0o640
    assert Path(one).name.startswith("f.2")
    assert one.endswith(".bak")
    assert file.read_text() == "third"
    assert ask(host, "write", path=str(tmp_path / "new"), data="", backup=True)["backup"] is None


def test_a_rejected_file_never_takes_its_place(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    with pytest.raises(ValidationRejected) as caught:
        ask(host, "write", path=str(file), data="bad", validate="grep -q good %s", backup=True)
    assert caught.value.facts["exit code"] == 1
    assert caught.value.facts["command"][:3] == ["grep", "-q", "good"]
    assert caught.value.effects == (f"{file} is as it was",)
    assert file.read_text() == "old"
    assert names_in(tmp_path) == ["f"]
    ask(host, "write", path=str(file), data="good", validate="grep -q good %s")
    assert file.read_text() == "good"


def test_the_validation_command_is_words_and_no_shell(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "a b; touch gone"
    folder.mkdir()
    file = folder / "$(touch gone)"
    ask(host, "write", path=str(file), data="x", validate="test -f %s")
    with pytest.raises(ValidationRejected):
        ask(host, "write", path=str(file), data="y", validate="test -d %s ; true")
    assert names_in(tmp_path) == [folder.name]
    assert names_in(folder) == [file.name]
    assert (
        "does not name" in refusal(host, "write", path=str(file), data="y", validate="true").detail
    )
    missing = refusal(host, "write", path=str(file), data="y", validate="no-such-program %s")
    assert missing.errno_name == "ENOENT"
    assert "no-such-program" in missing.detail
    assert file.read_text() == "x"
    assert leftovers(folder) == []


def test_hard_links_are_counted_and_the_other_name_is_left_alone(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("old")
    os.link(tmp_path / "f", tmp_path / "other")
    assert ask(host, "write", path=str(tmp_path / "f"), data="new")["links"] == 2
    assert (tmp_path / "other").read_text() == "old"


def test_extended_attributes_stay_with_the_file(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    os.setxattr(file, "user.note", b"kept")
    answer = ask(host, "write", path=str(file), data="new", backup=True)
    assert os.getxattr(file, "user.note") == b"kept"
    assert os.getxattr(answer["backup"], "user.note") == b"kept"


@pytest.mark.root
def test_capabilities_of_the_old_content_are_not_given_to_the_new(
    host: Host, tmp_path: Path
) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    os.setxattr(file, "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
    ask(host, "write", path=str(file), data="new")
    assert "security.capability" not in os.listxattr(file)


def test_a_long_name_can_be_written_and_backed_up(host: Host, tmp_path: Path) -> None:
    file = tmp_path / ("é" * 127)
    ask(host, "write", path=str(file), data="one")
    answer = ask(host, "write", path=str(file), data="two", backup=True)
    assert Path(os.fsencode(answer["backup"]).decode("utf-8", "surrogateescape")).exists()
    assert file.read_text() == "two"


def test_in_place_keeps_the_inode(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("a longer old content")
    file.chmod(0o604)
    inode = file.stat().st_ino
    answer = ask(
        host, "write", path=str(file), data="new", in_place=True, backup=True, validate="test -f %s"
    )
    assert answer["in_place"] is True
    assert (file.read_text(), file.stat().st_ino, mode_of(file)) == ("new", inode, 0o604)
    assert Path(answer["backup"]).read_text() == "a longer old content"
    with pytest.raises(ValidationRejected):
        ask(host, "write", path=str(file), data="bad", in_place=True, validate="false %s")
    assert file.read_text() == "new"
    assert leftovers(tmp_path) == []
    assert (
        ask(host, "write", path=str(tmp_path / "g"), data="x", in_place=True)["in_place"] is False
    )


@pytest.mark.root
@pytest.mark.needs("mount")
def test_a_bind_mount_is_refused_until_in_place_is_asked_for(host: Host, tmp_path: Path) -> None:
    file, other = tmp_path / "f", tmp_path / "other"
    file.write_text("under")
    other.write_text("old")
    mounted = subprocess.run(["mount", "--bind", other, file], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        refused = refusal(host, "write", path=str(file), data="new", backup=True)
        assert refused.errno_name == "EBUSY"
        assert "in_place" in refused.hint
        assert refused.effects == (f"{file} is as it was",)
        assert file.read_text() == "old"
        assert names_in(tmp_path) == ["f", "other"]
        ask(host, "write", path=str(file), data="new", in_place=True)
        assert other.read_text() == "new"
        inside = refusal(host, "remove", path=str(tmp_path), tree=True)
        assert (inside.errno_name, str(file) in inside.detail) == ("EBUSY", True)
        assert other.read_text() == "new"
    finally:
        subprocess.run(["umount", file], check=True)
    assert file.read_text() == "under"


@pytest.mark.root
@pytest.mark.needs("chattr")
def test_an_immutable_file_is_a_clear_error(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    if subprocess.run(["chattr", "+i", file], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        refused = refusal(host, "write", path=str(file), data="new")
    finally:
        subprocess.run(["chattr", "-i", file], check=True)
    assert (refused.errno_name, "lsattr" in refused.hint) == ("EPERM", True)
    assert names_in(tmp_path) == ["f"]


KILLED = """
import os, signal, threading
from primitives import perform
path, delay = sys.argv[1], float(sys.argv[2])
threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
while True:
    for letter in "ab":
        perform([("write", {"path": path, "data": letter * 400000})])
"""


def test_kill_9_in_the_midst_of_writing_never_tears_the_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    setup = f"import sys; sys.path.append({str(Path(primitives.__file__).parent)!r})\n"
    seen = set()
    for round_number in range(8):
        delay = f"{0.004 + 0.0017 * round_number}"
        done = subprocess.run(
            [sys.executable, "-c", setup + KILLED, str(file), delay], check=False, timeout=30
        )
        assert done.returncode == -9
        content = file.read_text()
        assert content in ("old", "a" * 400000, "b" * 400000)
        seen.add(content[0])
    assert seen & {"a", "b"}


def test_only_what_was_read_is_replaced(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("theirs")
    read = hashlib.sha256(b"mine").hexdigest()
    for was in (read, ""):
        with pytest.raises(HostError, match="is not what was read there"):
            ask(host, "write", path=str(file), data="mine, edited", was=was)
    with pytest.raises(HostError, match="is not what was read there"):
        ask(host, "write", path=str(tmp_path / "gone"), data="mine, edited", was=read)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert file.read_text() == "theirs"
    theirs = hashlib.sha256(b"theirs").hexdigest()
    ask(host, "write", path=str(file), data="theirs, edited", was=theirs)
    ask(host, "write", path=str(tmp_path / "new"), data="new", was="")
    assert file.read_text() == "theirs, edited"
