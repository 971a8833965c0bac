"""The splitting job: a week's silver in, gold out.

<base>/processing/input/silver/  part-0.parquet, _quality.json (output/silver when one job cleans and splits)
<base>/processing/output/gold/   split={train,validation,test}/shop_week=YYYYWW/part-0.parquet,
                                 _products/shop_week=YYYYWW/part-0.parquet, _manifest/YYYYWW.json
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from include import lake
from include.baskets.schema import LABELS, UNCLASSIFIED
from include.etl import CODE_VERSION, baskets, files
from include.etl.columns import GOLD, PRODUCTS
from include.etl.errors import SilverError
from include.etl.prefetch import ahead
from include.settings import settings


def run(base: Path, week: str) -> dict[str, Any]:
    """Write gold; the week's manifest. EtlError, and no output, when the silver is not this week's."""
    return _write_gold(base, week, source=base / "processing" / "input" / "silver")


def run_on_cleaned(base: Path, week: str) -> dict[str, Any]:
    """The same, from the silver that the cleaning step of the same job has just written."""
    return _write_gold(base, week, source=base / "processing" / "output" / "silver")


def _write_gold(base: Path, week: str, source: Path) -> dict[str, Any]:
    quality, silver = _silver(source, week)
    output = base / "processing" / "output" / "gold"
    with files.all_or_nothing(output, last="_manifest") as folder:
        parts = {split: files.Part(_target(folder, lake.gold(split, week)), GOLD) for split in lake.SPLITS}
        counts: dict[str, Counter[str]] = {split: Counter() for split in lake.SPLITS}
        products = pl.DataFrame(schema=dict.fromkeys(PRODUCTS.names, pl.String))
        for grouped, sold in ahead(_grouped(ahead(_row_groups(silver)))):
            products = pl.concat([products, sold]).unique()
            for split in lake.SPLITS:
                chosen = grouped.filter(pl.col("split") == split)
                counts[split].update(chosen["label"].fill_null(UNCLASSIFIED).to_list())
                parts[split].add(chosen)
        for part in parts.values():
            part.close()
        dimension = files.Part(_target(folder, lake.gold_products(week)), PRODUCTS)
        dimension.add(products.sort(PRODUCTS.names).unique("PROD_CODE", keep="first", maintain_order=True))
        dimension.close()
        keys = [*(lake.gold(split, week) for split in lake.SPLITS), lake.gold_products(week)]
        manifest = {
            "shop_week": week,
            "code_version": CODE_VERSION,
            "split_salt": settings().split_salt,
            "inputs": quality["inputs"] | quality["outputs"],
            "outputs": {key: files.sha256(_target(folder, key)) for key in keys},
            "rows": pq.read_metadata(silver).num_rows,
            "baskets": sum(count.total() for count in counts.values()),
            "counts": {
                split: {label: count[label] for label in (*LABELS, UNCLASSIFIED)} for split, count in counts.items()
            },
        }
        files.write_json(_target(folder, lake.gold_manifest(week)), manifest)
    return manifest


def _silver(folder: Path, week: str) -> tuple[dict[str, Any], Path]:
    """The quality report and the part that it vouches for."""
    part, report = folder / "part-0.parquet", folder / "_quality.json"
    for path in (part, report):
        if not path.is_file():
            raise SilverError(f"{folder} lacks {path.name}: run clean for week {week} first")
    quality = json.loads(report.read_text())
    if quality["shop_week"] != week:
        raise SilverError(f"{report} is of week {quality['shop_week']}, not of {week}: give the job that week's silver")
    told, actual = quality["outputs"][lake.silver(week)], files.sha256(part)
    if actual != told:
        raise SilverError(
            f"{part} has SHA-256 {actual}, its quality report says {told}: the file was changed. Run clean for week "
            f"{week} again"
        )
    return quality, part


def _row_groups(part: Path) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Lines with the columns that baskets need, and their distinct products; every row group holds whole baskets."""
    wanted = pl.scan_parquet(part).select(*baskets.LINE, *PRODUCTS.names[1:])
    metadata, start = pq.read_metadata(part), 0
    for place in range(metadata.num_row_groups):
        rows = metadata.row_group(place).num_rows
        lines = wanted.slice(start, rows).collect()
        yield lines.select(baskets.LINE), lines.select(PRODUCTS.names).unique()
        start += rows


def _grouped(groups: Iterator[tuple[pl.DataFrame, pl.DataFrame]]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Baskets with their `split`, and the distinct products of their lines."""
    for lines, products in groups:
        grouped = baskets.group(lines)
        yield grouped.with_columns(split=baskets.splits(grouped, settings().split_salt)), products


def _target(folder: Path, key: str) -> Path:
    """Where a key of gold lies below the output folder, which stands for gold/."""
    return folder / key.removeprefix("gold/")
