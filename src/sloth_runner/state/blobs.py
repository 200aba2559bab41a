"""Blobs: saved contents of files, named by what they hold, durable before anything names them.

They are put inside the transaction that names them (see ``collect``).

A blob lies at ``<db>.d/blobs/ab/KEY``. The key of a plain one is the SHA-256 of its content;
that of a sealed one is an HMAC, so that the name does not tell what is inside, and ends in
``.sealed``.
"""

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from sloth_runner.core import values
from sloth_runner.core.address import escaped
from sloth_runner.core.errors import RecordError
from sloth_runner.core.schema import Content
from sloth_runner.state.failures import explaining_files
from sloth_runner.state.files import PRIVATE_FILE, descriptor, make_folder, sync_folder
from sloth_runner.state.keys import Sealer
from sloth_runner.state.processes import start_time

if TYPE_CHECKING:
    from sloth_runner.state.store import Store

_PLAIN = re.compile(r"[0-9a-f]{64}")
_SEALED = re.compile(r"[0-9a-f]{64}\.sealed")
_KEY = re.compile(r"[0-9a-f]{64}(?:\.sealed)?")
_PIECE = 1024 * 1024


class Blobs:
    """The blobs of one database; ``folder`` is ``<db>.d``. Safe for any number of processes."""

    def __init__(self, folder: str) -> None:
        self._blobs = str(Path(folder) / "blobs")
        self._tmp = str(Path(folder) / "tmp")

    def put(self, data: str | bytes) -> str:
        """Keeps ``data`` and returns its key."""
        return self.put_many([data])[0]

    def put_many(self, data: Iterable[str | bytes]) -> list[str]:
        """Keeps each of ``data`` and returns the keys; folders are synced once for all."""
        ready = []
        for item in data:
            body = values.raw(item) if isinstance(item, str) else item
            with self._partial() as (file, path):
                file.write(body)
                _sync(file)
            ready.append((path, hashlib.sha256(body).hexdigest()))
        self._publish(ready)
        return [key for _, key in ready]

    def put_file(self, path: str) -> str:
        """Keeps the content of a file, of any size, and returns its key.

        A file in our own ``scratch`` folder is moved, any other is copied; links are
        followed, since it is the user's own file that the path leads to.
        """
        with explaining_files(self._blobs):
            if str(Path(path).parent) == self._tmp:
                with descriptor(path, os.O_RDONLY | os.O_NOFOLLOW) as number:
                    os.fchmod(number, PRIVATE_FILE)
                    with os.fdopen(number, "rb", closefd=False) as file:
                        key = _hash(file)
                    os.fsync(number)
                self._publish([(path, key)])
                return key
        key, copy = self._copied(path)
        self._publish([(copy, key)])
        return key

    def put_sealed(self, data: str | bytes, sealer: Sealer) -> str:
        """Keeps ``data`` encrypted and returns its key; equal data has an equal key."""
        body = values.raw(data) if isinstance(data, str) else data
        return self._seal(io.BytesIO(body), hashlib.sha256(body).hexdigest(), sealer)

    def put_sealed_file(self, path: str, sealer: Sealer) -> str:
        """Keeps the content of a file encrypted and returns its key; the file stays."""
        with (
            descriptor(path, os.O_RDONLY) as number,
            os.fdopen(number, "rb", closefd=False) as source,
        ):
            sha256 = _hash(source)
            source.seek(0)
            key = self._seal(source, sha256, sealer)
        # The file may have changed between the two looks; reading back finds out.
        self.open(key, sealer).close()
        return key

    def put_as(self, key: str, body: bytes) -> None:
        """Keeps the bytes of a blob as another record holds them, under the key it has there.

        Raises ValueError for an impossible key and for a plain blob that its bytes belie.
        """
        target = self.path(key)
        if _PLAIN.fullmatch(key) and hashlib.sha256(body).hexdigest() != key:
            raise ValueError(f"the bytes of blob {key} are not its own")
        if Path(target).exists():
            return
        with self._partial() as (file, path):
            file.write(body)
            _sync(file)
        self._publish([(path, key)])

    @staticmethod
    def is_key(key: str) -> bool:
        """Whether a text can be the key of a blob."""
        return bool(_PLAIN.fullmatch(key) or _SEALED.fullmatch(key))

    def path(self, key: str) -> str:
        """Returns where a blob lies; a sealed one is encrypted there."""
        if not self.is_key(key):
            raise ValueError(f"{key!r} is not the key of a blob")
        return str(Path(self._blobs) / key[:2] / key)

    def exists(self, key: str) -> bool:
        """Whether a blob is there."""
        return Path(self.path(key)).exists()

    def open(self, key: str, sealer: Sealer | None = None) -> BinaryIO:
        """Opens a blob for reading, after its whole content has been checked against its key.

        A sealed one needs its sealer and is decrypted into a file without a name. Raises
        RecordError when the blob is missing or damaged.
        """
        file = self._opened(key)
        try:
            if not _SEALED.fullmatch(key):
                found = _hash(file)
            else:
                if sealer is None:
                    raise ValueError(f"the blob {key} is sealed, and there is no sealer")
                with file as encrypted:
                    file = self._nameless()
                    sealer.decrypt_file(encrypted, file)
                file.seek(0)
                found = f"{sealer.blob_key(_hash(file))}.sealed"
            if found != key:
                raise RecordError(
                    f"the saved copy {escaped(self.path(key))} is damaged",
                    hint="what it would bring back cannot be undone by sloth-runner any more",
                )
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def read(self, key: str, sealer: Sealer | None = None) -> str:
        """Returns the content of a blob as text; raises RecordError as ``open`` does."""
        with self.open(key, sealer) as file:
            return values.text(file.read())

    def content(self, key: str, sealer: Sealer | None = None) -> Content:
        """Returns a blob as Content: a sealed one in memory, a plain one by its path."""
        if _SEALED.fullmatch(key):
            return Content.of(self.read(key, sealer))
        with self.open(key) as file:
            size = os.fstat(file.fileno()).st_size
        return Content(sha256=key, size=size, path=self.path(key))

    def scratch(self) -> str:
        """Returns the path of a new, empty, private file that ``put_file`` can move into place."""
        with self._partial() as (_, path):
            return path

    def clean(self) -> int:
        """Removes what dead processes left unfinished and returns how many files that were."""
        removed = 0
        for file in _files(self._tmp):
            pid, _, rest = file.name.partition("-")
            started = rest.partition("-")[0]
            if pid.isdigit() and str(start_time(int(pid))) != started:
                file.unlink(missing_ok=True)
                removed += 1
        return removed

    def collect(self, store: "Store") -> int:
        """Removes blobs that nothing in the record names and returns how many that were.

        Called in a transaction that writes: then no other process is between putting a blob
        and naming it, and what a killed one has put stays unnamed. Nor may the transaction
        take a name away, for it may yet be undone.
        """
        store.note_unnamed_blobs(False)
        kept = [file for folder in _files(self._blobs) for file in _files(str(folder))]
        named: set[str] = set()
        if kept:
            named.update(key for text in store.texts_with_blobs() for key in _KEY.findall(text))
        unnamed = [file for file in kept if file.name not in named]
        with explaining_files(self._blobs):
            for file in unnamed:
                file.unlink(missing_ok=True)
        return len(unnamed)

    def _copied(self, path: str) -> tuple[str, str]:
        digest = hashlib.sha256()
        with (
            descriptor(path, os.O_RDONLY) as number,
            self._partial() as (file, copy),
        ):
            while piece := os.read(number, _PIECE):
                digest.update(piece)
                file.write(piece)
            _sync(file)
        return digest.hexdigest(), copy

    def _seal(self, source: BinaryIO, sha256: str, sealer: Sealer) -> str:
        key = f"{sealer.blob_key(sha256)}.sealed"
        with self._partial() as (file, path):
            sealer.encrypt_file(source, file)
            _sync(file)
        self._publish([(path, key)])
        return key

    def _publish(self, ready: list[tuple[str, str]]) -> None:
        """Moves finished files into place; always, so that a damaged blob is mended by it."""
        with explaining_files(self._blobs):
            targets = [(path, self.path(key)) for path, key in ready]
            folders = {str(Path(target).parent) for _, target in targets}
            for folder in folders:
                make_folder(folder)
            for path, target in targets:
                Path(path).rename(target)
            for folder in folders:
                sync_folder(folder)

    def _opened(self, key: str) -> BinaryIO:
        path = self.path(key)
        try:
            return Path(path).open("rb")
        except OSError as error:
            raise RecordError(
                f"the saved copy {escaped(path)} cannot be read: {error.strerror}",
                hint="restore the .d folder of the record from a backup",
            ) from error

    @contextmanager
    def _partial(self) -> Iterator[tuple[BinaryIO, str]]:
        """Opens a new file in our tmp folder; its name says whose it is."""
        with explaining_files(self._tmp):
            make_folder(self._tmp)
            pid = os.getpid()
            name = f"{pid}-{start_time(pid)}-{os.urandom(8).hex()}"
            path = str(Path(self._tmp) / name)
            number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, PRIVATE_FILE)
            try:
                with os.fdopen(number, "w+b") as file:
                    yield file, path
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise

    def _nameless(self) -> BinaryIO:
        import tempfile  # and with it five more modules, which few runs need

        with explaining_files(self._tmp):
            make_folder(self._tmp)
            return cast(BinaryIO, tempfile.TemporaryFile(dir=self._tmp))


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _files(folder: str) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return list(Path(folder).iterdir())
    return []
