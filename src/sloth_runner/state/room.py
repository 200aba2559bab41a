"""Room for the shared memory of SQLite, which must not run out once it is in use.

SQLite maps ``<db>-shm`` into memory, after writing one byte of each page of it. A file system whose
blocks are smaller than a page allocates no more than those bytes; and where the disk is full
when another is written, the kernel ends the process (SIGBUS) and nobody is told why.
"""

import contextlib
import errno
import os
from pathlib import Path

from sloth_runner.core.address import escaped
from sloth_runner.core.errors import RecordError

REGION = 32 * 1024
"""Bytes that SQLite maps at once; more only while the log is larger than 16 MiB."""

_OPENING = 64 * 1024
"""Bytes that must be free for SQLite to open a database whose shared memory is not there yet."""


def check_room(path: str) -> None:
    """Raises RecordError where a database cannot be opened, since the disk below it is full."""
    if _allocated(f"{path}-shm") >= REGION:
        return
    found = os.statvfs(Path(path).parent)
    free = found.f_bavail if os.geteuid() else found.f_bfree  # some may be kept for root alone
    if free * found.f_frsize < _OPENING:
        raise _full(path)


def take_room(path: str) -> None:
    """Has all of the shared memory of a database allocated that this process has open.

    Through the descriptor of SQLite itself: closing one of our own would drop the locks that it
    holds on the file (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    name = f"{path}-shm"
    if _allocated(name) >= REGION:
        return
    import ctypes  # os.posix_fallocate writes into the file where the file system cannot do it

    number = _descriptor(name)
    if number is not None:
        libc = ctypes.CDLL(None, use_errno=True)
        start, size = ctypes.c_long(0), ctypes.c_long(REGION)
        if libc.fallocate(number, 0, start, size) and ctypes.get_errno() == errno.ENOSPC:
            raise _full(path)


def _descriptor(path: str) -> int | None:
    """Returns the number by which this process has a file open, or None."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, by another thread
            if str(link.readlink()) == path:
                return int(link.name)
    return None


def _allocated(path: str) -> int:
    try:
        return Path(path).stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _full(path: str) -> RecordError:
    return RecordError(
        f"{escaped(path)} cannot be used: the disk below it is full",
        hint="free some space there; nothing that was recorded is lost",
    )
