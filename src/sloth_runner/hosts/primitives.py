"""The primitives: everything that is done to a machine, by whatever way, is done by this file.

It is imported for the local machine and sent as source to remote ones, so it is one file,
uses the standard library only, keeps to the syntax of Python 3.7 and imports nothing of
this package. ``perform`` answers a batch of requests; ``run`` runs a command; ``export``
reads out a file or a tree. Text is ``str`` with surrogate escapes; inside, paths are bytes.

**Where it writes.** A path is walked one directory at a time (openat(2), ``O_NOFOLLOW``), so
what is written lands in the directory that was looked at. Refused are directories that
everybody may write without the sticky bit, things of others in sticky ones such as /tmp, and
links that another account could have laid, unless they lead to a directory of that account.
"""

# Paths are bytes here and most calls name an opened directory: os does that, pathlib does not.
# ruff: noqa: PTH101, PTH109, PTH110, PTH112, PTH113, PTH115, PTH116, PTH118, PTH119, PTH120
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import hashlib
import os
import pwd
import select
import shlex
import signal
import socket
import stat as modes
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # names for annotations only, which Python 3.7 does not evaluate here
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Answer = tuple[str, Any]
    OnStarted = Callable[[int, int], Any]
    OnOutput = Callable[[str, str], Any]

CHUNK = 1 << 20
"""Bytes that are read, hashed and written at a time."""
DEEPEST = 256
"""Directories below a tree's top that are entered; each holds a descriptor open."""
CAPTURE_LIMIT = 64 << 20
"""Bytes of each output of a command that are kept."""
LINGER = 0.25
"""Seconds that outputs are still read after a command ended while others hold them open."""
TERM_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL for a process group that is ended."""
VALIDATE_TIMEOUT = 60.0
"""Seconds that a validation command may take."""
RACY_NS = 2_000_000_000
"""A digest is believed when the file's ctime was at least this much older than the hashing."""
NO_ACCOUNT = 0xFFFFFFFE
"""A number of no account: the last one but for what chown(2) takes for none."""
REHEARSED = frozenset(
    {"write", "download", "mkdir", "symlink", "remove", "attributes", "attributes_tree"}
)
"""The writing verbs that say what they would refuse of a place (``rehearse_verb``)."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KINDS = {modes.S_IFREG: "file", modes.S_IFDIR: "directory", modes.S_IFLNK: "link"}
_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class Refused(Exception):
    """What a primitive does not do, or could not; it becomes an error for the caller.

    ``kind`` is "host", or "rejected" for what a validation command turned down.
    """

    def __init__(
        self,
        errno_name: str,
        detail: str,
        hint: str = "",
        kind: str = "host",
        facts: Mapping[str, Any] | None = None,
        effects: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.errno_name = errno_name
        self.detail = detail
        self.hint = hint
        self.kind = kind
        self.facts = dict(facts or {})
        self.effects = list(effects)

    def as_dict(self) -> dict[str, Any]:
        """Returns the error as plain values, to cross a channel."""
        return {
            "kind": self.kind,
            "errno_name": self.errno_name,
            "detail": self.detail,
            "hint": self.hint,
            "facts": self.facts,
            "effects": self.effects,
        }


def perform(
    requests: Iterable[tuple[str, Mapping[str, Any]]],
    stopped: Callable[[], bool] | None = None,
) -> list[Answer]:
    """Answers (verb, arguments) pairs in order: ("ok", value) or ("error", dictionary).

    One failing request does not lose the others. Once ``stopped`` says so, none is begun.
    """
    names = Names()
    answers: list[Answer] = []
    for verb, arguments in requests:
        if stopped is not None and stopped():
            refused = Refused("ECANCELED", f"{verb} was not begun: stopped")
            answers.append(("error", refused.as_dict()))
            continue
        try:
            answers.append(("ok", _VERBS[verb](names, **arguments)))
        except (Refused, OSError, ValueError, OverflowError) as error:
            answers.append(("error", _refusal(verb, arguments.get("path"), error).as_dict()))
    return answers


def _refusal(verb: str, path: Any, error: Exception) -> Refused:
    """Returns ``error`` as a Refused, naming the verb, the path and the system's words."""
    if isinstance(error, Refused):
        return error
    about = f"{verb} {_shown(path)}" if isinstance(path, str) else verb
    if not isinstance(error, OSError):
        return Refused("EINVAL", f"{about}: {error}")
    code = errno.errorcode.get(error.errno or 0, "EIO")
    hint = ""
    if code in ("EACCES", "EPERM") and os.geteuid() != 0:
        hint = f"this needs more rights than {Names().user(os.geteuid())!r} has: run as root"
    elif code in ("EACCES", "EPERM"):
        hint = "root was refused: see lsattr (immutable files), mount options and containers"
    return Refused(code, f"{about}: {error.strerror or error}", hint)


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _shown(path: str | bytes) -> str:
    """Returns a path as an error shows it: as it is, or quoted where it has odd characters."""
    name = _text(path) if isinstance(path, bytes) else path
    return name if name.isprintable() else repr(name)


def _path(path: str) -> bytes:
    """Returns an absolute path as bytes; refuses relative ones, ``..`` and NUL."""
    data = _raw(path)
    if not data.startswith(b"/") or b"\0" in data or b".." in data.split(b"/"):
        raise Refused("EINVAL", f"{path!r} is not an absolute path without '..' and NUL")
    return data


class Names:
    """Accounts by number and number by account, each looked up once."""

    def __init__(self) -> None:
        self.users: dict[int, str] = {}
        self.groups: dict[int, str] = {}
        self._uids: dict[str, int] = {}
        self._gids: dict[str, int] = {}

    def user(self, uid: int) -> str:
        """Returns the name of a user, or the digits where it has none."""
        if uid not in self.users:
            try:
                self.users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                self.users[uid] = str(uid)
        return self.users[uid]

    def group(self, gid: int) -> str:
        """Returns the name of a group, or the digits where it has none."""
        if gid not in self.groups:
            try:
                self.groups[gid] = grp.getgrgid(gid).gr_name
            except KeyError:
                self.groups[gid] = str(gid)
        return self.groups[gid]

    def uid(self, name: str | None) -> int | None:
        """Returns the number of a user given by name or digits; None for None."""
        if name is None or name.isdigit():
            return None if name is None else int(name)
        if name not in self._uids:
            try:
                self._uids[name] = pwd.getpwnam(name).pw_uid
            except KeyError:
                raise Refused(
                    "EINVAL", f"there is no user {name!r} here", "create it first"
                ) from None
        return self._uids[name]

    def gid(self, name: str | None) -> int | None:
        """Returns the number of a group given by name or digits; None for None."""
        if name is None or name.isdigit():
            return None if name is None else int(name)
        if name not in self._gids:
            try:
                self._gids[name] = grp.getgrnam(name).gr_gid
            except KeyError:
                raise Refused(
                    "EINVAL", f"there is no group {name!r} here", "create it first"
                ) from None
        return self._gids[name]


# Looking ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _octal(mode: int) -> str:
    return f"{mode:04o}"


def _described(names: Names, seen: os.stat_result) -> dict[str, Any]:
    mode, uid, gid = seen.st_mode, seen.st_uid, seen.st_gid
    return {
        "kind": _KINDS.get(mode & 0o170000, "other"),
        "mode": _octal(mode & 0o7777),
        "owner": names.users.get(uid) or names.user(uid),
        "group": names.groups.get(gid) or names.group(gid),
        "uid": uid,
        "gid": gid,
        "size": seen.st_size,
        "mtime_ns": seen.st_mtime_ns,
        "ctime_ns": seen.st_ctime_ns,
        "inode": seen.st_ino,
        "device": seen.st_dev,
        "links": seen.st_nlink,
        "target": None,
        "sha256": None,
    }


def stat_path(
    names: Names,
    path: str,
    follow: bool = False,
    digest: bool = False,
    known: Sequence[Any] | None = None,
) -> dict[str, Any] | None:
    """Returns what lstat(2) (stat(2) when following) says, or None when absent.

    ``known`` is a digest from earlier: (size, mtime_ns, ctime_ns, inode, sha256,
    hashed_at_ns). Where it cannot be believed the file is hashed, and the answer also
    holds ``hashed_at_ns``.
    """
    raw = path.encode("utf-8", "surrogateescape")
    if path[:1] != "/":
        raise Refused("EINVAL", f"{path!r} is not an absolute path")
    try:
        seen = os.stat(raw) if follow else os.lstat(raw)
    except OSError as error:
        if error.errno in _ABSENT or (follow and error.errno == errno.ELOOP):
            return None
        raise
    answer = _described(names, seen)
    if answer["kind"] == "link":
        answer["target"] = _text(os.readlink(raw))
    elif digest and answer["kind"] == "file":
        if known is not None and _believed(known, seen):
            answer["sha256"] = known[4]
        else:
            return _hashed(names, raw, follow)
    return answer


def _believed(known: Sequence[Any], seen: os.stat_result) -> bool:
    size, mtime_ns, ctime_ns, inode, _, hashed_at_ns = known
    # A file can change twice within one tick of its clock, so a young ctime proves nothing.
    return bool(
        seen.st_ctime_ns == ctime_ns
        and seen.st_mtime_ns == mtime_ns
        and seen.st_size == size
        and seen.st_ino == inode
        and hashed_at_ns - ctime_ns >= RACY_NS
    )


def _hashed(names: Names, path: bytes, follow: bool) -> dict[str, Any]:
    """Returns the description of a file with its digest, both of the same moment."""
    flags = _READ_FLAGS & ~os.O_NOFOLLOW if follow else _READ_FLAGS
    fd = os.open(path, flags)
    try:
        before = os.fstat(fd)
        if not modes.S_ISREG(before.st_mode):
            raise Refused("EINVAL", f"{_shown(path)} is not a file any more")
        for left in (2, 1, 0):
            hashed_at = time.time_ns()
            digest = _digest(fd, before.st_size)
            seen = os.fstat(fd)
            if not left or (seen.st_ctime_ns, seen.st_size) == (
                before.st_ctime_ns,
                before.st_size,
            ):
                answer = _described(names, seen)
                answer.update(sha256=digest, hashed_at_ns=hashed_at)
                return answer
            before = seen
            os.lseek(fd, 0, os.SEEK_SET)
        raise AssertionError("the last attempt returns")
    finally:
        os.close(fd)


def _digest(fd: int, size: int) -> str:
    """Returns the SHA-256 of what ``fd`` gives from where it stands; ``size`` is what to expect."""
    first = os.read(fd, min(size + 1, CHUNK))
    total = hashlib.sha256(first)
    # A short read of a regular file is its end; but /proc gives sizes of 0, so it goes on.
    if len(first) != size or not first:
        for chunk in _chunks_of(fd):
            total.update(chunk)
    return total.hexdigest()


def _chunks_of(fd: int) -> Iterator[bytes]:
    while True:
        chunk = os.read(fd, CHUNK)
        if not chunk:
            return
        yield chunk


def read_file(
    names: Names, path: str, follow: bool = False, limit: int | None = None
) -> str | None:
    """Returns the content of a file, or None when absent; refuses more than ``limit`` bytes."""
    flags = _READ_FLAGS & ~os.O_NOFOLLOW if follow else _READ_FLAGS
    try:
        fd = os.open(_path(path), flags)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        if error.errno == errno.ELOOP and not follow:
            raise Refused("ELOOP", f"{_shown(path)} is a symbolic link") from None
        if error.errno == errno.ENXIO:
            raise Refused("EINVAL", f"{_shown(path)} is not a file") from None
        raise
    try:
        seen = os.fstat(fd)
        if modes.S_ISDIR(seen.st_mode):
            raise Refused("EISDIR", f"{_shown(path)} is a directory")
        if not modes.S_ISREG(seen.st_mode):
            raise Refused("EINVAL", f"{_shown(path)} is not a file")
        chunks, size = [], 0
        for chunk in _chunks_of(fd):
            chunks.append(chunk)
            size += len(chunk)
            if limit is not None and size > limit:
                raise Refused("EFBIG", f"{_shown(path)} is larger than {limit} bytes")
        return _text(b"".join(chunks))
    finally:
        os.close(fd)


def list_directory(names: Names, path: str) -> list[str] | None:
    """Returns the sorted names in a directory, or None when it is absent."""
    raw = _path(path)
    try:
        return sorted(_text(name) for name in os.listdir(raw))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        if os.path.lexists(raw):
            raise
        return None


def walk_tree(names: Names, path: str, digest: bool = False) -> list[dict[str, Any]] | None:
    """Returns what lies below a directory, as {"path": relative, ...stat}, sorted by path.

    Links are described and never followed. None when the directory is absent.
    """
    try:
        top = os.open(_path(path), _DIRECTORY_FLAGS)
    except OSError as error:
        if error.errno == errno.ENOENT or not os.path.lexists(_path(path)):
            return None
        raise
    found = []
    try:
        for place in _below(top, _path(path)):
            answer = _described(names, place.seen)
            if answer["kind"] == "link":
                answer["target"] = _text(os.readlink(place.name, dir_fd=place.fd))
            elif digest and answer["kind"] == "file":
                answer = _hashed(names, b"/proc/self/fd/%d/%s" % (place.fd, place.name), False)
                answer.pop("hashed_at_ns")
            answer["path"] = _text(place.relative)
            found.append(answer)
    finally:
        os.close(top)
    return sorted(found, key=lambda entry: str(entry["path"]))


class Entry:
    """Something below a tree's top: its name in the opened directory ``fd``, and its lstat."""

    __slots__ = ("fd", "name", "relative", "seen")

    def __init__(self, fd: int, name: bytes, relative: bytes, seen: os.stat_result) -> None:
        self.fd = fd
        self.name = name
        self.relative = relative
        self.seen = seen

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, and not a link to one."""
        return modes.S_ISDIR(self.seen.st_mode)


def _below(
    fd: int, shown: bytes, under: bytes = b"", depth: int = 0, bottom_up: bool = False
) -> Iterator[Entry]:
    """Yields everything below the opened directory ``fd``, sorted, each while it is open."""
    if depth > DEEPEST:
        raise Refused("ELOOP", f"{_shown(shown)} has directories nested deeper than {DEEPEST}")
    with os.scandir(fd) as listing:
        found = sorted(os.fsencode(entry.name) for entry in listing)
    for name in found:
        try:
            seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        entry = Entry(fd, name, under + name, seen)
        if not bottom_up:
            yield entry
        if entry.is_directory:
            try:
                below = os.open(name, _DIRECTORY_FLAGS, dir_fd=fd)
            except FileNotFoundError:
                continue
            try:
                yield from _below(below, shown, under + name + b"/", depth + 1, bottom_up)
            finally:
                os.close(below)
        if bottom_up:
            yield entry


def _opened_below(fd: int, shown: bytes) -> Iterator[tuple[Entry, int]]:
    """Yields everything below the opened directory ``fd``, deepest first, as ``O_PATH`` too.

    What is removed by others meanwhile is left out.
    """
    for entry in _below(fd, shown, bottom_up=True):
        try:
            found = os.open(entry.name, _PATH_FLAGS, dir_fd=entry.fd)
        except FileNotFoundError:
            continue
        try:
            yield entry, found
        finally:
            os.close(found)


def _lines(path: str, needed: bool = False) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split("\n")
    except OSError:
        if needed:
            raise
        return []


def accounts(names: Names) -> dict[str, Any]:
    """Returns the users and groups of /etc/passwd, /etc/group and, where readable, shadow.

    From shadow come ``locked``, ``password_set``, ``expires`` (days since 1970 or None) and
    ``password``: the SHA-256 of the hash field without its lock mark, never the field.
    """
    users: dict[str, dict[str, Any]] = {}
    for line in _lines("/etc/passwd", needed=True):
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():
            name, _, uid, gid, comment, home, shell = fields
            users.setdefault(
                name,
                {
                    "uid": int(uid),
                    "gid": int(gid),
                    "comment": comment,
                    "home": home,
                    "shell": shell,
                },
            )
    for line in _lines("/etc/shadow"):
        fields = line.split(":")
        if len(fields) >= 8 and fields[0] in users:
            users[fields[0]].update(_shadow(fields))
    groups: dict[str, dict[str, Any]] = {}
    for line in _lines("/etc/group", needed=True):
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdigit():
            members = sorted(member for member in fields[3].split(",") if member)
            groups.setdefault(fields[0], {"gid": int(fields[2]), "members": members})
    return {"users": users, "groups": groups}


def _shadow(fields: Sequence[str]) -> dict[str, Any]:
    secret = fields[1].lstrip("!")
    usable = secret not in ("", "*", "x")
    return {
        "locked": fields[1].startswith("!"),
        "password_set": usable,
        "password": hashlib.sha256(_raw(secret)).hexdigest() if usable else None,
        "expires": int(fields[7]) if fields[7].isdigit() else None,
    }


def facts(names: Names) -> dict[str, Any]:
    """Returns what this machine is; asks no other machine, so it never waits for a name server."""
    kernel = os.uname()
    memory = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")]
    return {
        "hostname": kernel.nodename.split(".")[0],
        "fqdn": _fqdn(kernel.nodename),
        "kernel": kernel.release,
        "arch": kernel.machine,
        "os": _os_release(),
        "cpus": os.cpu_count() or 1,
        "memory_mb": int(memory[0]) // 1024 if memory else 0,
        "init": (_lines("/proc/1/comm") or ["unknown"])[0],
        "virtual": _virtual(),
        "interfaces": _interfaces(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "user": names.user(os.geteuid()),
        "uid": os.geteuid(),
    }


def _fqdn(node: str) -> str:
    if "." in node:
        return node
    for line in _lines("/etc/hosts"):
        known = line.partition("#")[0].split()[1:]
        if node in known:
            return next((name for name in known if name.startswith(node + ".")), node)
    return node


def _os_release() -> dict[str, str]:
    read: dict[str, str] = {}
    for line in _lines("/etc/os-release") or _lines("/usr/lib/os-release"):
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#"):
            read[key] = "".join(shlex.split(value))
    family = [read.get("ID", ""), *read.get("ID_LIKE", "").split()]
    known = ("debian", "rhel", "fedora", "suse", "arch", "alpine")
    return {
        "id": read.get("ID", "linux"),
        "version": read.get("VERSION_ID", ""),
        "codename": read.get("VERSION_CODENAME", ""),
        "pretty": read.get("PRETTY_NAME", ""),
        "family": next((name for name in family if name in known), read.get("ID", "linux")),
    }


def _virtual() -> str | None:
    container = _lines("/run/systemd/container")
    if container or os.path.exists("/.dockerenv"):
        return container[0] if container else "docker"
    if any(line.startswith("flags") and " hypervisor" in line for line in _lines("/proc/cpuinfo")):
        product = _lines("/sys/class/dmi/id/sys_vendor")
        return product[0].strip() if product else "vm"
    return None


def _interfaces() -> dict[str, dict[str, Any]]:
    import fcntl  # only where facts are asked for: they must not slow down every start
    import struct

    found: dict[str, dict[str, Any]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        for _, name in socket.if_nameindex():
            mac = _lines(f"/sys/class/net/{name}/address")
            ipv4 = []
            with contextlib.suppress(OSError):  # EADDRNOTAVAIL: it has none; SIOCGIFADDR
                request = struct.pack("256s", _raw(name)[:15])
                ipv4.append(socket.inet_ntoa(fcntl.ioctl(probe, 0x8915, request)[20:24]))
            found[name] = {"mac": mac[0] if mac else "", "ipv4": ipv4, "ipv6": []}
    for line in _lines("/proc/net/if_inet6"):
        digits, name = (line.split() or [""])[0], line.rpartition(" ")[2]
        if name in found:
            address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
            found[name]["ipv6"].append(address)
    return found


# Where to write ---------------------------------------------------------------------------


class Place:
    """A name in an opened directory, reached safely: where something is about to be done.

    ``path`` is the real path, all links on the way resolved.
    """

    __slots__ = ("directory", "fd", "name", "path")

    def __init__(self, fd: int, directory: bytes, name: bytes) -> None:
        self.fd = fd
        self.directory = directory
        self.name = name
        self.path = os.path.join(directory, name)

    def look(self) -> os.stat_result | None:
        """Returns the lstat of the name, or None when nothing is there."""
        try:
            return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self) -> int:
        """Returns an ``O_PATH`` descriptor of what is there, never of what a link leads to."""
        return os.open(self.name, _PATH_FLAGS, dir_fd=self.fd)

    def sync(self) -> None:
        """Makes what happened to the directory's names durable."""
        _sync_directory(self.fd)


class _Walk:
    """The walk to a place: the opened directory so far, and who may have led us astray."""

    def __init__(self, claimed: int | None, strict: bool) -> None:
        self.fd = os.open(b"/", _PATH_FLAGS | os.O_DIRECTORY)
        self.at = b"/"
        self.trusted = {0, os.geteuid()}
        self._claimed = self.trusted | ({claimed} if claimed is not None else set())
        self._strict = strict
        self._suspects: dict[int, bytes] = {}

    def close(self) -> None:
        """Closes the directory."""
        os.close(self.fd)

    def enter(self, name: bytes, child: int, here: os.stat_result, seen: os.stat_result) -> None:
        """Goes into the opened directory ``child``."""
        if not modes.S_ISDIR(seen.st_mode):
            where = _shown(os.path.join(self.at, name))
            raise Refused("ENOTDIR", f"{where} is not a directory")
        self._check_sticky(name, here, seen)
        os.close(self.fd)
        self.fd = child
        self.at = os.path.dirname(self.at) if name == b".." else os.path.join(self.at, name)

    def restart(self) -> None:
        """Goes back to the root, for a link with an absolute target."""
        os.close(self.fd)
        self.fd = os.open(b"/", _PATH_FLAGS | os.O_DIRECTORY)
        self.at = b"/"

    def check_directory(self, here: os.stat_result, name: bytes) -> None:
        """Refuses a directory in which anybody may put something else under ``name``."""
        if self._strict and here.st_mode & modes.S_IWOTH and not here.st_mode & modes.S_ISVTX:
            raise Refused(
                "EPERM",
                f"everybody may write to {_shown(self.at)}, so anybody could replace "
                f"{_shown(name)} in it at any moment",
                f"chmod o-w {_shown(self.at)}, or set its sticky bit (chmod +t)",
            )

    def _check_sticky(self, name: bytes, here: os.stat_result, seen: os.stat_result) -> None:
        if self._strict and here.st_mode & modes.S_IWOTH and seen.st_uid not in self._claimed:
            where, owner = _shown(os.path.join(self.at, name)), Names().user(seen.st_uid)
            raise Refused(
                "EPERM",
                f"{where} belongs to {owner}, and everybody may create such a name in "
                f"{_shown(self.at)}: it may be a trap",
                f"use another place, or write for that account: owner = {owner!r}",
            )

    def check_link(self, name: bytes, here: os.stat_result, link: os.stat_result) -> None:
        """Notes who may have laid a link; refuses one that anybody may have."""
        where = _shown(os.path.join(self.at, name))
        if here.st_mode & modes.S_ISVTX:
            self._check_sticky(name, here, link)
        elif _is_shared(here):
            raise Refused(
                "ELOOP",
                f"{where} is a symbolic link that others may replace: "
                f"{_shown(self.at)} can be written by its group or by everybody",
                "name the real path instead",
            )
        for uid in {link.st_uid, here.st_uid} - self.trusted:
            self._suspects.setdefault(uid, where.encode("utf-8", "surrogateescape"))

    def arrive(self, here: os.stat_result) -> None:
        """Refuses to have been led by somebody to a directory that is not theirs."""
        for uid, link in self._suspects.items():
            if here.st_uid != uid:
                raise Refused(
                    "ELOOP",
                    f"the symbolic link {_shown(link)} was laid by {Names().user(uid)} and "
                    f"leads to {_shown(self.at)}, which belongs to {Names().user(here.st_uid)}",
                    "name the real path instead",
                )


def _is_shared(here: os.stat_result) -> bool:
    """Whether others than its owner and root may write to a directory."""
    return bool(here.st_mode & modes.S_IWOTH) or not _group_is_trusted(here)


def _may_be_planted(here: os.stat_result, seen: os.stat_result) -> bool:
    """Whether a file may have been put in the directory ``here`` by an account that it is not of.

    Hard links need no rights to a file where fs.protected_hardlinks is off, so a second
    name of it may stand in the directory of anybody.
    """
    if not modes.S_ISREG(seen.st_mode) or seen.st_nlink < 2:
        return False
    return _is_shared(here) or here.st_uid not in (0, os.geteuid(), seen.st_uid)


def _group_is_trusted(here: os.stat_result) -> bool:
    """Whether the group's right to write adds nobody to a directory's owner and root."""
    if not here.st_mode & modes.S_IWGRP or here.st_gid == 0:
        return True
    try:
        owner = pwd.getpwuid(here.st_uid)
        members = set(grp.getgrgid(here.st_gid).gr_mem)
    except KeyError:
        return False
    # Distributions that give each user a group of the same name also give them umask 002.
    own_group = owner.pw_gid == here.st_gid and owner.pw_gid == owner.pw_uid
    return own_group and members <= {owner.pw_name, "root"}


@contextlib.contextmanager
def _place(
    path: str, follow: bool = False, claimed: int | None = None, strict: bool = True
) -> Iterator[Place]:
    """Opens the directory of ``path`` and gives the name in it; see the top of this file.

    ``follow`` resolves a link at the end by the same rules; ``claimed`` is the account that
    the thing is for; ``strict=False`` is for removing, which lets no one gain anything.
    """
    pending = [part for part in _path(path).split(b"/") if part not in (b"", b".")][::-1]
    walk = _Walk(claimed, strict)
    try:
        name = _walk(walk, pending or [b"."], path, follow)
        here = os.fstat(walk.fd)
        walk.arrive(here)
        walk.check_directory(here, name)
        yield Place(walk.fd, walk.at, name)
    finally:
        walk.close()


def _walk(walk: _Walk, pending: list[bytes], path: str, follow: bool) -> bytes:
    """Walks ``pending`` (last part first) and returns the name that is left at the end."""
    links = 0
    while True:
        name = pending.pop()
        if not pending and not follow:
            return name
        here = os.fstat(walk.fd)
        walk.check_directory(here, name)
        try:
            child = os.open(name, _PATH_FLAGS, dir_fd=walk.fd)
        except FileNotFoundError:
            if not pending:
                return name
            missing = _shown(os.path.join(walk.at, name))
            raise Refused(
                "ENOENT",
                f"the directory {missing} does not exist",
                "make it first, for example with file_ops.directory",
            ) from None
        entered = False
        try:
            seen = os.fstat(child)
            if modes.S_ISLNK(seen.st_mode):
                links += 1
                if links > 40:
                    raise Refused("ELOOP", f"{_shown(path)} goes through too many symbolic links")
                walk.check_link(name, here, seen)
                target = os.readlink(b"", dir_fd=child)
                if target.startswith(b"/"):
                    walk.restart()
                parts = [part for part in target.split(b"/") if part not in (b"", b".")]
                pending.extend(parts[::-1] or ([] if pending else [b"."]))
            elif not pending:
                return name
            else:
                walk.enter(name, child, here, seen)
                entered = True
        finally:
            if not entered:
                os.close(child)


def _sync_directory(fd: int) -> None:
    try:
        readable = os.open(b".", _DIRECTORY_FLAGS, dir_fd=fd)
    except PermissionError:
        return  # a directory that we may enter and not read cannot be opened to be synced
    try:
        os.fsync(readable)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS):
            raise
    finally:
        os.close(readable)


def _temporary(name: bytes) -> bytes:
    """Returns a fresh name beside ``name``, within the 255 bytes of a file name."""
    return b".%s.sloth-%s" % (name[:235], os.urandom(4).hex().encode())


# Writing ----------------------------------------------------------------------------------


class Wanted:
    """The mode and owners that are asked for, as numbers; None is not asked for."""

    __slots__ = ("gid", "mode", "uid")

    def __init__(
        self, names: Names, mode: str | None, owner: str | None, group: str | None
    ) -> None:
        self.mode = None if mode is None else int(mode, 8)
        self.uid = names.uid(owner)
        self.gid = names.gid(group)

    def over(self, old: os.stat_result | None, default: int) -> Wanted:
        """Returns these with what is not asked for taken from ``old``, or the default mode."""
        result = Wanted.__new__(Wanted)
        result.mode, result.uid, result.gid = self.mode, self.uid, self.gid
        if old is not None:
            result.uid = old.st_uid if self.uid is None else self.uid
            result.gid = old.st_gid if self.gid is None else self.gid
        if self.mode is None:
            result.mode = default if old is None else modes.S_IMODE(old.st_mode)
        return result

    def give(self, fd: int) -> None:
        """Sets them on an opened file or directory, as far as they differ."""
        seen = os.fstat(fd)
        uid = -1 if self.uid in (None, seen.st_uid) else self.uid
        gid = -1 if self.gid in (None, seen.st_gid) else self.gid
        if (uid, gid) != (-1, -1):
            os.fchown(fd, uid, gid)
        # After the owners: chown(2) takes set-user-ID bits away.
        if self.mode is not None and modes.S_IMODE(os.fstat(fd).st_mode) != self.mode:
            os.fchmod(fd, self.mode)


class Staged:
    """A new file beside its place, under a name of its own until it is put there."""

    __slots__ = ("digest", "fd", "name", "placed")

    def __init__(self, fd: int, name: bytes) -> None:
        self.fd = fd
        self.name = name
        self.digest = ""
        self.placed = False


@contextlib.contextmanager
def _staged(place: Place, chunks: Iterable[bytes]) -> Iterator[Staged]:
    """Writes ``chunks`` to a fresh 0600 file beside the place; gone at the end unless placed."""
    name = _temporary(place.name)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    staged = Staged(os.open(name, flags, 0o600, dir_fd=place.fd), name)
    try:
        staged.digest = _pour(staged.fd, chunks)
        yield staged
    finally:
        os.close(staged.fd)
        if not staged.placed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place.fd)


def _pour(fd: int, chunks: Iterable[bytes]) -> str:
    """Writes ``chunks`` and returns their SHA-256."""
    total = hashlib.sha256()
    for chunk in chunks:
        total.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
    return total.hexdigest()


def _chunks(data: str | None, source: str | None) -> Iterator[bytes]:
    if source is None:
        yield _raw(data or "")
        return
    fd = os.open(_raw(source), _READ_FLAGS & ~os.O_NOFOLLOW)
    try:
        yield from _chunks_of(fd)
    finally:
        os.close(fd)


def write_file(
    names: Names,
    path: str,
    data: str | None = None,
    source: str | None = None,
    sha256: str | None = None,
    mode: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    validate: str | None = None,
    backup: bool = False,
    follow: bool = False,
    in_place: bool = False,
    was: str | None = None,
    chunks: Iterable[bytes] | None = None,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Replaces a file atomically and durably.

    The content is ``data``, the file ``source``, or ``chunks`` from a channel; ``sha256``,
    if given, is what it must have, and ``was`` that of the content that is replaced ("":
    there is none): who edits a file has read it by its path, and another may have put
    another file there meanwhile. Unset owners and mode are kept, or are 0644 and this
    account for a new file. Returns "path" (where it was written, links resolved),
    "backup", "in_place", "sha256" and "links" (names that the replaced file had; 0: none).
    """
    wanted = Wanted(names, mode, owner, group)
    with _place(path, follow, wanted.uid) as place:
        _check_unmoved(place, was)
        if rehearse:
            return _check_install(place, place.look(), wanted, in_place)
        body = _chunks(data, source) if chunks is None else chunks
        return _install(place, body, wanted, sha256, validate, backup, in_place)


def _check_unmoved(place: Place, was: str | None) -> None:
    """Raises Refused unless ``place`` holds what was read there before, by its digest."""
    if was is None:
        return
    found = ""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(place.name, _READ_FLAGS, dir_fd=place.fd)
        try:
            found = _digest(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
    if found != was:
        raise Refused(
            "ESTALE",
            f"{_shown(place.path)} is not what was read there a moment ago",
            "somebody else is changing it, or a directory above it; look at who may",
        )


def _install(
    place: Place,
    chunks: Iterable[bytes],
    wanted: Wanted,
    sha256: str | None = None,
    validate: str | None = None,
    backup: bool = False,
    in_place: bool = False,
) -> dict[str, Any]:
    old = place.look()
    answer = _check_install(place, old, wanted, in_place)
    if old is not None and in_place:
        _overwrite(place, old, chunks, wanted, sha256, validate, backup, answer)
        return answer
    staged = None
    try:
        with _staged(place, chunks) as staged:
            _check_digest(place, staged.digest, sha256)
            if old is not None:
                _copy_xattrs(place, staged.fd)
            wanted.over(old, 0o644).give(staged.fd)
            if validate is not None:
                _validate(validate, os.path.join(place.directory, staged.name))
            os.fsync(staged.fd)
            answer["backup"] = _back_up(place, old) if backup and old is not None else None
            _rename(place, staged, answer)
            place.sync()
            _read_back(place, staged.fd, staged.digest)
    except (OSError, Refused) as error:
        raise _with_effects("write", place, staged, error) from error
    answer["sha256"] = staged.digest
    return answer


def _check_install(
    place: Place, old: os.stat_result | None, wanted: Wanted, in_place: bool
) -> dict[str, Any]:
    """Refuses what must not be replaced; returns what can be said of the answer before."""
    if old is not None:
        _check_replaceable(place, old, wanted, in_place)
    return {
        "path": _text(place.path),
        "backup": None,
        "in_place": in_place and old is not None,
        "links": 0 if old is None else old.st_nlink,
    }


def _with_effects(verb: str, place: Place, staged: Staged | None, error: Exception) -> Refused:
    refused = _refusal(verb, _text(place.path), error)
    if not refused.effects:
        done = staged is not None and staged.placed
        state = "has been replaced" if done else "is as it was"
        refused.effects = [f"{_shown(place.path)} {state}"]
    return refused


def _check_replaceable(place: Place, old: os.stat_result, wanted: Wanted, in_place: bool) -> None:
    shown = _shown(place.path)
    if modes.S_ISLNK(old.st_mode):
        raise Refused(
            "ELOOP",
            f"{shown} is a symbolic link; writing does not follow it",
            "set follow = true to write to where it leads, or remove it first",
        )
    if modes.S_ISDIR(old.st_mode):
        raise Refused("EISDIR", f"{shown} is a directory")
    if not modes.S_ISREG(old.st_mode):
        raise Refused("EINVAL", f"{shown} is a device, a socket or a named pipe, not a file")
    here = os.fstat(place.fd)
    foreign = old.st_uid not in (0, os.geteuid(), wanted.uid)
    said = not in_place and wanted.uid is not None and wanted.mode is not None
    if here.st_mode & modes.S_IWOTH and foreign and not said:
        owner = Names().user(old.st_uid)
        raise Refused(
            "EPERM",
            f"{shown} belongs to {owner}, and everybody may create such a name in "
            f"{_shown(place.directory)}: it may be a trap",
            "say whose file it is to be, and who may read it: owner = ..., mode = ...",
        )
    if in_place and _may_be_planted(here, old):
        raise Refused(
            "EMLINK",
            f"{shown} has {old.st_nlink} names, and others may write to its "
            "directory: overwriting it could change a file elsewhere",
        )


def _check_digest(place: Place, digest: str, wanted: str | None) -> None:
    if wanted is not None and digest != wanted.lower():
        raise Refused(
            "EBADMSG",
            f"the content for {_shown(place.path)} has the SHA-256 {digest}, not {wanted}",
            "the source changed while it was read, or it is not what was expected",
        )


_ACL = "system.posix_acl_access"
# What these say is true of the old bytes only: capabilities and signatures of the content.
_BOUND_TO_CONTENT = ("security.capability", "security.ima", "security.evm")


def _copy_xattrs(place: Place, to: int) -> None:
    """Copies extended attributes, with them ACLs and labels, as far as the system lets us."""
    fd = place.open()
    try:
        old = b"/proc/self/fd/%d" % fd
        with contextlib.suppress(OSError):
            names = os.listxattr(old)
            if _ACL not in names and _ACL in os.listxattr(to):
                os.removexattr(to, _ACL)  # from the directory's defaults, for new files only
            for name in names:
                if name not in _BOUND_TO_CONTENT:
                    with contextlib.suppress(OSError):
                        os.setxattr(to, name, os.getxattr(old, name))
    finally:
        os.close(fd)


def _validate(command: str, path: bytes) -> None:
    """Runs the validation command on the new file; raises a "rejected" Refused if it fails."""
    parts = shlex.split(command)
    if not any("%s" in part for part in parts[1:]):
        raise Refused(
            "EINVAL",
            f"the validation command {command!r} does not name the new file",
            'write %s where its path belongs, for example "visudo -cf %s"',
        )
    argv = [part.replace("%s", _text(path)) for part in parts]
    result = run(argv, timeout=VALIDATE_TIMEOUT)
    if result["exit_code"] == 0 and not result["ended"]:
        return
    how = "took too long" if result["ended"] else f"ended with exit code {result['exit_code']}"
    raise Refused(
        "EINVAL",
        f"{argv[0]} {how}",
        kind="rejected",
        facts={
            "command": argv,
            "exit code": result["exit_code"],
            "stderr": result["stderr"][-4000:],
            "stdout": result["stdout"][-4000:],
        },
    )


def _back_up(place: Place, old: os.stat_result) -> str:
    """Copies the old file beside itself, with mode, owner and attributes; returns the path."""
    source = os.open(place.name, _READ_FLAGS, dir_fd=place.fd)
    try:
        name, fd = _new_backup(place)
        try:
            _pour(fd, _chunks_of(source))
            _copy_xattrs(place, fd)
            kept = Wanted(Names(), None, None, None).over(old, 0o600)
            kept.give(fd)
            os.fsync(fd)
        except BaseException:
            os.unlink(name, dir_fd=place.fd)
            raise
        finally:
            os.close(fd)
    finally:
        os.close(source)
    place.sync()
    return _text(os.path.join(place.directory, name))


def _new_backup(place: Place) -> tuple[bytes, int]:
    """Makes an empty 0600 file named after the present second; returns its name and descriptor."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()).encode()
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for count in range(1000):
        suffix = b".%s-%d.bak" % (stamp, count) if count else b".%s.bak" % stamp
        name = place.name[: 255 - len(suffix)] + suffix
        with contextlib.suppress(FileExistsError):
            return name, os.open(name, flags, 0o600, dir_fd=place.fd)
    raise Refused("EEXIST", f"too many backups of {_shown(place.path)} in this second")


def _rename(place: Place, staged: Staged, answer: dict[str, Any]) -> None:
    try:
        os.rename(staged.name, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
    except OSError as error:
        if answer["backup"] is not None:
            os.unlink(os.path.basename(_raw(answer["backup"])), dir_fd=place.fd)
            answer["backup"] = None
        if error.errno == errno.EBUSY:
            raise Refused(
                "EBUSY",
                f"{_shown(place.path)} is a mount point (a bind mount, as containers have), "
                "so it cannot be replaced as a whole",
                "set in_place = true to overwrite its content, which is not atomic",
            ) from None
        raise
    staged.placed = True


def _read_back(place: Place, fd: int, digest: str) -> None:
    """Checks that the path now names the file that ``fd`` is, and that it holds the content."""
    there, ours = place.look(), os.fstat(fd)
    if there is None or (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
        raise Refused("EIO", f"{_shown(place.path)} was replaced by somebody while it was written")
    os.lseek(fd, 0, os.SEEK_SET)
    if _digest(fd, ours.st_size) != digest:
        raise Refused("EIO", f"{_shown(place.path)} reads back different from what was written")


def _overwrite(
    place: Place,
    old: os.stat_result,
    chunks: Iterable[bytes],
    wanted: Wanted,
    sha256: str | None,
    validate: str | None,
    backup: bool,
    answer: dict[str, Any],
) -> None:
    """Writes over the file itself: for bind mounts. It is durable, and not atomic."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(place.name, flags, dir_fd=place.fd)
    touched = False
    try:
        with _spooled(chunks) as (spool, digest):
            _check_digest(place, digest, sha256)
            if validate is not None:
                with _staged(place, _rewound(spool)) as staged:
                    _validate(validate, os.path.join(place.directory, staged.name))
            if backup:
                answer["backup"] = _back_up(place, old)
            touched = True
            _pour(fd, _rewound(spool))
            os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
        wanted.over(old, 0o644).give(fd)
        os.fsync(fd)
        _read_back(place, fd, digest)
    except (OSError, Refused) as error:
        refused = _refusal("write", _text(place.path), error)
        state = "may hold parts of old and new content" if touched else "is as it was"
        refused.effects = [f"{_shown(place.path)} {state}"]
        raise refused from error
    finally:
        os.close(fd)
    answer["sha256"] = digest


@contextlib.contextmanager
def _spooled(chunks: Iterable[bytes]) -> Iterator[tuple[Any, str]]:
    """Keeps ``chunks`` where they can be read twice, whole, before anything is overwritten."""
    import tempfile

    with tempfile.TemporaryFile() as spool:
        digest = _pour(spool.fileno(), chunks)
        yield spool, digest


def _rewound(spool: Any) -> Iterator[bytes]:
    os.lseek(spool.fileno(), 0, os.SEEK_SET)
    return _chunks_of(spool.fileno())


def download(
    names: Names,
    url: str,
    path: str,
    sha256: str | None = None,
    mode: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    timeout: float = 600.0,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Fetches a file by http or https, checks it and puts it in place as ``write`` does.

    ``timeout`` in seconds is for the whole transfer.
    """
    wanted = Wanted(names, mode, owner, group)
    with _place(path, claimed=wanted.uid) as place:
        if rehearse:
            return _check_install(place, place.look(), wanted, in_place=False)
        return _install(place, _fetched(url, timeout), wanted, sha256)


def _fetched(url: str, timeout: float) -> Iterator[bytes]:
    """Yields the body of a URL; refuses other schemes, redirected ones too, and short bodies."""
    import http.client  # these take longer to import than most batches take to answer
    import urllib.error
    import urllib.request

    shown = _shown_url(url)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    deadline = time.monotonic() + timeout
    try:
        bare, account = _without_account(url)
        request = urllib.request.Request(  # noqa: S310  (the opener knows http and https only)
            bare, headers={"User-Agent": "sloth-runner"}
        )
        if account:  # for this host alone, wherever it sends us
            request.add_unredirected_header("Authorization", account)
        with opener.open(request, timeout=timeout) as response:
            length = response.headers.get("Content-Length")
            received = 0
            while True:
                chunk = response.read1(CHUNK)
                if not chunk:
                    break
                received += len(chunk)
                yield chunk
                if time.monotonic() > deadline:
                    raise Refused("ETIMEDOUT", f"{shown} was not complete after {timeout:g} s")
            if length is not None and received != int(length):
                raise Refused("EPIPE", f"{shown} broke off after {received} of {length} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        raise Refused("EREMOTEIO", f"{shown} answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        code = errno.errorcode.get(getattr(error.reason, "errno", None) or 0, "EREMOTEIO")
        why = getattr(error.reason, "strerror", None) or error.reason
        raise Refused(code, f"{shown} cannot be reached: {why}") from None
    except http.client.HTTPException as error:
        raise Refused("EREMOTEIO", f"{shown} broke off: {error!r}") from None
    except TimeoutError:
        raise Refused("ETIMEDOUT", f"{shown} did not answer within {timeout:g} s") from None


def _without_account(url: str) -> tuple[str, str]:
    """Returns a URL without its account, and what says so in a header instead (RFC 7617)."""
    import base64
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    account, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    name, _, password = account.partition(":")
    spelled = f"{urllib.parse.unquote(name)}:{urllib.parse.unquote(password)}".encode()
    header = "Basic " + base64.b64encode(spelled).decode("ascii")
    return urllib.parse.urlunsplit(parts._replace(netloc=place)), header


def _shown_url(url: str) -> str:
    """Returns a URL without what may be secret in it: the account and the query."""
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("EINVAL", f"only http and https can be downloaded, not {parts.scheme!r}")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def make_directory(
    names: Names,
    path: str,
    mode: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    parents: bool = False,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Makes a directory, 0755 by default; one that is there gets what is asked for.

    Parents that are missing get the same owner and group, and 0755. Returns {"created"}.
    """
    wanted = Wanted(names, mode, owner, group)
    missing = _missing_above(path) if parents else []
    if rehearse:
        with _place(_text(missing[0]) if missing else path, claimed=wanted.uid):
            return {"created": False}
    for above in missing:
        above_wanted = Wanted(names, None, owner, group)
        _make_one(_text(above), above_wanted)
    return {"created": _make_one(path, wanted)}


def _missing_above(path: str) -> list[bytes]:
    """Returns the parents of ``path`` that do not exist, topmost first."""
    missing = []
    above = os.path.dirname(_path(path).rstrip(b"/"))
    while above not in (b"", b"/") and not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    return missing[::-1]


def _make_one(path: str, wanted: Wanted) -> bool:
    with _place(path, claimed=wanted.uid) as place:
        created = False
        # A name that a directory has until it is dressed would be seen half made.
        with contextlib.suppress(FileExistsError):
            os.mkdir(place.name, 0o700, dir_fd=place.fd)
            created = True
        old = place.look()
        if old is not None and modes.S_ISLNK(old.st_mode):
            raise Refused("ELOOP", f"{_shown(place.path)} is a symbolic link, not a directory")
        if old is not None and not modes.S_ISDIR(old.st_mode):
            raise Refused("EEXIST", f"{_shown(place.path)} is there and is not a directory")
        fd = os.open(place.name, _DIRECTORY_FLAGS, dir_fd=place.fd)
        try:
            if created and os.fstat(fd).st_uid != os.geteuid():
                raise Refused("EIO", f"{_shown(place.path)} was replaced by somebody")
            setgid = os.fstat(fd).st_mode & modes.S_ISGID
            (wanted.over(None, 0o755 | setgid) if created else wanted).give(fd)
        finally:
            os.close(fd)
        place.sync()
        return created


def make_symlink(
    names: Names,
    path: str,
    target: str,
    force: bool = False,
    owner: str | None = None,
    group: str | None = None,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Makes a symbolic link, replacing another link atomically, and a file only with ``force``.

    A link that root replaces hands its owner and group on, unless others are given.
    """
    wanted = Wanted(names, None, owner, group)
    raw = _raw(target)
    if not raw or b"\0" in raw:
        raise Refused("EINVAL", f"{target!r} cannot be the target of a link")
    with _place(path, claimed=wanted.uid) as place:
        old = place.look()
        if old is not None and modes.S_ISDIR(old.st_mode):
            raise Refused("EISDIR", f"{_shown(place.path)} is a directory", "remove it first")
        if old is not None and not modes.S_ISLNK(old.st_mode) and not force:
            raise Refused(
                "EEXIST",
                f"{_shown(place.path)} is there and is not a link",
                "set force = true to replace it",
            )
        if rehearse:
            return {"replaced": old is not None}
        name = _temporary(place.name)
        os.symlink(raw, name, dir_fd=place.fd)
        try:
            handed_on = old is not None and modes.S_ISLNK(old.st_mode) and os.geteuid() == 0
            kept = wanted.over(old if handed_on else None, 0)
            if (kept.uid, kept.gid) != (None, None):
                uid, gid = (-1 if number is None else number for number in (kept.uid, kept.gid))
                os.chown(name, uid, gid, dir_fd=place.fd, follow_symlinks=False)
            os.rename(name, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        except BaseException:
            os.unlink(name, dir_fd=place.fd)
            raise
        place.sync()
        return {"replaced": old is not None}


def remove(names: Names, path: str, tree: bool = False, rehearse: bool = False) -> dict[str, Any]:
    """Removes a file, a link, an empty directory or, with ``tree``, all that is in it.

    Links are removed, never followed; a tree with something mounted in it is refused.
    What is absent is fine. Returns {"removed": whether something was there}.
    """
    try:
        with _place(path, strict=False) as place:
            if place.name == b".":
                raise Refused("EBUSY", "the root directory is not removed")
            seen = place.look()
            if seen is None or rehearse:
                return {"removed": False}
            if not modes.S_ISDIR(seen.st_mode):
                os.unlink(place.name, dir_fd=place.fd)
            else:
                if tree:
                    _empty(place)
                os.rmdir(place.name, dir_fd=place.fd)
            place.sync()
            return {"removed": True}
    except Refused as error:
        if error.errno_name in ("ENOENT", "ENOTDIR"):
            return {"removed": False}
        raise


def _empty(place: Place) -> None:
    inside = place.path + b"/"
    for mounted in _mount_points():
        if mounted == place.path or mounted.startswith(inside):
            raise Refused(
                "EBUSY",
                f"{_shown(mounted)} is a mount point: removing {_shown(place.path)} would "
                "empty what is mounted there",
                "unmount it first",
            )
    fd = os.open(place.name, _DIRECTORY_FLAGS, dir_fd=place.fd)
    try:
        for entry in _below(fd, place.path, bottom_up=True):
            if entry.is_directory:
                os.rmdir(entry.name, dir_fd=entry.fd)
            else:
                os.unlink(entry.name, dir_fd=entry.fd)
    finally:
        os.close(fd)


def _mount_points() -> list[bytes]:
    """Returns the mount points, from proc(5) mountinfo, where odd bytes are octal escapes."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            fields = [line.split(b" ")[4] for line in file if line.count(b" ") > 4]
    except OSError:
        return []
    return [field.decode("unicode_escape").encode("latin-1") for field in fields]


def set_attributes(
    names: Names,
    path: str,
    mode: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    follow: bool = False,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Sets mode and owners of what is at ``path``, never of what a link leads to.

    A link itself can be given owners; a mode for it is refused. Returns {"changed"}.
    """
    wanted = Wanted(names, mode, owner, group)
    with _place(path, follow, wanted.uid) as place:
        fd = place.open()
        try:
            seen = os.fstat(fd)
            if modes.S_ISLNK(seen.st_mode) and wanted.mode not in (None, 0o777):
                raise Refused(
                    "ELOOP",
                    f"{_shown(place.path)} is a symbolic link, and links have no mode",
                    "set follow = true to change what it leads to",
                )
            there = (fd, place.fd, place.path)
            return {"changed": _set_one(*there, wanted.mode, wanted, rehearse)}
        finally:
            os.close(fd)


def _set_one(
    fd: int, directory: int, shown: bytes, mode: int | None, wanted: Wanted, rehearse: bool
) -> bool:
    """Sets mode and owners on an ``O_PATH`` descriptor, as far as they differ."""
    seen = os.fstat(fd)
    link = modes.S_ISLNK(seen.st_mode)
    uid = -1 if wanted.uid in (None, seen.st_uid) else wanted.uid
    gid = -1 if wanted.gid in (None, seen.st_gid) else wanted.gid
    owners = (uid, gid) != (-1, -1)
    if not owners and (mode is None or link or modes.S_IMODE(seen.st_mode) == mode):
        return False
    if _may_be_planted(os.fstat(directory), seen):
        raise Refused(
            "EMLINK",
            f"{_shown(shown)} has {seen.st_nlink} names, and others may write to its "
            "directory: changing it could change a file elsewhere",
        )
    if rehearse:
        return False
    if owners:
        _chown(fd, uid, gid, link)
    if mode is not None and not link:
        # fchmod(2) refuses O_PATH descriptors; this path leads to the descriptor's own file.
        os.chmod(b"/proc/self/fd/%d" % fd, mode)
    return True


def _chown(fd: int, uid: int, gid: int, link: bool) -> None:
    if not link:
        os.chown(b"/proc/self/fd/%d" % fd, uid, gid)
        return
    # /proc/self/fd would be followed through the link, and Python has no AT_EMPTY_PATH.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    owners = [ctypes.c_uint(number & 0xFFFFFFFF) for number in (uid, gid)]
    if libc.fchownat(fd, b"", *owners, 0x1000):  # AT_EMPTY_PATH
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def set_attributes_tree(
    names: Names,
    path: str,
    mode: str | None = None,
    directory_mode: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Sets ``directory_mode`` and owners on a directory and all below, and ``mode`` on files.

    Links get owners themselves and are never followed. Returns {"changed": how many}.
    """
    wanted = Wanted(names, mode, owner, group)
    inner = None if directory_mode is None else int(directory_mode, 8)
    changed = 0
    with _place(path, claimed=wanted.uid) as place:
        top = os.open(place.name, _DIRECTORY_FLAGS, dir_fd=place.fd)
        try:
            for entry, fd in _opened_below(top, place.path):
                to = inner if modes.S_ISDIR(os.fstat(fd).st_mode) else wanted.mode
                shown = os.path.join(place.path, entry.relative)
                changed += _set_one(fd, entry.fd, shown, to, wanted, rehearse)
            changed += _set_one(top, place.fd, place.path, inner, wanted, rehearse)
        finally:
            os.close(top)
    return {"changed": changed}


def hand_over(
    names: Names,
    path: str,
    old: int,
    new: int,
    spare: Sequence[int] = (),
    only: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Gives to ``new`` what the account ``old`` owns of a directory and all below.

    Inodes in ``spare`` are left alone, with ``only`` all but those. Links change hands
    themselves and are never followed. Returns {"changed": how many}.
    """
    spared, chosen = set(spare), None if only is None else set(only)

    def pass_on(fd: int) -> bool:
        seen = os.fstat(fd)
        inode = seen.st_ino
        if seen.st_uid != old or inode in spared or not (chosen is None or inode in chosen):
            return False
        _chown(fd, new, -1, modes.S_ISLNK(seen.st_mode))
        return True

    top = os.open(_path(path), _DIRECTORY_FLAGS)
    try:
        changed = sum(pass_on(fd) for _, fd in _opened_below(top, _path(path)))
        return {"changed": changed + pass_on(top)}
    finally:
        os.close(top)


# Archives ---------------------------------------------------------------------------------


def archive_members(names: Names, path: str, digest: bool = True) -> list[dict[str, Any]]:
    """Returns the members of a tar archive, in order, as ``unpack`` would make them.

    Each is {name, kind, mode, size} with "sha256" for files and "target" for links; hard
    links are files with "hardlink", the member that they are one with. Refuses an archive
    of which any member would be made outside, or is not a file, directory or link.
    """
    with _archive(path) as archive:
        found: dict[str, dict[str, Any]] = {}
        for member in archive:
            entry = _member(member, found)
            if entry is None:
                continue
            if digest and member.isreg():
                body = archive.extractfile(member)
                entry["sha256"] = _body_digest(body)
            found.pop(entry["name"], None)
            found[entry["name"]] = entry
        _read_to_end(archive)
        return list(found.values())


@contextlib.contextmanager
def _archive(path: str) -> Iterator[Any]:
    """Opens a tar archive, and turns everything that damage can raise into one error."""
    import lzma
    import tarfile  # imported only here: few runs meet an archive
    import zlib

    damage = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, UnicodeError)
    fd = os.open(_path(path), _READ_FLAGS & ~os.O_NOFOLLOW)
    file = None
    try:
        if not modes.S_ISREG(os.fstat(fd).st_mode):
            raise Refused("EINVAL", f"{_shown(path)} is not a file")
        file = os.fdopen(fd, "rb", closefd=False)
        with tarfile.open(
            fileobj=file, mode="r:*", encoding="utf-8", errors="surrogateescape"
        ) as archive:
            yield archive
    except damage as error:
        raise Refused(
            "EBADMSG",
            f"{_shown(path)} is damaged, or not a tar archive that Python can read: {error}",
        ) from None
    except OSError as error:
        if error.errno is None:  # gzip and bz2 raise plain OSErrors for damage
            raise Refused("EBADMSG", f"{_shown(path)} is damaged: {error}") from None
        raise
    finally:
        if file is not None:
            file.close()
        os.close(fd)


def _read_to_end(archive: Any) -> None:
    """Reads what follows the last member: only there do compressed files say their checksum."""
    while archive.fileobj.read(CHUNK):
        pass


def _body_digest(body: Any) -> str:
    total = hashlib.sha256()
    for chunk in iter(lambda: body.read(CHUNK), b""):
        total.update(chunk)
    return total.hexdigest()


def _member(
    member: Any, found: Mapping[str, Mapping[str, Any]], ours: bool = False
) -> dict[str, Any] | None:
    """Returns what a member would be made as, None for the root itself; refuses hostile ones.

    In an archive of ``ours`` links may lead anywhere: a removed tree comes back as it was.
    """
    name = _member_name(member.name, member.name)
    entry: dict[str, Any] = {
        "name": name,
        "kind": "file",
        "mode": f"{member.mode & 0o777:04o}",
        "size": member.size,
    }
    if not name:
        if not member.isdir():
            raise _hostile(member.name, "is no directory, and would be made in place of it")
        return None
    if member.isdir():
        entry.update(kind="directory", size=0)
    elif member.issym():
        if not ours:
            _check_target(name, member.linkname)
        entry.update(kind="link", mode="0777", size=0, target=member.linkname)
    elif member.islnk():
        first = found.get(_member_name(member.linkname, member.name))
        if first is None or first["kind"] != "file":
            raise _hostile(member.name, f"is a hard link to {member.linkname!r}, not a member")
        entry = {**first, "name": name, "hardlink": first["name"]}
    elif not member.isreg() and not (ours and (member.isdev() or member.isfifo())):
        raise _hostile(member.name, "is a device or a named pipe")
    for above in _parents(name):
        over = found.get(above)
        if over is not None and over["kind"] != "directory":
            raise _hostile(member.name, f"is to be made through {above!r}, a {over['kind']}")
    return entry


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _member_name(name: str, shown: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise _hostile(shown, "would be made outside of the directory")
    return "/".join(part for part in parts if part not in ("", "."))


def _check_target(name: str, target: str) -> None:
    """Refuses a link that could lead outside, whatever other links of the archive do."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    # Further ".." would be taken from wherever a link leads, so it cannot be known where to.
    if target.startswith("/") or "\0" in target or ups > name.count("/") or ".." in parts[ups:]:
        raise _hostile(name, f"is a link to {target!r}, outside of the directory")


def _hostile(name: str, why: str) -> Refused:
    return Refused(
        "EPERM",
        f"the archive's member {name!r} {why}",
        "nothing of such an archive is unpacked",
        effects=["nothing was unpacked"],
    )


def unpack_archive(
    names: Names,
    path: str,
    dest: str,
    owner: str | None = None,
    group: str | None = None,
    preserve: bool = False,
    only: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Unpacks a tar archive below the directory ``dest``; returns {"members": how many}.

    With ``only`` these members alone, by their names, each with the "mode", "owner" and
    "group" that are given for it; the others stay as they are.

    The whole archive is checked before anything is written. Each file is made whole or not
    at all, and no link is gone through, neither of the archive nor one that was there
    before. Members belong to ``owner`` and ``group`` or this account and lose set-user-ID
    bits; with ``preserve``, for archives that ``fetch`` made, they keep numbers and modes.
    """
    wanted = Wanted(names, None, owner, group)
    with _archive(path) as archive, _place(dest, claimed=wanted.uid) as place:
        found: dict[str, dict[str, Any]] = {}
        for member in archive:
            entry = _member(member, found, ours=preserve)
            if entry is not None:
                found[entry["name"]] = entry
        _read_to_end(archive)
        top = os.open(place.name, _DIRECTORY_FLAGS, dir_fd=place.fd)
        try:
            each = {
                _raw(name): Wanted(names, given.get("mode"), given.get("owner"), given.get("group"))
                for name, given in (only or {}).items()
            }
            unpacking = _Unpacking(top, place.path, wanted, each, preserve)
            for member in archive.getmembers():
                if only is None or _member_name(member.name, member.name) in only:
                    unpacking.make(archive, member)
            unpacking.finish()
        except (OSError, Refused) as error:
            refused = _refusal("unpack", dest, error)
            refused.effects = [f"part of the archive may be in {_shown(dest)}"]
            raise refused from error
        finally:
            os.close(top)
        return {"members": len(found)}


def _within_clock(moment: float) -> float:
    """Returns a time of an archive, which may be any number, as one that file systems take."""
    return min(max(moment, 0), 1 << 32)


class _Unpacking:
    """The making of an archive's members below an opened directory."""

    def __init__(
        self,
        top: int,
        shown: bytes,
        wanted: Wanted,
        each: Mapping[bytes, Wanted],
        preserve: bool,
    ) -> None:
        self._top = top
        self._shown = shown
        self._wanted = wanted
        self._each = each
        self._preserve = preserve
        self._directories: dict[bytes, Any] = {}

    def make(self, archive: Any, member: Any) -> None:
        """Makes one member; directories get their modes at the end, when all is in them."""
        raw = _raw(_member_name(member.name, member.name))
        if member.isdir():
            with self._inside(raw):
                self._directories[raw] = member
            return
        above, _, name = raw.rpartition(b"/")
        with self._inside(above) as fd:
            staged = _temporary(name)
            try:
                self._stage(archive, member, fd, staged)
                os.rename(staged, name, src_dir_fd=fd, dst_dir_fd=fd)
            finally:
                # Also after a rename onto another name of the same file, which does nothing.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(staged, dir_fd=fd)

    def _stage(self, archive: Any, member: Any, fd: int, staged: bytes) -> None:
        if member.issym():
            os.symlink(_raw(member.linkname), staged, dir_fd=fd)
            uid, gid, _ = self._attributes(member)
            os.chown(staged, uid, gid, dir_fd=fd, follow_symlinks=False)
        elif member.islnk():
            above, _, name = _raw(_member_name(member.linkname, member.name)).rpartition(b"/")
            with self._inside(above) as other:
                os.link(name, staged, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
        elif not member.isreg():
            uid, gid, mode = self._attributes(member)
            kind = next(kind for kind, mark in _SPECIAL.items() if mark == member.type)
            os.mknod(staged, kind | mode, os.makedev(member.devmajor, member.devminor), dir_fd=fd)
            os.chown(staged, uid, gid, dir_fd=fd, follow_symlinks=False)
            os.chmod(staged, mode, dir_fd=fd)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(staged, flags, 0o600, dir_fd=fd)
            try:
                body = archive.extractfile(member)
                _pour(file, iter(lambda: body.read(CHUNK), b""))
                self._dress(file, member)
                os.utime(file, (_within_clock(member.mtime),) * 2)
            finally:
                os.close(file)

    def _attributes(self, member: Any) -> tuple[int, int, int]:
        if self._preserve:
            return member.uid, member.gid, member.mode & 0o7777
        wanted = self._each.get(_raw(_member_name(member.name, member.name)), self._wanted)
        uid = -1 if wanted.uid is None else wanted.uid
        gid = -1 if wanted.gid is None else wanted.gid
        return uid, gid, member.mode & 0o777 if wanted.mode is None else wanted.mode

    def _dress(self, fd: int, member: Any) -> None:
        uid, gid, mode = self._attributes(member)
        if (uid, gid) != (-1, -1):
            os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)

    @contextlib.contextmanager
    def _inside(self, relative: bytes) -> Iterator[int]:
        """Opens a directory below the top, making what is missing; goes through no link."""
        fd = os.dup(self._top)
        try:
            at = b""
            for part in relative.split(b"/") if relative else ():
                at = os.path.join(at, part)
                below = self._open_or_make(fd, part, at)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _open_or_make(self, fd: int, part: bytes, relative: bytes) -> int:
        made = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=fd)
            made = True
        try:
            below = os.open(part, _DIRECTORY_FLAGS, dir_fd=fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                where = _shown(os.path.join(self._shown, relative))
                raise Refused(
                    "ELOOP", f"{_text(part)!r} of {where} is there and is no directory"
                ) from None
            raise
        if made:
            self._each.get(relative, self._wanted).over(None, 0o755).give(below)
        return below

    def finish(self) -> None:
        """Gives directories their modes and makes everything durable."""
        for relative, member in sorted(self._directories.items(), reverse=True):
            if relative or self._preserve:
                with self._inside(relative) as fd:
                    self._dress(fd, member)
        # One sync for all: an fsync for each of ten thousand small files takes minutes.
        os.sync()


def export(path: str, write: Callable[[bytes], Any], limit: int | None = None) -> str | None:
    """Gives ``write`` the bytes of a file, or a directory as a tar archive, in pieces.

    Returns "file" or "directory", or None when ``path`` does not exist. A link at the end
    is refused, in a tree links stay links; sockets in a tree are left out.
    """
    raw = _path(path)
    try:
        seen = os.lstat(raw)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise _refusal("fetch", path, error) from None
    out = _Counted(path, write, limit)
    try:
        if modes.S_ISDIR(seen.st_mode):
            _export_tree(raw, out)
            return "directory"
        if not modes.S_ISREG(seen.st_mode):
            raise Refused("EINVAL", f"{_shown(path)} is neither a file nor a directory")
        fd = os.open(raw, _READ_FLAGS)
        try:
            for chunk in _chunks_of(fd):
                out.write(chunk)
        finally:
            os.close(fd)
        return "file"
    except OSError as error:
        raise _refusal("fetch", path, error) from None


class _Counted:
    """A sink that refuses more than its limit."""

    def __init__(self, path: str, write: Callable[[bytes], Any], limit: int | None) -> None:
        self._path = path
        self._write = write
        self._left = limit

    def write(self, data: bytes) -> int:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise Refused("EFBIG", f"{_shown(self._path)} is larger than allowed")
        self._write(data)
        return len(data)


def _export_tree(path: bytes, out: _Counted) -> None:
    import tarfile

    top = os.open(path, _DIRECTORY_FLAGS)
    first: dict[tuple[int, int], str] = {}
    try:
        # tarfile writes to anything that has a method "write".
        with tarfile.open(
            fileobj=out,  # type: ignore[call-overload]
            mode="w|",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            root = tarfile.TarInfo(".")
            _fill(root, os.fstat(top))
            root.type = tarfile.DIRTYPE
            archive.addfile(root)
            for entry in _below(top, path):
                _export_entry(archive, tarfile, entry, first)
    finally:
        os.close(top)


def _fill(info: Any, seen: os.stat_result) -> None:
    info.mode = modes.S_IMODE(seen.st_mode)
    info.uid, info.gid = seen.st_uid, seen.st_gid
    info.mtime = int(seen.st_mtime)


# The types of tar members, as tarfile has them, for what is neither file, folder nor link.
_SPECIAL = {modes.S_IFIFO: b"6", modes.S_IFCHR: b"3", modes.S_IFBLK: b"4"}


def _export_entry(archive: Any, tarfile: Any, entry: Entry, first: dict[Any, str]) -> None:
    info, seen = tarfile.TarInfo(_text(entry.relative)), entry.seen
    _fill(info, seen)
    if modes.S_ISLNK(seen.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = _text(os.readlink(entry.name, dir_fd=entry.fd))
        archive.addfile(info)
    elif modes.S_ISDIR(seen.st_mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif modes.S_ISSOCK(seen.st_mode):
        return  # nothing but the process that made it could bring it back
    elif not modes.S_ISREG(seen.st_mode):
        info.type = _SPECIAL[modes.S_IFMT(seen.st_mode)]
        info.devmajor, info.devminor = os.major(seen.st_rdev), os.minor(seen.st_rdev)
        archive.addfile(info)
    elif (seen.st_dev, seen.st_ino) in first:
        info.type = tarfile.LNKTYPE
        info.linkname = first[seen.st_dev, seen.st_ino]
        archive.addfile(info)
    else:
        if seen.st_nlink > 1:
            first[seen.st_dev, seen.st_ino] = info.name
        with os.fdopen(os.open(entry.name, _READ_FLAGS, dir_fd=entry.fd), "rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            archive.addfile(info, file)


# Commands ---------------------------------------------------------------------------------

# What holds a command back: a line on its standard input lets it go, and the end of that
# input, when we are killed, lets it end without having run. ``read`` takes one byte at a
# time from a pipe, so what follows the line is the command's own input.
_HELD = b'read -r _ || exit 125; exec "$@"'
_HELD_WITHOUT_INPUT = b'read -r _ || exit 125; exec "$@" </dev/null'

# Takes what a command prints when we are gone, so that it does not die of a broken pipe: its
# input is a pipe of ours, its outputs (that it reads from) are the command's pipes.
_KEEP = b"read -r _ || { cat <&1 >/dev/null & cat <&2 >/dev/null; wait; }"


def run(
    argv: Sequence[str],
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
    on_started: OnStarted | None = None,
    on_output: OnOutput | None = None,
    stop: int | None = None,
) -> dict[str, Any]:
    """Runs a command to its end, in a session and process group of its own.

    It is held until ``on_started(process_group, start_time)`` has returned; with that
    function it also survives the death of this process. ``on_output`` is given "stdout" or
    "stderr" and each line. After ``timeout`` seconds, or once the
    descriptor ``stop`` becomes readable or is closed on its other side, the whole group gets
    SIGTERM and after 2 s SIGKILL. Returns exit_code, stdout, stderr, elapsed in seconds,
    "ended" ("", "timeout" or "stopped") and "overflow" (whether output was lost). Raises
    Refused when it cannot be started.
    """
    process = _Process(argv, stdin, env or {}, cwd, user)
    began = time.monotonic()
    watch = _Watch(process, timeout, on_output, stop)
    keeper = None
    try:
        if on_started is not None:
            keeper = _Keeper(process)
            on_started(process.group, process.start_time)
        watch.follow()
    finally:
        watch.close()
        if keeper is not None:
            keeper.dismiss()
    return {
        "exit_code": process.popen.returncode,
        "stdout": watch.outputs["stdout"].text(),
        "stderr": watch.outputs["stderr"].text(),
        "elapsed": time.monotonic() - began,
        "ended": watch.reason,
        "overflow": any(output.overflow for output in watch.outputs.values()),
    }


class _Process:
    """A command that was started and is held."""

    def __init__(
        self,
        argv: Sequence[str],
        stdin: str,
        env: Mapping[str, str],
        cwd: str | None,
        user: str | None,
    ) -> None:
        _check_words(argv, env, cwd)
        account = None if user is None else _account(user)
        environment = _environment(env, account)
        program = find_program(argv[0], _text(environment[b"PATH"]), cwd)
        if cwd is not None and not os.path.isdir(_raw(cwd)):
            raise Refused("ENOENT", f"the working directory {_shown(cwd)} does not exist")
        self.input = _raw(stdin)
        held = _HELD if self.input else _HELD_WITHOUT_INPUT
        words = [b"/bin/sh", b"-c", held, b"sh", _raw(program)]
        try:
            self.popen = subprocess.Popen(  # the words of the shell are constant, data is argv
                [*words, *(_raw(word) for word in argv[1:])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                close_fds=True,
                start_new_session=True,
                cwd=None if cwd is None else _raw(cwd),
                env=environment,
                **_as_account(account),
            )
        except (OSError, subprocess.SubprocessError) as error:
            code = errno.errorcode.get(getattr(error, "errno", None) or errno.EIO, "EIO")
            raise Refused(code, f"{_shown(argv[0])} cannot be started: {error}") from None
        self.group = self.popen.pid
        self.start_time = _start_time(self.group)

    def has_ended(self) -> bool:
        """Whether it has ended; it is not reaped, so that its number stays its own."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.group, flags) is not None

    def signal(self, number: int) -> None:
        """Signals the whole group; MUST NOT be called after it was reaped."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, number)


class _Keeper:
    """A process that reads a command's output when this one was killed, and only then."""

    def __init__(self, process: _Process) -> None:
        theirs, self._ours = os.pipe()
        try:
            self._popen = subprocess.Popen(
                [b"/bin/sh", b"-c", _KEEP],
                stdin=theirs,
                stdout=process.popen.stdout,
                stderr=process.popen.stderr,
                close_fds=True,
                start_new_session=True,
                cwd="/",
                env={b"PATH": _raw(DEFAULT_PATH)},
            )
        except BaseException:
            os.close(self._ours)
            raise
        finally:
            os.close(theirs)

    def dismiss(self) -> None:
        """Lets it end without having read anything."""
        with contextlib.suppress(OSError):
            os.write(self._ours, b"\n")
        os.close(self._ours)
        self._popen.wait()


def _check_words(argv: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
    if not argv or not argv[0]:
        raise Refused("EINVAL", "a command needs a name")
    words = [*argv, *env, *env.values(), cwd or ""]
    if any("\0" in word for word in words):
        raise Refused("EINVAL", f"{_shown(argv[0])}: a word of a command cannot hold a NUL byte")
    for name in env:
        # The shell that holds the command drops other names silently.
        if not (name.isascii() and name.isidentifier()):
            raise Refused("EINVAL", f"{name!r} cannot be the name of an environment variable")


def find_program(name: str, path: str, cwd: str | None = None) -> str:
    """Returns the absolute path of an executable; raises Refused naming it when there is none."""
    if "/" in name:
        places = [os.path.join(cwd or os.getcwd(), name)]
    else:
        # An empty or relative entry of PATH would mean the working directory: never looked in.
        places = [os.path.join(entry, name) for entry in path.split(":") if entry[:1] == "/"]
    found = [place for place in places if os.path.isfile(_raw(place))]
    for place in found:
        if os.access(_raw(place), os.X_OK, effective_ids=True):
            return place
    if found:
        raise Refused("EACCES", f"{_shown(found[0])} is not executable")
    where = "" if "/" in name else f" (looked in {path})"
    raise Refused("ENOENT", f"there is no program {_shown(name)}{where}", "install it first")


def _environment(env: Mapping[str, str], account: Any) -> dict[bytes, bytes]:
    """Returns ``env`` over ours, or over a clean one for another account, with a whole PATH."""
    result = {b"PATH": _raw(DEFAULT_PATH), b"LANG": b"C.UTF-8"}
    if account is None:
        result.update(os.environb)
        # Cron and su leave out the directories of the administrator's programs.
        entries = result[b"PATH"].split(b":")
        missing = [e for e in _raw(DEFAULT_PATH).split(b":") if e not in entries]
        result[b"PATH"] = b":".join(entries + missing)
    else:
        result.update(
            {
                b"HOME": _raw(account.pw_dir),
                b"USER": _raw(account.pw_name),
                b"LOGNAME": _raw(account.pw_name),
                b"SHELL": _raw(account.pw_shell or "/bin/sh"),
            }
        )
    result.update((_raw(name), _raw(value)) for name, value in env.items())
    return result


def _account(user: str) -> Any:
    try:
        account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise Refused("EINVAL", f"there is no user {user!r} here", "create it first") from None
    if os.geteuid() not in (0, account.pw_uid):
        raise Refused(
            "EPERM",
            f"{Names().user(os.geteuid())} may not run a command as {account.pw_name}",
            "run as root, for example with sudo",
        )
    return account


def _as_account(account: Any) -> dict[str, Any]:
    """Returns the arguments of Popen that make a process run as ``account``."""
    if account is None or os.geteuid() != 0:
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    if sys.version_info < (3, 9):  # noqa: UP036  (a remote machine may have an old Python)

        def become() -> None:
            os.setgroups(groups)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

        return {"preexec_fn": become}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


class _Output:
    """One output of a command: what is kept of it, and its lines as they come."""

    def __init__(self, name: str, fd: int, on_output: OnOutput | None) -> None:
        self.name = name
        self.fd = fd
        self.overflow = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._line = b""
        self._on_output = on_output

    def read(self) -> bool:
        """Takes what is there, once it is known to be readable; returns False at the end."""
        # It is left blocking: a keeper shares it, whose cat would not bear anything else.
        data = os.read(self.fd, 1 << 16)
        room = CAPTURE_LIMIT - self._size
        if len(data) > room:
            self.overflow = True
        self._chunks.append(data[:room])
        self._size += len(data[:room])
        if self._on_output is not None:
            self._tell(data)
        return bool(data)

    def _tell(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > 1 << 16 or (not data and self._line):
            lines.append(self._line)
            self._line = b""
        for line in lines:
            self._on_output(self.name, _text(line))  # type: ignore[misc]  # asked by the caller

    def flush(self) -> None:
        """Tells the last line, which has no end."""
        if self._on_output is not None:
            self._tell(b"")

    def text(self) -> str:
        """Returns what was kept."""
        return _text(b"".join(self._chunks))


class _Watch:
    """A command from its release to its end: what it reads and writes, and its deadlines."""

    def __init__(
        self,
        process: _Process,
        timeout: float | None,
        on_output: OnOutput | None,
        stop: int | None,
    ) -> None:
        popen = process.popen
        self.reason = ""
        self.outputs = {
            "stdout": _Output("stdout", popen.stdout.fileno(), on_output),  # type: ignore[union-attr]
            "stderr": _Output("stderr", popen.stderr.fileno(), on_output),  # type: ignore[union-attr]
        }
        self._process = process
        self._timeout = timeout
        self._stop = stop
        self._input = memoryview(b"\n" + process.input)
        self._stdin = popen.stdin
        self._poll = select.poll()
        self._open = {output.fd: output for output in self.outputs.values()}
        self._kill_at: float | None = None
        self._ended_at: float | None = None
        self._deadline: float | None = None
        self._pidfd = self._open_pidfd()
        for fd in self._open:
            self._poll.register(fd, select.POLLIN)
        for other in (stop, self._pidfd):
            if other is not None:
                self._poll.register(other, select.POLLIN)

    def _open_pidfd(self) -> int | None:
        try:
            return os.pidfd_open(self._process.group)
        except (AttributeError, OSError):
            return None  # before Python 3.9 or Linux 5.3: the end is looked for in steps

    def follow(self) -> None:
        """Lets the command go and stays with it to its end."""
        if self._stop is not None and _is_readable(self._stop):
            self.reason = "stopped"
            return
        if self._timeout is not None:
            self._deadline = time.monotonic() + self._timeout
        fd = self._stdin.fileno()  # type: ignore[union-attr]
        os.set_blocking(fd, False)
        self._feed(fd)
        if self._stdin is not None:
            self._poll.register(fd, select.POLLOUT)
        while not self._is_over(time.monotonic()):
            for ready, events in self._poll.poll(self._patience()):
                self._handle(ready, events)

    def _handle(self, ready: int, events: int) -> None:
        output = self._open.get(ready)
        if output is not None:
            if not output.read():
                self._poll.unregister(ready)
                del self._open[ready]
        elif ready == self._stop:
            self._poll.unregister(ready)
            self._end("stopped")
        elif ready == self._pidfd:
            self._poll.unregister(ready)
        else:
            if events & select.POLLERR:
                self._input = self._input[len(self._input) :]
            self._feed(ready)
            if self._stdin is None:
                self._poll.unregister(ready)

    def _feed(self, fd: int) -> None:
        """Writes as much of the input as fits; closes it when all is written or not wanted."""
        try:
            if self._input:
                self._input = self._input[os.write(fd, self._input[: 1 << 16]) :]
        except BlockingIOError:
            return
        except OSError:
            self._input = self._input[len(self._input) :]
        if not self._input and self._stdin is not None:
            self._stdin.close()
            self._stdin = None

    def _patience(self) -> float:
        """Returns how many milliseconds may pass before something has to be looked at."""
        now = time.monotonic()
        moments = [self._deadline, self._kill_at]
        if self._ended_at is not None:
            moments.append(self._ended_at + LINGER)
        waits = [max(0.0, moment - now) for moment in moments if moment is not None]
        if self._pidfd is None or self._kill_at is not None:
            waits.append(0.02)
        return min(waits) * 1000 + 1 if waits else -1

    def _is_over(self, now: float) -> bool:
        if self._ended_at is None and self._process.has_ended():
            self._ended_at = now
            self._deadline = None
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._end("timeout")
        if self._kill_at is not None:
            return self._is_put_down(now)
        return self._ended_at is not None and (not self._open or now >= self._ended_at + LINGER)

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self._kill_at is None:
            self._kill_at = time.monotonic() + TERM_GRACE
            self._process.signal(signal.SIGTERM)
            self._process.signal(signal.SIGCONT)

    def _is_put_down(self, now: float) -> bool:
        """Whether all of the group are gone, or had their time and were killed."""
        if self._ended_at is not None and not _group_lives(self._process.group):
            return True
        if self._kill_at is not None and now >= self._kill_at:
            self._process.signal(signal.SIGKILL)
            # A process in an uninterruptible wait does not even end by that; we cannot stay.
            return self._ended_at is not None or now >= self._kill_at + TERM_GRACE
        return False

    def close(self) -> None:
        """Reaps the command; one that is still held or was abandoned is killed first."""
        process = self._process
        if self._ended_at is None and not process.has_ended():
            process.signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(TERM_GRACE)
        for output in self.outputs.values():
            output.flush()
        for stream in (self._stdin, process.popen.stdout, process.popen.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


# Processes --------------------------------------------------------------------------------


def boot_id() -> str:
    """Returns what names this boot of the machine; process numbers mean nothing across two."""
    return (_lines("/proc/sys/kernel/random/boot_id") or [""])[0]


def process_alive(process_group: int, start_time: int, boot: str) -> bool:
    """Whether a process group of ``run`` still has processes, its leader or others."""
    if boot != boot_id():
        return False
    leader = _process_stat(process_group)
    # While a group has members the kernel gives its number to no one else.
    if leader is not None and leader[3] != start_time:
        return False
    return _group_lives(process_group)


def _start_time(pid: int) -> int:
    found = _process_stat(pid)
    return 0 if found is None else found[3]


def _process_stat(pid: int) -> tuple[str, int, int, int] | None:
    """Returns the state, group, session and start time of a process; proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return _text(fields[0]), int(fields[2]), int(fields[3]), int(fields[19])


def _group_lives(group: int) -> bool:
    """Whether the process group has a member that has not ended."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            found = _process_stat(int(name))
            if found is not None and found[1] == group and found[0] not in ("Z", "X"):
                return True
    return False


def connect(names: Names, host: str, port: int, timeout: float = 5.0) -> str | None:
    """Returns None when a TCP port can be connected to, otherwise why not; sends nothing."""
    try:
        with socket.create_connection((host, port), timeout):
            return None
    except socket.timeout:  # noqa: UP041 - another class than TimeoutError before Python 3.10
        return f"no answer within {timeout:g} s"
    except OSError as error:
        return error.strerror or str(error)


def get(names: Names, url: str, timeout: float = 5.0, limit: int = CHUNK) -> dict[str, Any]:
    """Asks for a page: its status, reason and the first ``limit`` bytes of its body.

    Redirects are answers, not followed. The status is None where there was no answer, and
    the reason then says why.
    """
    import http.client
    import urllib.error
    import urllib.request

    plain = (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.UnknownHandler,
    )
    opener = urllib.request.OpenerDirector()
    for handler in plain:
        opener.add_handler(handler())
    request = urllib.request.Request(  # noqa: S310  (the opener knows http and https only)
        url, headers={"User-Agent": "sloth-runner"}
    )
    try:
        with opener.open(request, timeout=timeout) as response:
            body = _text(response.read(limit))
            return {"status": response.status, "reason": response.reason, "body": body}
    except urllib.error.URLError as error:
        return {"status": None, "reason": str(error.reason), "body": ""}
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"status": None, "reason": str(error) or type(error).__name__, "body": ""}


def resolve(names: Names, path: str) -> str:
    """Returns where a path leads when every link in it is followed, whether or not it exists."""
    return _text(os.path.realpath(_path(path)))


def rehearse_verb(names: Names, verb: str, arguments: Mapping[str, Any]) -> None:
    """Refuses what a writing verb refuses of its place, by what is there now; writes nothing.

    A directory that is missing may have been made by then, and so may an account. Of a verb
    that is not among ``REHEARSED`` nothing can be said.
    """
    if verb not in REHEARSED:
        return
    try:
        _VERBS[verb](_Expected(), rehearse=True, **arguments)
    except (Refused, OSError, ValueError) as error:
        refused = _refusal(verb, arguments.get("path"), error)
        if refused.errno_name != "ENOENT":
            raise refused from error


class _Expected(Names):
    """Accounts of which those that are missing are still to be made, as nobody's number."""

    def uid(self, name: str | None) -> int | None:
        """Returns the number of a user, or one that nobody has."""
        try:
            return super().uid(name)
        except Refused:
            return NO_ACCOUNT

    def gid(self, name: str | None) -> int | None:
        """Returns the number of a group, or one that none has."""
        try:
            return super().gid(name)
        except Refused:
            return NO_ACCOUNT


_VERBS: dict[str, Callable[..., Any]] = {
    "stat": stat_path,
    "rehearse": rehearse_verb,
    "resolve": resolve,
    "read": read_file,
    "list": list_directory,
    "walk": walk_tree,
    "members": archive_members,
    "accounts": accounts,
    "facts": facts,
    "write": write_file,
    "mkdir": make_directory,
    "symlink": make_symlink,
    "remove": remove,
    "attributes": set_attributes,
    "attributes_tree": set_attributes_tree,
    "hand_over": hand_over,
    "unpack": unpack_archive,
    "download": download,
    "connect": connect,
    "get": get,
}
