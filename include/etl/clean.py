"""The cleaning job: a week's raw file in, silver out.

<base>/processing/input/raw/transactions.csv[.gz]
<base>/processing/output/silver/  part-0.parquet, _quality.json, _rejected.parquet when rows were rejected
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from include import lake
from include.baskets.schema import LABEL_OF, LABELS, UNCLASSIFIED
from include.etl import CODE_VERSION, files, read, rules
from include.etl.columns import SEGMENT_CODES, SILVER
from include.etl.errors import RowsError
from include.etl.external_sort import Runs
from include.etl.prefetch import ahead
from include.settings import settings

EXAMPLES = 3
_REJECTED = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("line", pa.string())])


@dataclass
class Rejected:
    """Rows that do not reach silver. baskets: ids that lose all their rows."""

    rows: dict[int, rules.Rule] = field(default_factory=dict)
    baskets: set[int] = field(default_factory=set)

    def add(self, rule: rules.Rule, rows: pl.DataFrame) -> None:
        """rows: `row`, `BASKET_ID`; a row's first rule counts."""
        for row in rows["row"].to_list():
            self.rows.setdefault(row, rule)
        self.baskets.update(rows["BASKET_ID"].drop_nulls().to_list())

    def counts(self) -> dict[str, int]:
        """Rows by rule."""
        counted = Counter(f"{rule.column} {rule.text}" for rule in self.rows.values())
        return dict(sorted(counted.items()))

    @property
    def broken(self) -> dict[int, rules.Rule]:
        """The rows that break a rule themselves."""
        return {row: rule for row, rule in self.rows.items() if rule is not rules.TAKEN_ALONG}


def run(base: Path, week: str) -> dict[str, Any]:
    """Write silver; the quality report. EtlError, and no output, when the week cannot be used."""
    path = read.raw_file(base / "processing" / "input" / "raw")
    output = base / "processing" / "output" / "silver"
    with files.all_or_nothing(output, last="_quality.json") as folder:
        variant = read.header_variant(path)
        rejected, runs = Rejected(), Runs(folder / "runs")
        count = _sort_out(path, week, runs, rejected)
        _refuse_too_many(path, rejected, count)
        part = files.Part(folder / "part-0.parquet", SILVER, coded=True)
        baskets: Counter[str] = Counter()
        accepted = 0
        for rows in runs.ranges():
            rows = _whole_baskets(rows, rejected)
            baskets += _labels(rows)
            accepted += rows.height
            part.add(rows)
        part.close()
        runs.remove()
        _refuse_too_many(path, rejected, count)
        if not baskets.total() - baskets[UNCLASSIFIED]:
            raise RowsError(
                f"{path.name}: none of its {baskets.total()} baskets has a label (BASKET_PRICE_SENSITIVITY "
                f"{', '.join(LABEL_OF)}): there is nothing to learn from this week"
            )
        if rejected.rows:
            _write_rejected(folder / "_rejected.parquet", path, rejected)
        report = {
            "shop_week": week,
            "code_version": CODE_VERSION,
            "header": variant,
            "inputs": {lake.raw(week, gzipped=path.suffix == ".gz"): files.sha256(path)},
            "outputs": {lake.silver(week): files.sha256(folder / "part-0.parquet")},
            "rows": count,
            "accepted": accepted,
            "rejected": len(rejected.rows),
            "rules": rejected.counts(),
            "baskets": baskets.total(),
            "labels": {label: baskets[label] for label in (*LABELS, UNCLASSIFIED)},
        }
        files.write_json(folder / "_quality.json", report)
    return report


def _sort_out(path: Path, week: str, runs: Runs, rejected: Rejected) -> int:
    """Rows that fulfil the row rules go to runs, the others to rejected; how many there are."""
    row_rules = rules.of_rows(week)
    count = 0
    for rows in ahead(read.read(path, runs.text_types)):
        count += rows.height
        broken = rules.broken(rows, row_rules)
        if broken.height:
            for place, rule in enumerate(row_rules):
                rejected.add(rule, broken.filter(pl.col("rule") == place))
            rows = rows.join(broken, on="row", how="anti")
        runs.add(
            rows.with_columns(
                rules.pence(), *(pl.col(name).replace(codes) for name, codes in SEGMENT_CODES.items())
            ).drop("SPEND")
        )
    return count


def _whole_baskets(rows: pl.DataFrame, rejected: Rejected) -> pl.DataFrame:
    """The rows of baskets that no row of was rejected; the others are added to rejected."""
    for rule, broken in rules.broken_in_baskets(rows):
        rejected.add(rule, broken)
    if not rejected.baskets:
        return rows
    lost = rows["BASKET_ID"].is_in(list(rejected.baskets))
    rejected.add(rules.TAKEN_ALONG, rows.filter(lost))
    return rows.filter(~lost)


def _labels(rows: pl.DataFrame) -> Counter[str]:
    """Baskets by label."""
    first = rows.filter(pl.col("BASKET_ID").ne_missing(pl.col("BASKET_ID").shift(1)))
    counts = first["BASKET_PRICE_SENSITIVITY"].value_counts().rows()
    return Counter({LABEL_OF.get(code, UNCLASSIFIED): number for code, number in counts})


def _refuse_too_many(path: Path, rejected: Rejected, count: int) -> None:
    broken = rejected.broken
    tolerance = settings().row_tolerance
    if len(broken) <= tolerance * count:
        return
    by_rule: dict[rules.Rule, list[int]] = {}
    for row, rule in sorted(broken.items()):
        by_rule.setdefault(rule, []).append(row)
    shown = sorted(by_rule.items(), key=lambda item: -len(item[1]))[:EXAMPLES]
    lines = read.lines_at(path, [row for _, numbers in shown for row in numbers[:EXAMPLES]])
    details = "; ".join(
        f"{rule.column} {rule.text}: {len(numbers)} rows, "
        + ", ".join(f"row {row} has {read.field(lines[row], rule.column) or 'none'}" for row in numbers[:EXAMPLES])
        for rule, numbers in shown
    )
    raise RowsError(
        f"{path.name}: {len(broken)} of {count} rows break a rule, more than the tolerance of {tolerance:.2%} "
        f"(RETAIL_ROW_TOLERANCE) allows. {details}. Correct the file at its source and land it again"
    )


def _write_rejected(target: Path, path: Path, rejected: Rejected) -> None:
    """Row number, rule and the row as it stands in the file: nothing is lost."""
    lines = read.lines_at(path, rejected.rows)
    numbers = sorted(rejected.rows)
    part = files.Part(target, _REJECTED)
    part.add(
        pl.DataFrame(
            {
                "row": numbers,
                "rule": [f"{rejected.rows[row].column} {rejected.rows[row].text}" for row in numbers],
                "line": [lines[row] for row in numbers],
            }
        )
    )
    part.close()
