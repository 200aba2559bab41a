"""Paths as texts: pure, no file is looked at."""

from collections.abc import Iterator


def upwards(path: str) -> Iterator[str]:
    """Yields ``path`` and every folder above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is in ``folder``, at any depth, and not the folder itself."""
    return path.startswith(folder.rstrip("/") + "/") and path != "/"
