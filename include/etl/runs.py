"""Sorts more rows than memory holds: sorted runs on disk, read back as ranges of baskets."""

import shutil
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from include.etl.ahead import ahead

ORDER: Final = ("BASKET_ID", "PROD_CODE", "row")
BATCH_ROWS: Final = 2048
RANGE_ROWS: Final = 131_072


@dataclass(frozen=True)
class _Run:
    """first, last: BASKET_ID at both ends of each record batch of the file."""

    path: Path
    first: list[int]
    last: list[int]


class Runs:
    """Rows on disk, below a folder of their own. Text is coded there: a number of four bytes for every value."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._runs: list[_Run] = []
        self._rows = 0
        self._text = pl.Categorical(pl.Categories.random())
        self._coded: list[str] = []
        self._codes = pl.DataFrame()
        """No rows, but polars forgets the codes when no frame has them."""

    def add(self, rows: pl.DataFrame) -> None:
        """Keeps rows, in any order."""
        rows = rows.with_columns(cs.string().cast(self._text)).sort("BASKET_ID")
        if not self._runs:
            self._codes = rows.clear()
            self._coded = rows.select(cs.categorical()).columns
        table = rows.with_columns(cs.categorical().to_physical()).to_arrow()
        path = self._folder / f"{len(self._runs)}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
        keys = table["BASKET_ID"].to_numpy()
        ends = [min(start + BATCH_ROWS, len(keys)) - 1 for start in range(0, len(keys), BATCH_ROWS)]
        self._runs.append(_Run(path, keys[::BATCH_ROWS].tolist(), keys[ends].tolist()))
        self._rows += len(keys)

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def ranges(self) -> Iterator[pl.DataFrame]:
        """All rows in ORDER, some RANGE_ROWS at a time, every basket whole; text is categorical."""
        return ahead(self._ranges())

    def _ranges(self) -> Iterator[pl.DataFrame]:
        bounds = self._bounds()
        for low, high in zip([None, *bounds], [*bounds, None], strict=True):
            batches = [batch for run in self._runs for batch in _between(run, low, high)]
            rows = pl.DataFrame(pa.Table.from_batches(batches))
            if low is not None:
                rows = rows.filter(pl.col("BASKET_ID") >= low)
            if high is not None:
                rows = rows.filter(pl.col("BASKET_ID") < high)
            if rows.height:
                yield rows.with_columns(pl.col(self._coded).cat.to(self._text)).sort(ORDER)

    def _bounds(self) -> list[int]:
        """Where ranges begin: quantiles of the batches' first keys, each of which stands for as many rows."""
        keys = sorted(key for run in self._runs for key in run.first)
        count = self._rows // RANGE_ROWS
        return sorted({keys[place * len(keys) // (count + 1)] for place in range(1, count + 1)})


def _between(run: _Run, low: int | None, high: int | None) -> list[pa.RecordBatch]:
    """The batches of a run that hold a basket from low up to but without high."""
    begin = 0 if low is None else bisect_left(run.last, low)
    end = len(run.first) if high is None else bisect_left(run.first, high)
    if begin >= end:
        return []
    with pa.OSFile(str(run.path)) as source:
        reader = pa.ipc.open_file(source)
        return [reader.get_batch(place) for place in range(begin, end)]
