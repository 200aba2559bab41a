"""Tables: aligned columns, cut to the terminal's width and never where there is none."""

from collections.abc import Iterator, Sequence

from sloth_runner.views.text import Line, Look, Span, cells, clean, line, padded, shorten

Cell = str | Span


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    look: Look,
    *,
    right: Sequence[str] = (),
    flexible: str | None = None,
) -> Iterator[Line]:
    """Returns the lines of a table.

    ``right`` are titles of columns aligned to the right. Where the terminal is too narrow,
    the cells of the column ``flexible`` are shortened in their middle.
    """
    shown = [[_span(cell) for cell in row] for row in rows]
    widths = [
        max([cells(title), *(cells(row[index].text) for row in shown)])
        for index, title in enumerate(titles)
    ]
    if look.width is not None and flexible is not None:
        index = titles.index(flexible)
        over = sum(widths) + 2 * len(widths) - 1 - look.width
        if over > 0:
            widths[index] = max(widths[index] - over, min(widths[index], 12))
    head = [Span(title, "dim") for title in titles]
    for row in (head, *shown):
        yield _row(row, titles, widths, right, look)


def _row(
    row: Sequence[Span],
    titles: Sequence[str],
    widths: Sequence[int],
    right: Sequence[str],
    look: Look,
) -> Line:
    spans = [Span(" ")]
    for index, (span, title, width) in enumerate(zip(row, titles, widths, strict=True)):
        text = shorten(span.text, width, look)
        last = index == len(row) - 1
        if title in right:
            text = " " * (width - cells(text)) + text
        elif not last:
            text = padded(text, width)
        spans.append(Span(text, span.style))
        if not last:
            spans.append(Span("  "))
    return line(*spans)


def _span(cell: Cell) -> Span:
    return Span(clean(cell.text), cell.style) if isinstance(cell, Span) else Span(clean(cell))
