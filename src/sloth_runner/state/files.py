"""Files of the record: private ones only, and on the disk when a call has returned."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
