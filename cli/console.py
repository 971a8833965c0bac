"""What commands print on: one console, one kind of table."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(highlight=False)


def print_error(source: str, message: str) -> None:
    """Print an error on stderr, with the name of what failed before it."""
    stderr = Console(stderr=True, highlight=False)
    stderr.print(f"[red]{source}:[/] {escape(message)}")


def print_table(rows: Iterable[Sequence[str]], headings: Sequence[str] = (), title: str | None = None) -> None:
    """Print rows of cells, which may have rich's markup; nothing when there are no rows. A title brings a frame."""
    frame = box.ROUNDED if title else None
    table = Table(*headings, title=title, show_header=bool(headings), header_style="dim", box=frame)
    for row in rows:
        table.add_row(*row)
    if table.rows:
        console.print(table)
