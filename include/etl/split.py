"""The splitting job: read a week's silver, write gold.

<base>/processing/input/silver/  part-0.parquet, _quality.json (output/silver when one job cleans and splits)
<base>/processing/output/gold/   split={train,validation,test}/shop_week=YYYYWW/part-0.parquet,
                                 _products/shop_week=YYYYWW/part-0.parquet, _manifest/YYYYWW.json
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from include import lake
from include.baskets.schema import LABELS, UNCLASSIFIED
from include.etl import CODE_VERSION, files, gold
from include.etl.columns import GOLD, PRODUCTS
from include.etl.errors import SilverError
from include.etl.prefetch import prefetch
from include.etl.reports import GoldManifest, QualityReport
from include.settings import settings


def run(base: Path, week: str) -> GoldManifest:
    """Write gold and return the week's manifest. EtlError, and no output, when the silver is not this week's."""
    return _split(base, week, source=base / "processing" / "input" / "silver")


def run_on_cleaned(base: Path, week: str) -> GoldManifest:
    """Do the same with the silver that the cleaning step of the same job has just written."""
    return _split(base, week, source=base / "processing" / "output" / "silver")


def _split(base: Path, week: str, source: Path) -> GoldManifest:
    quality = _verified_report(source, week)
    silver = source / "part-0.parquet"
    output = base / "processing" / "output" / "gold"
    with files.all_or_nothing(output, last="_manifest") as folder:
        counts = _write_gold(silver, folder, week)
        keys = [*(lake.gold(split, week) for split in lake.SPLITS), lake.gold_products(week)]
        manifest = GoldManifest(
            shop_week=week,
            code_version=CODE_VERSION,
            split_salt=settings().split_salt,
            inputs=quality["inputs"] | quality["outputs"],
            outputs={key: files.sha256(_target(folder, key)) for key in keys},
            rows=pq.read_metadata(silver).num_rows,
            baskets=sum(count.total() for count in counts.values()),
            counts={
                split: {label: count[label] for label in (*LABELS, UNCLASSIFIED)} for split, count in counts.items()
            },
        )
        files.write_json(_target(folder, lake.gold_manifest(week)), manifest)
    return manifest


def _verified_report(folder: Path, week: str) -> QualityReport:
    """Return the quality report of the silver in a folder. SilverError when the silver is not what the report says."""
    part = folder / "part-0.parquet"
    report = folder / "_quality.json"
    for path in (part, report):
        if not path.is_file():
            raise SilverError(f"{folder} lacks {path.name}: run clean for week {week} first")
    quality: QualityReport = json.loads(report.read_text())
    if quality["shop_week"] != week:
        raise SilverError(f"{report} is of week {quality['shop_week']}, not of {week}: give the job that week's silver")
    expected = quality["outputs"][lake.silver(week)]
    actual = files.sha256(part)
    if actual != expected:
        raise SilverError(
            f"{part} has SHA-256 {actual}, its quality report says {expected}: the file was changed. Run clean for "
            f"week {week} again"
        )
    return quality


def _write_gold(silver: Path, folder: Path, week: str) -> dict[str, Counter[str]]:
    """Write the three splits and the product dimension. Return the number of baskets by split and label."""
    parts = {split: files.ParquetPart(_target(folder, lake.gold(split, week)), GOLD) for split in lake.SPLITS}
    counts: dict[str, Counter[str]] = {split: Counter() for split in lake.SPLITS}
    products = pl.DataFrame(schema=dict.fromkeys(PRODUCTS.names, pl.String))
    for baskets, sold_products in prefetch(_with_baskets(prefetch(_row_groups(silver)))):
        products = pl.concat([products, sold_products]).unique()
        for split in lake.SPLITS:
            chosen = baskets.filter(pl.col("split") == split)
            counts[split].update(chosen["label"].fill_null(UNCLASSIFIED).to_list())
            parts[split].add(chosen)
    for part in parts.values():
        part.close()
    dimension = files.ParquetPart(_target(folder, lake.gold_products(week)), PRODUCTS)
    dimension.add(products.sort(PRODUCTS.names).unique("PROD_CODE", keep="first", maintain_order=True))
    dimension.close()
    return counts


def _row_groups(part: Path) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield the lines of each row group, and their distinct products. A row group holds whole baskets."""
    columns = pl.scan_parquet(part).select(*gold.SILVER_COLUMNS, *PRODUCTS.names[1:])
    metadata = pq.read_metadata(part)
    start = 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        lines = columns.slice(start, rows).collect()
        yield lines.select(gold.SILVER_COLUMNS), lines.select(PRODUCTS.names).unique()
        start += rows


def _with_baskets(groups: Iterator[tuple[pl.DataFrame, pl.DataFrame]]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield, for each row group, its baskets with their `split`, and its distinct products."""
    for lines, products in groups:
        baskets = gold.group(lines)
        yield baskets.with_columns(split=gold.splits(baskets, settings().split_salt)), products


def _target(folder: Path, key: str) -> Path:
    """Return the path of a key of gold below the output folder, which stands for gold/."""
    return folder / key.removeprefix("gold/")
