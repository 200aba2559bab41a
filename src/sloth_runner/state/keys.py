"""The key of a database: what seals sensitive values, so that the record never holds them.

A value is either replaced by its HMAC (equal values can be recognised, nothing can be read)
or encrypted (it can be read back with the key). The key is 32 random bytes in ``<db>.d/key``,
made when something is sealed for the first time; each use has a key of its own derived
from it, so that no output of one use says anything about another.
"""

import base64
import binascii
import functools
import hmac
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sloth_runner.core import values
from sloth_runner.core.address import escaped
from sloth_runner.core.errors import RecordError
from sloth_runner.core.values import Value
from sloth_runner.state.files import check_own, descriptor, make_folder, sync_folder, write_all

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_FILE = re.compile(r"sloth-runner-key-1:([0-9a-f]{64})\n?")
_SEALED = re.compile(r"sealed:1:([0-9a-f]{16}):([A-Za-z0-9+/=]+)")
_MAGIC = b"sloth-runner sealed file 1\n"
_NONCE = 12  # Bytes, as AES-GCM wants them (NIST SP 800-38D, 8.2).
_TAG = 16
_CHUNK = 1024 * 1024


class Sealer:
    """Seals values with the key in a folder; the key is read, or made, when it is first used."""

    def __init__(self, folder: str, *, expected: str | None = None) -> None:
        self._folder = folder
        self._path = str(Path(folder) / "key")
        self._expected = expected

    @classmethod
    def load(cls, folder: str, *, expected: str | None = None) -> "Sealer":
        """Returns the sealer of ``<db>.d``.

        ``expected`` is the ``key_id`` that the record was sealed with, where it is known: then
        a missing key is not made anew and another one is refused, both with a RecordError.
        """
        return cls(folder, expected=expected)

    def check(self) -> None:
        """Raises RecordError where the record was sealed with a key that is not there."""
        if self._expected is not None:
            self.key_id  # noqa: B018 - reading it is the check

    @property
    def in_use(self) -> bool:
        """Whether the key was needed so far: read, or made."""
        return "_key" in self.__dict__

    @property
    def key_id(self) -> str:
        """The name of the key: 16 hexadecimal digits that say nothing about it."""
        return self._derived("id").hex()[:16]

    def hmac(self, value: Value) -> str:
        """Returns "hmac:" and the HMAC-SHA-256 of the canonical JSON of a value."""
        return "hmac:" + self._mac("value", values.raw(values.encode(value))).hex()

    def blob_key(self, sha256: str) -> str:
        """Returns the name for a sealed blob, given the hash of its content: 64 digits."""
        return self._mac("blob", sha256.encode()).hex()

    def encrypt(self, text: str) -> str:
        """Returns ``text`` encrypted and authenticated (AES-256-GCM), as printable text."""
        nonce = os.urandom(_NONCE)
        head = f"sealed:1:{self.key_id}:"
        body = nonce + self._cipher.encrypt(nonce, values.raw(text), head.encode())
        return head + base64.b64encode(body).decode()

    def decrypt(self, sealed: str) -> str:
        """Returns the text that was encrypted; raises RecordError with any other key."""
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise RecordError("a sealed value has been cut or was not written by this program")
        self._check_owner(found[1])
        body = base64.b64decode(found[2])
        head = f"sealed:1:{found[1]}:"
        return values.text(self._opened(body[:_NONCE], body[_NONCE:], head.encode()))

    def encrypt_file(self, source: BinaryIO, target: BinaryIO) -> None:
        """Encrypts a file in pieces of 1 MiB; order, end and every byte are authenticated.

        Each piece has its number and whether it is the last in its nonce, after the STREAM
        construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015), so that a file can neither
        be cut nor be put together anew.
        """
        prefix = os.urandom(_NONCE - 5)
        head = _MAGIC + self.key_id.encode() + prefix
        target.write(head)
        for nonce, piece in _pieces(source, prefix, _CHUNK):
            target.write(self._cipher.encrypt(nonce, piece, head))

    def decrypt_file(self, source: BinaryIO, target: BinaryIO) -> None:
        """Decrypts what ``encrypt_file`` wrote; raises RecordError when anything is amiss."""
        head = source.read(len(_MAGIC) + 16 + _NONCE - 5)
        if not head.startswith(_MAGIC):
            raise RecordError("a sealed file has been cut or was not written by this program")
        self._check_owner(head[len(_MAGIC) : len(_MAGIC) + 16].decode("ascii", "replace"))
        for nonce, piece in _pieces(source, head[len(_MAGIC) + 16 :], _CHUNK + _TAG):
            target.write(self._opened(nonce, piece, head))

    def _opened(self, nonce: bytes, sealed: bytes, head: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, sealed, head)
        except (InvalidTag, ValueError) as error:
            raise RecordError(
                "a sealed value was changed after it was written",
                hint="restore the record, with its .d folder, from a backup",
            ) from error

    def _check_owner(self, key_id: str) -> None:
        if not Path(self._path).exists():
            raise self._missing()
        if key_id != self.key_id:
            raise RecordError(
                f"a value was sealed with the key {escaped(key_id)}, "
                f"and {escaped(self._path)} is the key {self.key_id}",
                hint="put back the key file that belongs to this database",
            )

    def _missing(self) -> RecordError:
        return RecordError(
            f"the key file {escaped(self._path)} is missing, and the record holds sealed values",
            hint="put the file back from a backup; it is the only thing that can read them",
        )

    def _mac(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self._derived(purpose), data, "sha256")

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self._key, b"sloth-runner 1 " + purpose.encode(), "sha256")

    @functools.cached_property
    def _cipher(self) -> "AESGCM":
        # Imported only here: it costs more than everything else a short command loads.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._derived("encrypt"))

    @functools.cached_property
    def _key(self) -> bytes:
        key = self._read()
        if key is None:
            if self._expected is not None:
                raise self._missing()
            self._make()
            key = self._read()
        if key is None:
            raise self._missing()
        found = hmac.digest(key, b"sloth-runner 1 id", "sha256").hex()[:16]
        if self._expected not in (None, found):
            raise RecordError(
                f"{escaped(self._path)} is not the key that this record was sealed with",
                hint="put back the key file that belongs to this database",
                facts={"key": found, "expected": self._expected},
            )
        return key

    def _read(self) -> bytes | None:
        check_own(self._path, private=True)
        try:
            written = Path(self._path).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(
                f"the key file {escaped(self._path)} cannot be read: {error}",
                hint="make it readable for you alone (chmod 600), or put it back from a backup",
            ) from error
        found = _KEY_FILE.fullmatch(written)
        if found is None:
            raise RecordError(
                f"{escaped(self._path)} is no key file of this program",
                hint="put it back from a backup; it is the only thing that can read sealed values",
            )
        return binascii.unhexlify(found[1])

    def _make(self) -> None:
        """Makes the key; when two processes do so at once, both end with the same one."""
        make_folder(self._folder)
        partial = f"{self._path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            with descriptor(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as number:
                write_all(number, f"sloth-runner-key-1:{os.urandom(32).hex()}\n".encode())
                os.fsync(number)
            # A link appears complete or not at all, and never replaces a key that is there.
            with suppress(FileExistsError):
                os.link(partial, self._path)
            sync_folder(self._folder)
        except OSError as error:
            raise RecordError(
                f"the key file {escaped(self._path)} cannot be made: {error.strerror}",
                hint="use a folder that you may write to, with --db PATH or SLOTH_RUNNER_DB",
            ) from error
        finally:
            Path(partial).unlink(missing_ok=True)


def _pieces(source: BinaryIO, prefix: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    number, piece = 0, source.read(size)
    while True:
        following = source.read(size)
        yield prefix + number.to_bytes(4, "big") + (b"\0" if following else b"\1"), piece
        if not following:
            return
        number, piece = number + 1, following
