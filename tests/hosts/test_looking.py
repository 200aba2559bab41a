"""Looking at files, directories, accounts and the machine."""

import asyncio
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from hosts.asking import ask, let_everybody_in, names_in, python_as_nobody, refusal
from sloth_runner.core.host import Host, Request
from sloth_runner.core.values import raw, text

NAMES = [
    "plain",
    "two words",
    "a\nline",
    'it\'s "quoted"',
    "; touch gone",
    "$(touch gone)",
    "`touch gone`",
    "-rf",
    "--",
    "*",
    "ünïcode",
    text(b"bad\xff\xfeutf8"),
    "\\",
    "%s",
]


def path_of(folder: Path, name: str) -> str:
    return text(os.fsencode(folder) + b"/" + raw(name))


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_just_bytes(host: Host, tmp_path: Path, name: str) -> None:
    path = path_of(tmp_path, name)
    ask(host, "write", path=path, data="x", mode="0640")

    assert names_in(tmp_path) == [name]
    assert ask(host, "read", path=path) == "x"
    assert ask(host, "list", path=str(tmp_path)) == [name]
    assert ask(host, "stat", path=path)["size"] == 1
    assert [entry["path"] for entry in ask(host, "walk", path=str(tmp_path))] == [name]
    ask(host, "attributes", path=path, mode="0600")
    assert Path(path).stat().st_mode & 0o7777 == 0o600
    ask(host, "remove", path=path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("verb", ["stat", "read", "list", "walk", "write", "mkdir", "remove"])
def test_nul_and_relative_paths_are_refused(host: Host, tmp_path: Path, verb: str) -> None:
    assert refusal(host, verb, path=f"{tmp_path}/a\0b").errno_name == "EINVAL"
    assert refusal(host, verb, path="a/b").errno_name == "EINVAL"
    assert names_in(tmp_path) == []


def test_stat_says_what_lstat_says(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"hello")
    file.chmod(0o4711)
    (tmp_path / "link").symlink_to("f")
    seen = os.lstat(file)

    answer = ask(host, "stat", path=str(file), digest=True)

    assert answer["kind"] == "file"
    assert answer["mode"] == "4711"
    assert answer["size"] == 5
    assert answer["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert (answer["inode"], answer["device"], answer["links"]) == (seen.st_ino, seen.st_dev, 1)
    assert (answer["mtime_ns"], answer["ctime_ns"]) == (seen.st_mtime_ns, seen.st_ctime_ns)
    assert (answer["uid"], answer["gid"]) == (seen.st_uid, seen.st_gid)
    owner = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
    assert answer["owner"] == owner.stdout.strip()
    link = ask(host, "stat", path=str(tmp_path / "link"), digest=True)
    assert (link["kind"], link["target"], link["sha256"]) == ("link", "f", None)
    followed = ask(host, "stat", path=str(tmp_path / "link"), follow=True, digest=True)
    assert (followed["inode"], followed["sha256"]) == (answer["inode"], answer["sha256"])
    assert ask(host, "stat", path=str(tmp_path))["kind"] == "directory"
    assert ask(host, "stat", path="/dev/null", digest=True)["kind"] == "other"


def test_what_is_absent_is_none(host: Host, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "f").write_text("")
    absent = str(tmp_path / "no")

    for verb in ("stat", "read", "list", "walk"):
        assert ask(host, verb, path=absent) is None
        assert ask(host, verb, path=absent + "/below") is None
        assert ask(host, verb, path=f"{tmp_path}/f/below") is None
    assert ask(host, "stat", path=str(tmp_path / "dangling"), follow=True) is None
    assert ask(host, "stat", path=str(tmp_path / "loop"), follow=True) is None
    assert ask(host, "stat", path=str(tmp_path / "dangling"))["kind"] == "link"
    assert ask(host, "remove", path=absent) == {"removed": False}
    assert ask(host, "remove", path=absent + "/below") == {"removed": False}


def test_read_takes_only_files_of_the_size_that_is_wanted(host: Host, tmp_path: Path) -> None:
    data = bytes(range(256)) * 3
    (tmp_path / "f").write_bytes(data)
    (tmp_path / "link").symlink_to("f")
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")

    assert raw(ask(host, "read", path=str(tmp_path / "f"))) == data
    assert raw(ask(host, "read", path=str(tmp_path / "f"), limit=len(data))) == data
    assert ask(host, "read", path=str(tmp_path / "empty")) == ""
    assert "Linux" in ask(host, "read", path="/proc/version")
    assert refusal(host, "read", path=str(tmp_path / "f"), limit=767).errno_name == "EFBIG"
    assert refusal(host, "read", path=str(tmp_path)).errno_name == "EISDIR"
    assert refusal(host, "read", path=str(tmp_path / "pipe")).errno_name == "EINVAL"
    assert refusal(host, "read", path=str(tmp_path / "link")).errno_name == "ELOOP"
    assert raw(ask(host, "read", path=str(tmp_path / "link"), follow=True)) == data


def test_walk_describes_all_below_and_follows_no_link(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/f").write_text("x")
    (tmp_path / "a/up").symlink_to("..")

    walked = {entry["path"]: entry for entry in ask(host, "walk", path=str(tmp_path), digest=True)}

    assert list(walked) == ["a", "a/b", "a/b/f", "a/up"]
    assert walked["a/up"]["target"] == ".."
    assert walked["a/b/f"]["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert set(walked["a"]) - {"path"} == set(ask(host, "stat", path=str(tmp_path)))


def test_one_bad_request_does_not_lose_the_others(host: Host, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    answers = asyncio.run(
        host.perform(
            [
                Request("read", {"path": str(tmp_path)}),
                Request("read", {"path": str(tmp_path / "f")}),
            ]
        )
    )
    assert "is a directory" in answers[0].detail
    assert answers[1] == "x"


def test_a_cancelled_batch_is_over_when_it_says_so(host: Host, tmp_path: Path) -> None:
    slow = {"data": "x", "validate": "sh -c 'sleep 0.3' %s"}

    async def cancelled() -> None:
        requests = [Request("write", {"path": f"{tmp_path}/{n}", **slow}) for n in range(3)]
        task = asyncio.ensure_future(host.perform(requests))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert names_in(tmp_path) == ["0"]

    asyncio.run(cancelled())
    assert names_in(tmp_path) == ["0"]


@pytest.mark.root
def test_without_rights_the_error_names_the_path_and_the_account(tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    code = "[(status, e)] = perform([(sys.argv[1], {'path': sys.argv[2], **eval(sys.argv[3])})])\n"
    code += "print(status, e['errno_name'], e['detail'], e['hint'])"

    for verb, more in (("read", {}), ("stat", {"digest": True}), ("write", {"data": "y"})):
        said = python_as_nobody(code, verb, str(tmp_path / "secret"), repr(more))
        assert said.startswith("error EACCES")
        assert "Permission denied" in said
        assert str(tmp_path / "secret") in said
        assert "'nobody'" in said
    assert (tmp_path / "secret").read_text() == "x"


def test_accounts_are_what_the_files_say(host: Host) -> None:
    accounts = ask(host, "accounts")
    passwd = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    assert {name: user["uid"] for name, user in accounts["users"].items()} == {
        fields[0]: int(fields[2]) for fields in passwd
    }
    assert accounts["users"]["root"]["home"] == "/root"
    assert accounts["groups"]["root"] == {"gid": 0, "members": []}


@pytest.mark.root
def test_accounts_never_hold_a_password_field(host: Host) -> None:
    fields = [line.split(":")[1] for line in Path("/etc/shadow").read_text().splitlines()]
    secrets = {field.lstrip("!") for field in fields} - {"", "*", "x"}
    users = ask(host, "accounts")["users"]
    assert all("locked" in user for user in users.values())
    assert not any(secret in repr(users) for secret in secrets)
    known = {user["password"] for user in users.values()} - {None}
    assert known == {hashlib.sha256(raw(secret)).hexdigest() for secret in secrets}


def test_facts_agree_with_the_machine(host: Host) -> None:
    facts = ask(host, "facts")
    said = subprocess.run(["uname", "-mr"], capture_output=True, text=True, check=True).stdout
    assert f"{facts['kernel']} {facts['arch']}" == said.strip()
    assert facts["uid"] == os.geteuid()
    assert facts["memory_mb"] > 0
    assert facts["interfaces"]["lo"]["ipv4"] == ["127.0.0.1"]
    assert facts["os"]["id"] in Path("/etc/os-release").read_text()
