"""Sort more rows than memory holds: sorted files on disk, merged back as ranges of basket ids."""

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

from include.etl.columns import RAW
from include.etl.dictionary_encoding import encode_sorted
from include.etl.prefetch import prefetch

BATCH_ROWS: Final = 8192
KEY_ROWS: Final = 512
RANGE_ROWS: Final = 262_144


@dataclass(frozen=True)
class _SortedFile:
    """An Arrow file of record batches of BATCH_ROWS rows, in order of BASKET_ID.

    sample_ids: every KEY_ROWS-th BASKET_ID of the file. first_ids: the first BASKET_ID of each batch.
    """

    path: Path
    sample_ids: list[int]
    first_ids: list[int]

    def between(self, low: int, high: int) -> list[pa.RecordBatch]:
        """Return the rows with low <= BASKET_ID < high. The file is memory-mapped, not read."""
        begin = max(0, bisect_left(self.first_ids, low) - 1)
        end = bisect_left(self.first_ids, high)
        with pa.memory_map(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            return [_cut(reader.get_batch(number), low, high) for number in range(begin, end)]


def _cut(batch: pa.RecordBatch, low: int, high: int) -> pa.RecordBatch:
    begin, end = np.searchsorted(batch["BASKET_ID"].to_numpy(), (low, high)).tolist()
    return batch.slice(begin, end - begin)


class ExternalSorter:
    """Collects rows in any order and gives them back sorted, with a bounded share of them in memory.

    Text is kept on disk as dictionary codes of four bytes a value. text_types: the categorical type that each text
    column of the added rows must have. Every column has categories of its own, so that no column pays for the values
    of another one.
    """

    def __init__(self, folder: Path) -> None:
        """folder: created here, emptied by `remove_files`."""
        folder.mkdir()
        text_columns = [name for name, kind in RAW.items() if kind == pl.String]
        self.text_types = {name: pl.Categorical(pl.Categories.random()) for name in text_columns}
        self._folder = folder
        self._files: list[_SortedFile] = []
        self._rows = 0
        # A frame without rows that keeps the categories alive: polars drops them with the last frame that uses them.
        self._categories = pl.DataFrame()

    def add(self, rows: pl.DataFrame) -> None:
        """Sort rows by BASKET_ID and write them to a new file."""
        if not rows.height:
            return
        rows = rows.sort("BASKET_ID", maintain_order=True).rechunk()
        if not self._files:
            self._categories = rows.clear()
        table = rows.with_columns(cs.categorical().to_physical()).to_arrow()
        path = self._folder / f"{len(self._files)}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
        ids = rows["BASKET_ID"]
        self._files.append(
            _SortedFile(
                path,
                sample_ids=ids.gather_every(KEY_ROWS).to_list(),
                first_ids=ids.gather_every(BATCH_ROWS).to_list(),
            )
        )
        self._rows += rows.height

    def remove_files(self) -> None:
        """Delete the folder with all sorted files."""
        shutil.rmtree(self._folder)

    def ranges(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in order of BASKET_ID, then PROD_CODE, then as they were added; text is categorical.

        Each frame has about RANGE_ROWS rows and holds whole baskets.
        """
        return prefetch(self._ranges())

    def _ranges(self) -> Iterator[pl.DataFrame]:
        decoded = [pl.col(name).cat.to(kind) for name, kind in self.text_types.items()]
        for low, high in pairwise(self._bounds()):
            batches = [batch for file in self._files for batch in file.between(low, high)]
            rows = pl.DataFrame(pa.Table.from_batches(batches)).with_columns(decoded)
            del batches  # unmaps the files while the caller works on the rows
            if rows.height:
                _, product_order = encode_sorted(rows["PROD_CODE"])
                yield rows.sort("BASKET_ID", product_order, maintain_order=True)

    def _bounds(self) -> list[int]:
        """Return the BASKET_IDs at which ranges begin and end: quantiles of the sampled ids of all files."""
        ids = sorted(sample for file in self._files for sample in file.sample_ids)
        count = self._rows // RANGE_ROWS
        inner = {ids[number * len(ids) // (count + 1)] for number in range(1, count + 1)}
        inner.difference_update(ids[:1])  # a bound at the smallest id would make an empty range
        return [np.iinfo(np.int64).min, *sorted(inner), np.iinfo(np.int64).max]
