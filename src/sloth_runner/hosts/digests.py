"""Remembers the SHA-256 of files, so that an unchanged file is not read again."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sloth_runner.core.host import Request
from sloth_runner.core.record import Digest


class Digests:
    """The digests of one host: those that the record knew, and those that are new.

    ``rehash`` believes none. Safe to use from several threads.
    """

    def __init__(self, known: Mapping[str, Digest], *, rehash: bool = False) -> None:
        self._known: Mapping[str, Digest] = {} if rehash else known
        self._believe_new = not rehash
        self._new: dict[str, Digest] = {}

    def new(self) -> dict[str, Digest]:
        """Returns what was hashed since the start, by path."""
        return dict(self._new)

    def requests(self, requests: Iterable[Request]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields ``requests`` with what is known added where a digest is asked for."""
        for request in requests:
            verb, arguments = request
            if verb == "stat" and arguments.get("digest"):
                known = self._find(arguments["path"])
                if known is not None:
                    arguments = {**arguments, "known": known}
            yield verb, arguments

    def _find(self, path: str) -> Digest | None:
        digest = self._new.get(path) if self._believe_new else None
        return digest or self._known.get(path)

    def learn(self, path: str, answer: Any) -> None:
        """Takes note of a new digest in the answer to a ``stat``, and leaves a plain stat."""
        hashed_at = answer.pop("hashed_at_ns", None) if isinstance(answer, dict) else None
        if hashed_at is not None:
            self._new[path] = Digest(
                size=answer["size"],
                mtime_ns=answer["mtime_ns"],
                ctime_ns=answer["ctime_ns"],
                inode=answer["inode"],
                sha256=answer["sha256"],
                hashed_at_ns=hashed_at,
            )
