"""The cleaning job: read a week's raw file, write silver.

<base>/processing/input/raw/transactions.csv[.gz]
<base>/processing/output/silver/  part-0.parquet, _quality.json, _rejected.parquet when rows were rejected
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from include import lake
from include.baskets.schema import LABEL_OF, LABELS, UNCLASSIFIED
from include.etl import CODE_VERSION, files, raw_file, rules
from include.etl.columns import SEGMENT_CODES, SILVER
from include.etl.errors import RowsError
from include.etl.external_sort import ExternalSorter
from include.etl.prefetch import prefetch
from include.etl.reports import QualityReport
from include.settings import settings

EXAMPLES: Final = 3
_REJECTED: Final = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("line", pa.string())])


@dataclass
class Rejected:
    """The rows that do not reach silver, with the rule that each breaks; the ids of baskets that lose all rows."""

    rows: dict[int, rules.Rule] = field(default_factory=dict)
    baskets: set[int] = field(default_factory=set)

    def add(self, rule: rules.Rule, rows: pl.DataFrame) -> None:
        """Reject rows (`row`, `BASKET_ID`). A row that was rejected before keeps its first rule."""
        for row in rows["row"].to_list():
            self.rows.setdefault(row, rule)
        self.baskets.update(rows["BASKET_ID"].drop_nulls().to_list())

    def counts(self) -> dict[str, int]:
        """Return the number of rejected rows by the name of their rule."""
        return dict(sorted(Counter(rule.name for rule in self.rows.values()).items()))

    @property
    def broken(self) -> dict[int, rules.Rule]:
        """The rows that break a rule themselves; only these count against the tolerance."""
        return {row: rule for row, rule in self.rows.items() if rule is not rules.BASKET_REJECTED}


@dataclass(frozen=True)
class _SilverCounts:
    """What was written to silver: the number of lines, and the baskets by label."""

    lines: int
    baskets: Counter[str]


def run(base: Path, week: str) -> QualityReport:
    """Write silver and return the quality report. EtlError, and no output, when the week cannot be used."""
    path = raw_file.locate(base / "processing" / "input" / "raw")
    output = base / "processing" / "output" / "silver"
    with files.all_or_nothing(output, last="_quality.json") as folder:
        variant = raw_file.header_variant(path)
        rejected = Rejected()
        sorter = ExternalSorter(folder / "sorted")
        row_count = _check_rows(path, week, sorter, rejected)
        _require_tolerance(path, rejected, row_count)
        silver = _write_silver(folder / "part-0.parquet", sorter, rejected)
        sorter.remove_files()
        _require_tolerance(path, rejected, row_count)
        _require_labels(path, silver.baskets)
        if rejected.rows:
            _write_rejected(folder / "_rejected.parquet", path, rejected)
        report = QualityReport(
            shop_week=week,
            code_version=CODE_VERSION,
            header=variant,
            inputs={lake.raw(week, gzipped=path.suffix == ".gz"): files.sha256(path)},
            outputs={lake.silver(week): files.sha256(folder / "part-0.parquet")},
            rows=row_count,
            accepted=silver.lines,
            rejected=len(rejected.rows),
            rules=rejected.counts(),
            baskets=silver.baskets.total(),
            labels={label: silver.baskets[label] for label in (*LABELS, UNCLASSIFIED)},
        )
        files.write_json(folder / "_quality.json", report)
    return report


def _check_rows(path: Path, week: str, sorter: ExternalSorter, rejected: Rejected) -> int:
    """Pass rows that satisfy the row rules to the sorter and reject the others. Return the number of rows read."""
    row_rules = rules.row_rules(week)
    count = 0
    for rows in prefetch(raw_file.read_rows(path, sorter.text_types)):
        count += rows.height
        broken = rules.broken_rows(rows, row_rules)
        if broken.height:
            for number, rule in enumerate(row_rules):
                rejected.add(rule, broken.filter(pl.col("rule") == number))
            rows = rows.join(broken, on="row", how="anti")
        sorter.add(
            rows.with_columns(
                rules.pence(), *(pl.col(name).replace(codes) for name, codes in SEGMENT_CODES.items())
            ).drop("SPEND")
        )
    return count


def _write_silver(path: Path, sorter: ExternalSorter, rejected: Rejected) -> _SilverCounts:
    """Write the sorted rows of baskets without a rejected row."""
    part = files.ParquetPart(path, SILVER, categorical=True)
    baskets: Counter[str] = Counter()
    lines = 0
    for rows in sorter.ranges():
        rows = _reject_baskets(rows, rejected)
        baskets += _count_labels(rows)
        lines += rows.height
        part.add(rows)
    part.close()
    return _SilverCounts(lines, baskets)


def _reject_baskets(rows: pl.DataFrame, rejected: Rejected) -> pl.DataFrame:
    """Return the rows of baskets without a rejected row, and reject the other rows.

    rows: whole baskets, in order of BASKET_ID, then PROD_CODE.
    """
    for rule, inconsistent in rules.inconsistent_rows(rows):
        rejected.add(rule, inconsistent)
    if not rejected.baskets:
        return rows
    is_rejected = rows["BASKET_ID"].is_in(list(rejected.baskets))
    rejected.add(rules.BASKET_REJECTED, rows.filter(is_rejected))
    return rows.filter(~is_rejected)


def _count_labels(rows: pl.DataFrame) -> Counter[str]:
    """Return the number of baskets by label."""
    first = rows.filter(pl.col("BASKET_ID").ne_missing(pl.col("BASKET_ID").shift(1)))
    counts = first["BASKET_PRICE_SENSITIVITY"].value_counts().rows()
    return Counter({LABEL_OF.get(code, UNCLASSIFIED): number for code, number in counts})


def _require_tolerance(path: Path, rejected: Rejected, row_count: int) -> None:
    """Raise RowsError, with examples, when more rows break a rule than RETAIL_ROW_TOLERANCE allows."""
    broken = rejected.broken
    tolerance = settings().row_tolerance
    if len(broken) <= tolerance * row_count:
        return
    by_rule: dict[rules.Rule, list[int]] = {}
    for row, rule in sorted(broken.items()):
        by_rule.setdefault(rule, []).append(row)
    most_broken = sorted(by_rule.items(), key=lambda item: -len(item[1]))[:EXAMPLES]
    lines = raw_file.lines_at(path, [row for _, numbers in most_broken for row in numbers[:EXAMPLES]])
    details = "; ".join(
        f"{rule.name}: {len(numbers)} rows, "
        + ", ".join(
            f"row {row} has {raw_file.field_text(lines[row], rule.column) or 'none'}" for row in numbers[:EXAMPLES]
        )
        for rule, numbers in most_broken
    )
    raise RowsError(
        f"{path.name}: {len(broken)} of {row_count} rows break a rule, more than the tolerance of {tolerance:.2%} "
        f"(RETAIL_ROW_TOLERANCE) allows. {details}. Correct the file at its source and land it again"
    )


def _require_labels(path: Path, baskets: Counter[str]) -> None:
    """Raise RowsError when no basket has one of LABELS."""
    if baskets.total() == baskets[UNCLASSIFIED]:
        raise RowsError(
            f"{path.name}: none of its {baskets.total()} baskets has a label (BASKET_PRICE_SENSITIVITY "
            f"{', '.join(LABEL_OF)}), so a model cannot learn from this week. Correct the file at its source and land "
            "it again, or leave the week out"
        )


def _write_rejected(target: Path, path: Path, rejected: Rejected) -> None:
    """Write the number, the rule and the original text of each rejected row, so that nothing is lost."""
    lines = raw_file.lines_at(path, rejected.rows)
    numbers = sorted(rejected.rows)
    part = files.ParquetPart(target, _REJECTED)
    part.add(
        pl.DataFrame(
            {
                "row": numbers,
                "rule": [rejected.rows[row].name for row in numbers],
                "line": [lines[row] for row in numbers],
            }
        )
    )
    part.close()
