"""How the jobs write files: the same content always gives the same bytes."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


class Part:
    """A Parquet file that grows by row groups of a fixed schema."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)

    def add(self, frame: pl.DataFrame) -> None:
        """frame: the schema's columns in any order; one row group."""
        table = frame.select(self._schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._writer.write_table(table.cast(self._schema), row_group_size=max(1, table.num_rows))

    def close(self) -> None:
        self._writer.close()


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def all_or_nothing(output: Path, scratch: Path, last: str) -> Iterator[Path]:
    """A folder to write to; what is in it replaces the content of `output` when the block ends well, `last` last.

    scratch: where temporary folders may be made, on the file system of `output`.
    """
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(output.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with TemporaryDirectory(dir=scratch, prefix="unfinished-") as name:
        folder = Path(name)
        yield folder
        written = (path for path in folder.rglob("*") if path.is_file())
        for path in sorted(written, key=lambda path: (last in path.parts, path)):
            target = output / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
