"""Read a weekly file in blocks of typed rows; refuse a file that is damaged or has an unknown format.

A row's number is its line in the file; the header is line 1. Values that cannot be parsed become null: the rules decide
what that means.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from gzip import BadGzipFile
from itertools import zip_longest
from pathlib import Path
from typing import IO, Final, TypeVar, cast

import numpy as np
import polars as pl
from isal import igzip
from isal.igzip_lib import IsalError

from include.etl.columns import HEADERS, RAW
from include.etl.errors import RawFileError
from include.etl.prefetch import prefetch

BLOCK_BYTES: Final = 12 << 20
_HEADER_BYTES: Final = 1 << 16
_FIRST_DATA_ROW: Final = 2
_BOM: Final = b"\xef\xbb\xbf"
_EXTRA: Final = "a field too many"
_COLUMN_COUNT_LINE: Final = b"," * len(RAW) + b"\n"
"""Precedes every block: polars takes the number of columns, one more than allowed, from the first line."""
_SCIENTIFIC: Final = re.compile(r"\d[.\d]*[eE][+-]?\d+|\d+\.\d*")

T = TypeVar("T")
REPLACE_IT: Final = "put a complete file in its place, then run etl with accept_new_raw"


@dataclass(frozen=True)
class _Block:
    """Whole lines of the file. first_row: number of the first line. rows: number of lines. text: UTF-8, ends with a
    newline; begins with the prefix that `_blocks` was given, which is not counted."""

    first_row: int
    rows: int
    text: bytes


def locate(folder: Path) -> Path:
    """Return the only weekly file below a folder. RawFileError when there is none or more than one."""
    names = {"transactions.csv", "transactions.csv.gz"}
    paths = sorted(path for path in folder.rglob("*") if path.name in names)
    if len(paths) != 1:
        raise RawFileError(
            f"{folder} must hold one of {' and '.join(sorted(names))}, it holds "
            f"{', '.join(path.name for path in paths) or 'neither'}: land exactly one file a week"
        )
    return paths[0]


def header_variant(path: Path) -> str:
    """Return the variant of a file's header, a key of HEADERS. RawFileError when it is another header."""
    with _open(path) as file:
        line = _reading(path, lambda: file.readline(_HEADER_BYTES)).removeprefix(_BOM)
    if not line.strip():
        raise RawFileError(f"{path.name} is empty: {REPLACE_IT}")
    _require_utf8(path, line, 1)
    names = tuple(line.decode().rstrip("\r\n").replace('"', "").split(","))
    for variant, expected in HEADERS.items():
        if names == expected:
            return variant
    closest = min(HEADERS.values(), key=lambda expected: len(set(expected) ^ set(names)))
    differences = [
        f"column {number} is {name or 'missing'}, expected {expected_name or 'no more columns'}"
        for number, (name, expected_name) in enumerate(zip_longest(names, closest, fillvalue=""), 1)
        if name != expected_name
    ]
    raise RawFileError(
        f"{path.name} row 1: not the header of a weekly file ({'; '.join(differences[:3])}). A weekly file has "
        f"{len(RAW)} columns in a fixed order; the customer's two segment columns are either {' or '.join(HEADERS)}. "
        "Use the file as it was published"
    )


def read_rows(path: Path, text_types: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """Yield the file's rows, about 90,000 at a time: the columns of RAW, and `row` (Int64).

    text_types: the type of each text column. RawFileError names the file and the row of the first damage.
    """
    schema = RAW | dict(text_types) | {_EXTRA: pl.String}
    is_empty = True
    for block in prefetch(_blocks(path, _COLUMN_COUNT_LINE)):
        rows = pl.read_csv(
            block.text,
            has_header=False,
            schema=schema,
            ignore_errors=True,
            truncate_ragged_lines=True,
            null_values="",
        ).slice(1)
        text = block.text.removeprefix(_COLUMN_COUNT_LINE)
        is_ragged = pl.col(_EXTRA).is_not_null() | pl.col("STORE_REGION").is_null()
        if rows.height != block.rows or rows.select(is_ragged.any()).item():
            _refuse_ragged_rows(path, text, block.first_row)
        row_numbers = pl.int_range(block.first_row, block.first_row + block.rows, dtype=pl.Int64)
        rows = rows.drop(_EXTRA).with_columns(row=row_numbers)
        if rows["BASKET_ID"].null_count():
            without_id = rows.filter(pl.col("BASKET_ID").is_null())["row"].to_list()
            _refuse_rounded_ids(path, text, block.first_row, without_id)
        yield rows
        is_empty = False
    if is_empty:
        raise RawFileError(f"{path.name} has a header and no rows: {REPLACE_IT}")


def lines_at(path: Path, rows: Collection[int]) -> dict[int, str]:
    """Return the text of some rows, by row number."""
    wanted = set(rows)
    text_of: dict[int, str] = {}
    for block in _blocks(path):
        in_block = [row for row in wanted if block.first_row <= row < block.first_row + block.rows]
        if in_block:
            lines = block.text.split(b"\n")
            text_of.update({row: lines[row - block.first_row].rstrip(b"\r").decode() for row in in_block})
    return text_of


def field_text(line: str, column: str) -> str:
    """Return the text of one column of a row. line: the row's text; column: a name of RAW."""
    return next(csv.reader([line]))[list(RAW).index(column)]


def _blocks(path: Path, prefix: bytes = b"") -> Iterator[_Block]:
    """Yield the file in blocks of about BLOCK_BYTES, without its header and without blank lines at its end.

    prefix: whole lines to begin every block with.
    """
    row = _FIRST_DATA_ROW
    rest = b""
    with _open(path) as file:
        _reading(path, file.readline)
        while data := _reading(path, lambda: file.read(BLOCK_BYTES)):
            end = _last_newline(data) + 1
            is_blank = data.isspace() and not rest.strip()
            text = b"".join((prefix, rest, memoryview(data)[:end]))
            rest = data[end:] if end else rest + data
            if end and not is_blank:
                block = _checked_block(path, text, row, prefix)
                yield block
                row += block.rows
    if rest.strip():
        yield _checked_block(path, prefix + rest + b"\n", row, prefix)


def _last_newline(data: bytes) -> int:
    """Return the position of the newline that ends the last line that is not blank; -1 when no line ends."""
    end = len(data)
    while end and data[end - 1] in b"\r\n":
        end -= 1
    position = data.find(b"\n", end)
    return position if position >= 0 else data.rfind(b"\n")


def _checked_block(path: Path, text: bytes, row: int, prefix: bytes) -> _Block:
    """Return the block of these lines. RawFileError when they are not UTF-8."""
    prefix_lines = prefix.count(b"\n")
    _require_utf8(path, text, row - prefix_lines)
    lines = int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))
    return _Block(row, lines - prefix_lines, text)


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], igzip.open(path))  # type: ignore[no-untyped-call]
    return path.open("rb")


def _reading(path: Path, read: Callable[[], T]) -> T:
    """Return what `read` returns. RawFileError when the compressed file is damaged."""
    try:
        return read()
    except (EOFError, BadGzipFile, IsalError) as error:  # type: ignore[misc]  # its stub takes the class for an instance
        raise RawFileError(f"{path.name} is truncated or damaged ({error}): {REPLACE_IT}") from error


def _require_utf8(path: Path, data: bytes, row: int) -> None:
    """Raise RawFileError for the row of the first byte that is not UTF-8. row: number of the first line of data."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        bad_row = row + data.count(b"\n", 0, error.start)
        raise RawFileError(
            f"{path.name} row {bad_row}: byte {data[error.start]:#04x} is not UTF-8: save the file as UTF-8"
        ) from error


def _refuse_ragged_rows(path: Path, text: bytes, first_row: int) -> None:
    """Raise RawFileError for the first row with another number of fields than RAW."""
    for row, line in enumerate(text.decode().splitlines(), first_row):
        fields = next(csv.reader([line]), [])
        if len(fields) != len(RAW) or line.count('"') % 2:
            raise RawFileError(
                f"{path.name} row {row}: {len(fields)} fields instead of {len(RAW)}: the file is damaged, or a "
                "value holds a comma or a line break without quotes. Correct the file at its source and land it again"
            )


def _refuse_rounded_ids(path: Path, text: bytes, first_row: int, rows: list[int]) -> None:
    """Raise RawFileError for the first of these rows whose BASKET_ID is in scientific or decimal notation."""
    lines = text.split(b"\n")
    for row in rows:
        value = field_text(lines[row - first_row].decode(), "BASKET_ID")
        if _SCIENTIFIC.fullmatch(value.strip()):
            raise RawFileError(
                f"{path.name} row {row}: BASKET_ID {value} is a rounded number: a spreadsheet saved this file and "
                "the ids are lost. Use the file as it was published"
            )
