"""Write the jobs' files: the same content always gives the same bytes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from include.etl.dictionary_encoding import encode_sorted

_DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string())


class ParquetPart:
    """A Parquet file that grows by row groups of a fixed schema; a thread writes each while the caller makes the next.

    categorical: text columns arrive as Categorical, and their dictionaries are written as they are. Readers see the
    same columns and types either way.
    """

    def __init__(self, path: Path, schema: pa.Schema, categorical: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if categorical:
            types = [(field.name, _DICTIONARY if field.type == pa.string() else field.type) for field in schema]
            schema = pa.schema(types)
        self._schema = schema
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            write_statistics=[],
            store_schema=not categorical,
        )

    def add(self, frame: pl.DataFrame) -> None:
        """Write a frame as one row group. frame: the schema's columns, in any order."""
        table = pa.table([_arrow(frame[field.name], field.type) for field in self._schema], self._schema)
        self._wait()
        self._pending = self._pool.submit(self._writer.write_table, table, max(1, table.num_rows))

    def close(self) -> None:
        """Finish the file; it is not readable before. An error of a write is raised by the next call of any method."""
        self._wait()
        self._pool.shutdown()
        self._writer.close()

    def _wait(self) -> None:
        if self._pending:
            self._pending.result()


def _arrow(column: pl.Series, kind: pa.DataType) -> pa.Array:
    """Return the column as Arrow. Dictionaries are sorted, so that the bytes depend on the content alone."""
    if kind != _DICTIONARY:
        return column.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(kind)
    values, indices = encode_sorted(column)
    return pa.DictionaryArray.from_arrays(indices.to_arrow(), values.to_arrow().cast(pa.string()))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document with sorted keys; the parent folder is created if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def all_or_nothing(output: Path, last: str) -> Iterator[Path]:
    """Empty `output`, and fill it with what the block writes to the yielded folder, only if the block succeeds.

    last: a file or folder name; files of that name, or below it, are moved last, so that its presence means that the
    output is complete. The yielded folder lies below `output`, which may be a mount of its own: files cannot be
    renamed from one file system to another.
    """
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(output.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with TemporaryDirectory(dir=output, prefix="unfinished-") as name:
        folder = Path(name)
        yield folder
        written = (path for path in folder.rglob("*") if path.is_file())
        for path in sorted(written, key=lambda path: (last in path.parts, path)):
            target = output / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
