"""What must hold before a path is removed, whatever its type."""

import re
from collections.abc import Mapping

from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.host import FileStat, Host
from sloth_runner.core.values import State, raw, text
from sloth_runner.resources import _files

_TOP = "bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var"
_BELOW = {
    "/usr": "bin games include lib lib32 lib64 libexec local sbin share src",
    "/var": "cache lib local log mail opt run spool tmp",
}
SYSTEM = frozenset(
    [
        "/",
        *(f"/{name}" for name in _TOP.split()),
        *(f"{above}/{name}" for above, names in _BELOW.items() for name in names.split()),
    ]
)
"""Directories without which a machine does not work; they are never removed."""


def check_path(path: str) -> None:
    """Raises ParamError for a path that no workflow may remove."""
    if path in SYSTEM:
        raise ParamError(
            f"{path} belongs to the system and is never removed",
            hint="name what is to go inside it",
        )


async def check_removal(host: Host, path: str, *, force: bool) -> None:
    """Raises Refused where removing ``path`` would take more than is meant.

    That is a directory with content (unless ``force``), a mount point or what holds one,
    and a system directory that is reached by another name.
    """
    stat, *system = await host.stats(
        [{"path": path, "follow": False, "digest": False}]
        + [{"path": top, "follow": True, "digest": False} for top in sorted(SYSTEM)],
    )
    if not isinstance(stat, FileStat):
        return
    await check_no_mounts(host, path)
    if stat.kind != "directory":
        return
    if any(isinstance(top, FileStat) and _same(top, stat) for top in system):
        raise Refused(f"{path} is a directory of the system by another name")
    names = await _files.names_in(host, path)
    if names and not force:
        raise _files.not_empty(path, names, "say force = true to remove it with all it contains")


async def check_no_mounts(host: Host, path: str) -> None:
    """Raises Refused where ``path`` is a mount point or holds one (proc(5), mountinfo, field 5)."""
    table = await host.read("/proc/self/mountinfo") or ""
    for line in table.split("\n"):
        at = _plain(line.split(" ")[4]) if line.count(" ") > 4 else ""
        if f"{at}/".startswith(f"{path.rstrip('/')}/"):
            raise Refused(f"{at} is a mount point", hint="unmount it first")


def needs_sealing(actual: State | None) -> bool:
    """Whether what is saved of a removed thing may hold what others may not read."""
    seen: Mapping[str, str] = actual or {}
    return seen.get("kind") == "directory" or _files.is_private(seen.get("mode"))


def _plain(field: str) -> str:
    """Undoes the octal escapes of the kernel, byte by byte."""
    return text(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), raw(field)))


def _same(one: FileStat, other: FileStat) -> bool:
    return (one.device, one.inode) == (other.device, other.inode)
