"""The one table printer: Markdown that is readable as plain text, too."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

Cell = str | int | float


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, align: str = "") -> str:
    """Return a Markdown table; align: a letter for each column, l(eft) or r(ight); all left by default.

    Integers get thousands separators, other numbers four decimals.
    """
    alignment = ["right" if letter == "r" else "left" for letter in align or "l" * len(header)]
    cells = [[_text(cell) for cell in row] for row in rows]
    return str(tabulate(cells, headers=list(header), tablefmt="pipe", colalign=alignment, disable_numparse=True))


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return " ".join(cell.splitlines())  # a row is one line
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.4f}"
