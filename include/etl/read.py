"""Reads a weekly file in blocks of typed rows and refuses one that is damaged or of another form.

A row's number is its line in the file, the header being line 1. Values that cannot be parsed come out as null; what
that means is for the rules to say.
"""

import csv
import io
import re
import zlib
from collections.abc import Collection, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, Final

import polars as pl

from include.etl.ahead import ahead
from include.etl.columns import HEADERS, RAW
from include.etl.errors import RawFileError

BLOCK_BYTES: Final = 12 << 20
_PACKED_BYTES: Final = 1 << 18
_UNPACKED_BYTES: Final = 1 << 20
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
    names = tuple(_text(path, line, 1).rstrip("\r\n").replace('"', "").split(","))
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


def read(path: Path) -> Iterator[pl.DataFrame]:
    """The file's rows, some 90,000 at a time: the columns of RAW and `row` (Int64).

    RawFileError names the file and row of the first damage.
    """
    empty = True
    for row, count, text in ahead(_blocks(path)):
        rows = pl.read_csv(
            _FIRST_LINE + text,
            has_header=False,
            schema=RAW | {_EXTRA: pl.String},
            ignore_errors=True,
            truncate_ragged_lines=True,
            null_values="",
        ).slice(1)
        odd = pl.col(_EXTRA).is_not_null() | pl.col("STORE_REGION").is_null()
        if rows.height != count or rows.select(odd.any()).item():
            _refuse_ragged(path, text, row)
        rows = rows.drop(_EXTRA).with_columns(row=pl.int_range(row, row + count, dtype=pl.Int64))
        if rows["BASKET_ID"].null_count():
            _refuse_mangled(path, text, row, rows.filter(pl.col("BASKET_ID").is_null())["row"].to_list())
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


def _blocks(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """The file in blocks of whole lines: the first one's number, how many there are, their text.

    Without the header and without blank lines at the file's end; each block ends with a newline and is UTF-8.
    """
    row, rest = 2, b""
    with _open(path) as file:
        _guarded(path, file.readline)
        while data := _guarded(path, lambda: file.read(BLOCK_BYTES)):
            data = rest + data
            last = data.find(b"\n", len(data.rstrip(b"\r\n"))) if data.endswith(b"\n") else data.rfind(b"\n")
            text, rest = data[: last + 1], data[last + 1 :]
            if text.strip():
                _text(path, text, row)
                count = text.count(b"\n")
                yield row, count, text
                row += count
    if rest.strip():
        _text(path, rest, row)
        yield row, rest.count(b"\n") + 1, rest + b"\n"


class _Gzip(io.RawIOBase):
    """What a gzip file unpacks to, of one member or several; gzip.GzipFile takes twice the time.

    zlib holds the checksums against the content.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._packed = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._packed = self._packed or self._file.read(_PACKED_BYTES)
            if not self._packed and (self._member.eof or not self._file.tell()):
                return 0
            if not self._packed:
                raise EOFError("it ends before its end-of-stream marker")
            if self._member.eof:
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            data = self._member.decompress(self._packed, len(buffer))
            self._packed = self._member.unconsumed_tail or self._member.unused_data
            if data:
                buffer[: len(data)] = data
                return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(path: Path) -> IO[bytes]:
    return io.BufferedReader(_Gzip(path), _UNPACKED_BYTES) if path.suffix == ".gz" else path.open("rb")


def _guarded(path: Path, reading):
    try:
        return reading()
    except (EOFError, zlib.error) as error:
        raise RawFileError(f"{path.name} is truncated or damaged ({error}): land the week's file again") from error


def _text(path: Path, data: bytes, row: int) -> str:
    """Decoded; RawFileError names the row of the first byte that is not UTF-8."""
    if data.isascii():
        return "" if row > 1 else data.decode()
    try:
        return data.decode()
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
