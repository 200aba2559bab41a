"""Files of the record: private ones only, and on the disk when a call has returned."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sloth_runner.core.address import escaped
from sloth_runner.core.errors import RecordError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_folder(folder: str) -> None:
    """Makes a folder and its missing parents, all of them 0700 whatever the umask, and synced."""
    if Path(folder).is_dir():
        return
    parent = str(Path(folder).parent)
    make_folder(parent)
    try:
        Path(folder).mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        return
    sync_folder(parent)


def check_own(path: str, *, private: bool = False) -> None:
    """Raises RecordError for what another account has put there, or (``private``) can read.

    Whoever owns a record can have whoever uses it do things; root is trusted by everybody.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    trusted = found.st_uid in (0, os.geteuid())
    if stat.S_ISLNK(found.st_mode) or not trusted:
        what = "is a symbolic link" if trusted else f"belongs to the account {found.st_uid}"
        raise RecordError(
            f"{escaped(path)} {what}, so it is not used",
            hint="a record belongs to the account that uses it, or to root: look who made it",
        )
    if private and found.st_mode & 0o077:
        raise RecordError(
            f"others may read {escaped(path)}",
            hint=f"if nobody has seen it yet: chmod 600 {escaped(path)}",
        )


def sync_folder(folder: str) -> None:
    """Makes the names in a folder durable."""
    with descriptor(folder, os.O_RDONLY | os.O_DIRECTORY) as number:
        os.fsync(number)


@contextmanager
def descriptor(path: str, flags: int, mode: int = PRIVATE_FILE) -> Iterator[int]:
    """Opens a file that no child inherits, for the time of the block."""
    number = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        yield number
    finally:
        os.close(number)


def write_all(number: int, data: bytes) -> None:
    """Writes all of ``data``, however little the kernel takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]
