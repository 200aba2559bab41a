"""What was probably meant by a name that nobody knows."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Returns the name of ``known`` that was probably meant, or None; see ``alike``."""
    return next(iter(alike(name, known, cutoff=cutoff, count=1)), None)


def alike(name: str, known: Iterable[str], *, cutoff: float, count: int) -> list[str]:
    """Returns up to ``count`` names of ``known`` that look like ``name``, nearest first.

    ``cutoff`` is how alike they have to be, from 0 to 1 (``difflib.get_close_matches``).
    """
    import difflib  # only a mistake needs it, and most runs have none

    return difflib.get_close_matches(name, list(known), n=count, cutoff=cutoff)
