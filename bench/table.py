"""Prints what was measured: ratios first, then what they were made of."""

from collections.abc import Sequence
from statistics import median

from bench.places import Cost

Row = Sequence[object]


def show(title: str, head: Sequence[str], rows: Sequence[Row]) -> None:
    """Prints a table in Markdown, which is also how ``docs/performance.md`` holds it."""
    table = [[_cell(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    table.insert(1, ["-" * width for width in widths])
    print(f"\n## {title}\n")
    for row in table:
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Returns the median of the ratios of runs that were made side by side."""
    return median(a / b for a, b in zip(of, to, strict=True))


def ms(seconds: Sequence[float]) -> str:
    """Returns the median in milliseconds, and the smallest, which other work disturbs least."""
    return f"{median(seconds) * 1e3:.1f} ({min(seconds) * 1e3:.1f})"


def costs(cost: Cost) -> tuple[str, str, str, int]:
    """Returns the columns that every subject has: wall, CPU, peak, how often."""
    return ms(cost.wall), ms(cost.cpu), f"{max(cost.mb):.0f}", len(cost.wall)


COST_HEAD = ("wall ms (min)", "CPU ms (min)", "peak MB", "n")


def verdict(value: float, limit: float) -> str:
    """Returns whether a target is met."""
    return "met" if value <= limit else "NOT MET"


def _cell(cell: object) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
