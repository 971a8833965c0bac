"""How the jobs write files: the same content always gives the same bytes."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from include.etl import dictionary_encoding as codes

_CODED: Final = pa.dictionary(pa.int32(), pa.string())


class Part:
    """A Parquet file that grows by row groups of a fixed schema, each written by a thread while the next is made.

    coded: text comes as categorical; the codes are written as they are. Readers see the same columns either way.
    """

    def __init__(self, path: Path, schema: pa.Schema, coded: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if coded:
            schema = pa.schema([(field.name, _CODED if field.type == pa.string() else field.type) for field in schema])
        self._schema = schema
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            write_statistics=[],
            store_schema=not coded,
        )

    def add(self, frame: pl.DataFrame) -> None:
        """frame: the schema's columns in any order; one row group."""
        table = pa.table([_arrow(frame[field.name], field.type) for field in self._schema], self._schema)
        self._wait()
        self._writing = self._pool.submit(self._writer.write_table, table, max(1, table.num_rows))

    def close(self) -> None:
        """Only then is the file whole; an error of any write is raised by the next call."""
        self._wait()
        self._pool.shutdown()
        self._writer.close()

    def _wait(self) -> None:
        if self._writing:
            self._writing.result()


def _arrow(column: pl.Series, kind: pa.DataType) -> pa.Array:
    """The column as Arrow; codes count the values in their order, so that the bytes depend on the content alone."""
    if kind != _CODED:
        return column.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(kind)
    values, places = codes.in_order(column)
    return pa.DictionaryArray.from_arrays(places.to_arrow(), values.to_arrow().cast(pa.string()))


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def all_or_nothing(output: Path, last: str) -> Iterator[Path]:
    """A folder to write to; what is in it replaces the content of `output` when the block ends well, `last` last.

    The folder is one below `output`, which may be a mount of its own: files cannot be moved from one to another.
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
