"""Sorts more rows than memory holds: sorted runs on disk, read back as ranges of baskets."""

import shutil
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from include.etl import dictionary_encoding as codes
from include.etl.columns import RAW
from include.etl.prefetch import ahead

BATCH_ROWS: Final = 8192
KEY_ROWS: Final = 512
RANGE_ROWS: Final = 262_144


@dataclass(frozen=True)
class _Run:
    """A file of record batches, in order of BASKET_ID; first: the first BASKET_ID of each; keys: every KEY_ROWS-th."""

    path: Path
    keys: list[int]
    first: list[int]

    def between(self, low: int, high: int) -> list[pa.RecordBatch]:
        """The rows of the baskets from low up to but without high; mapped, not read."""
        begin, end = max(0, bisect_left(self.first, low) - 1), bisect_left(self.first, high)
        with pa.memory_map(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            return [_cut(reader.get_batch(place), low, high) for place in range(begin, end)]


def _cut(batch: pa.RecordBatch, low: int, high: int) -> pa.RecordBatch:
    begin, end = np.searchsorted(batch["BASKET_ID"].to_numpy(), (low, high)).tolist()
    return batch.slice(begin, end - begin)


class Runs:
    """Rows on disk, below a folder of their own. Text is coded there: a number of four bytes for every value.

    text_types: what the columns of text must come as; each has codes of its own, so that sorting and writing look at
    no other column's values.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        texts = [name for name, kind in RAW.items() if kind == pl.String]
        self.text_types = {name: pl.Categorical(pl.Categories.random()) for name in texts}
        self._folder = folder
        self._runs: list[_Run] = []
        self._rows = 0
        self._codes = pl.DataFrame()
        """No rows, but polars forgets the codes when no frame has them."""

    def add(self, rows: pl.DataFrame) -> None:
        """Keeps rows, in any order of baskets."""
        if not rows.height:
            return
        rows = rows.sort("BASKET_ID", maintain_order=True).rechunk()
        self._codes = self._codes if self._runs else rows.clear()
        table = rows.with_columns(cs.categorical().to_physical()).to_arrow()
        path = self._folder / f"{len(self._runs)}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
        keys, first = (rows["BASKET_ID"].gather_every(step).to_list() for step in (KEY_ROWS, BATCH_ROWS))
        self._runs.append(_Run(path, keys, first))
        self._rows += rows.height

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def ranges(self) -> Iterator[pl.DataFrame]:
        """All rows in order of BASKET_ID, then PROD_CODE, then as they came; text is categorical.

        Some RANGE_ROWS at a time, every basket whole.
        """
        return ahead(self._ranges())

    def _ranges(self) -> Iterator[pl.DataFrame]:
        decoded = [pl.col(name).cat.to(kind) for name, kind in self.text_types.items()]
        for low, high in pairwise(self._bounds()):
            batches = [batch for run in self._runs for batch in run.between(low, high)]
            rows = pl.DataFrame(pa.Table.from_batches(batches)).with_columns(decoded)
            del batches  # unmaps the files while the rows are worked on
            if rows.height:
                _, products = codes.in_order(rows["PROD_CODE"])
                yield rows.sort("BASKET_ID", products, maintain_order=True)

    def _bounds(self) -> list[int]:
        """Where ranges begin and end: quantiles of the runs' keys, each of which stands for as many rows."""
        keys = sorted(key for run in self._runs for key in run.keys)
        count = self._rows // RANGE_ROWS
        inner = {keys[place * len(keys) // (count + 1)] for place in range(1, count + 1)}
        inner.difference_update(keys[:1])  # nothing lies before it
        return [np.iinfo(np.int64).min, *sorted(inner), np.iinfo(np.int64).max]
