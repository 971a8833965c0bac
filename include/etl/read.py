"""Reads a weekly file in blocks of typed rows and refuses one that is damaged or of another form.

A row's number is its line in the file, the header being line 1. Values that cannot be parsed come out as null; what
that means is for the rules to say.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from gzip import BadGzipFile
from itertools import zip_longest
from pathlib import Path
from typing import IO, Final

import numpy as np
import polars as pl
from isal import igzip
from isal.igzip_lib import IsalError

from include.etl.columns import HEADERS, RAW
from include.etl.errors import RawFileError
from include.etl.prefetch import ahead

BLOCK_BYTES: Final = 12 << 20
_BOM: Final = b"\xef\xbb\xbf"
_EXTRA: Final = "a field too many"
_FIRST_LINE: Final = b"," * len(RAW) + b"\n"
"""Put before every block: polars takes the number of columns, one more than allowed, from the first line."""
_SCIENTIFIC: Final = re.compile(r"\d[.\d]*[eE][+-]?\d+|\d+\.\d*")


def raw_file(folder: Path) -> Path:
    """The one weekly file of a folder."""
    known = {"transactions.csv", "transactions.csv.gz"}
    found = sorted(path for path in folder.rglob("*") if path.name in known)
    if len(found) != 1:
        raise RawFileError(
            f"{folder} must hold one of {' and '.join(sorted(known))}, it holds "
            f"{', '.join(path.name for path in found) or 'neither'}"
        )
    return found[0]


def header_variant(path: Path) -> str:
    """The variant of a file's header, a key of HEADERS; RawFileError when it is neither."""
    with _open(path) as file:
        line = _guarded(path, lambda: file.readline(1 << 16)).removeprefix(_BOM)
    if not line.strip():
        raise RawFileError(f"{path.name} is empty: land the week's file again")
    _check_text(path, line, 1)
    names = tuple(line.decode().rstrip("\r\n").replace('"', "").split(","))
    for variant, expected in HEADERS.items():
        if names == expected:
            return variant
    closest = min(HEADERS.values(), key=lambda expected: len(set(expected) ^ set(names)))
    wrong = [
        f"column {place + 1} is {name or 'missing'}, expected {wanted or 'no more columns'}"
        for place, (name, wanted) in enumerate(zip_longest(names, closest, fillvalue=""))
        if name != wanted
    ]
    raise RawFileError(
        f"{path.name} row 1: not the header of a weekly file ({'; '.join(wrong[:3])}). It has {len(RAW)} columns in a "
        f"fixed order, the customer's segment being either {' or '.join(HEADERS)}"
    )


def read(path: Path, text_types: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """The file's rows, some 90,000 at a time: the columns of RAW, text as text_types say, and `row` (Int64).

    RawFileError names the file and row of the first damage.
    """
    schema = RAW | dict(text_types) | {_EXTRA: pl.String}
    empty = True
    for row, count, text in ahead(_blocks(path, _FIRST_LINE)):
        rows = pl.read_csv(
            text,
            has_header=False,
            schema=schema,
            ignore_errors=True,
            truncate_ragged_lines=True,
            null_values="",
        ).slice(1)
        odd = pl.col(_EXTRA).is_not_null() | pl.col("STORE_REGION").is_null()
        if rows.height != count or rows.select(odd.any()).item():
            _refuse_ragged(path, text.removeprefix(_FIRST_LINE), row)
        rows = rows.drop(_EXTRA).with_columns(row=pl.int_range(row, row + count, dtype=pl.Int64))
        if rows["BASKET_ID"].null_count():
            lost = rows.filter(pl.col("BASKET_ID").is_null())["row"].to_list()
            _refuse_mangled(path, text.removeprefix(_FIRST_LINE), row, lost)
        yield rows
        empty = False
    if empty:
        raise RawFileError(f"{path.name} has a header and no rows: land the week's file again")


def lines_at(path: Path, rows: Collection[int]) -> dict[int, str]:
    """The text of some rows, by number."""
    wanted, found = set(rows), {}
    for row, count, text in _blocks(path):
        here = [number for number in wanted if row <= number < row + count]
        if here:
            lines = text.split(b"\n")
            found.update({number: lines[number - row].rstrip(b"\r").decode() for number in here})
    return found


def field(line: str, column: str) -> str:
    """One column's text of a row."""
    return next(csv.reader([line]))[list(RAW).index(column)]


def _blocks(path: Path, before: bytes = b"") -> Iterator[tuple[int, int, bytes]]:
    """The file in blocks of whole lines: the first one's number, how many there are, their text.

    Without the header and without blank lines at the file's end; each block ends with a newline and is UTF-8.
    before: a line to begin every block with; it is not counted.
    """
    row, rest = 2, b""
    with _open(path) as file:
        _guarded(path, file.readline)
        while data := _guarded(path, lambda: file.read(BLOCK_BYTES)):
            end = _last_newline(data) + 1
            blank = data.isspace() and not rest.strip()
            text = b"".join((before, rest, memoryview(data)[:end]))
            rest = data[end:] if end else rest + data
            if end and not blank:
                count = _checked(path, text, row, before)
                yield row, count, text
                row += count
    if rest.strip():
        text = before + rest + b"\n"
        yield row, _checked(path, text, row, before), text


def _last_newline(data: bytes) -> int:
    """Where the last line that is not blank ends; -1 when no line ends."""
    end = len(data)
    while end and data[end - 1] in b"\r\n":
        end -= 1
    found = data.find(b"\n", end)
    return found if found >= 0 else data.rfind(b"\n")


def _checked(path: Path, text: bytes, row: int, before: bytes) -> int:
    """How many lines a block has, all of them UTF-8."""
    own = before.count(b"\n")
    _check_text(path, text, row - own)
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n"))) - own


def _open(path: Path) -> IO[bytes]:
    return igzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _guarded(path: Path, reading):
    try:
        return reading()
    except (EOFError, BadGzipFile, IsalError) as error:  # type: ignore[misc]  # its stub takes the class for an instance
        raise RawFileError(f"{path.name} is truncated or damaged ({error}): land the week's file again") from error


def _check_text(path: Path, data: bytes, row: int) -> None:
    """RawFileError names the row of the first byte that is not UTF-8; row: number of the first line."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        at = row + data.count(b"\n", 0, error.start)
        raise RawFileError(
            f"{path.name} row {at}: byte {data[error.start]:#04x} is not UTF-8: save the file as UTF-8"
        ) from error


def _refuse_ragged(path: Path, text: bytes, row: int) -> None:
    for number, line in enumerate(text.decode().splitlines(), row):
        fields = next(csv.reader([line]), [])
        if len(fields) != len(RAW) or line.count('"') % 2:
            raise RawFileError(
                f"{path.name} row {number}: {len(fields)} fields instead of {len(RAW)}: the file is damaged, or a "
                "value holds a comma or line end without quotes"
            )


def _refuse_mangled(path: Path, text: bytes, row: int, suspects: list[int]) -> None:
    lines = text.split(b"\n")
    for number in suspects:
        value = field(lines[number - row].decode(), "BASKET_ID")
        if _SCIENTIFIC.fullmatch(value.strip()):
            raise RawFileError(
                f"{path.name} row {number}: BASKET_ID {value} is a rounded number: a spreadsheet saved this file and "
                "the ids are lost. Use the file as it was published"
            )
