"""Write synthetic weekly files: `python -m local.data --out DIR --weeks N` (in .venv/jobs).

The same seed and options always give the same bytes.
"""

import argparse
import gzip
import io
from pathlib import Path

import polars as pl

from local.data import weeks

CLONE_SHARE = 4
"""With --clones, one week of so many (the last ones) repeats earlier baskets."""


def main(arguments: list[str] | None = None) -> int:
    """Write the weekly files that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m local.data", description="Write synthetic weekly files.")
    parser.add_argument("--out", type=Path, required=True, help="folder for transactions_YYYYWW.csv.gz")
    parser.add_argument("--weeks", type=int, default=12, help="how many (default: %(default)s)")
    parser.add_argument("--first", default="200607", metavar="YYYYWW", help="first shop week (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--header", choices=("seg", "cust"), default="seg", help="variant of the header")
    parser.add_argument("--clones", action="store_true", help="the last quarter repeats baskets of the weeks before")
    parser.add_argument("--lines", type=int, help="about so many lines a week (default: the public sample's 27,000)")
    options = parser.parse_args(arguments)
    if options.weeks < 1:
        parser.error("--weeks must be 1 or more")
    try:
        names = weeks.following(options.first, options.weeks)
    except ValueError as error:
        parser.error(str(error))
    scale = options.lines / (weeks.BASKETS_A_WEEK * weeks.LINES_A_BASKET) if options.lines else 1.0
    shop = weeks.retailer(options.seed, scale)
    originals = len(names) - (len(names) // CLONE_SHARE if options.clones else 0)
    options.out.mkdir(parents=True, exist_ok=True)
    for place, week in enumerate(names):
        sold = weeks.sales(shop, week)
        if place >= originals:
            source = names[(place - originals) % originals]
            sold = weeks.with_clones(weeks.sales(shop, source), sold, [options.seed, int(week), 2])
        rows = weeks.frame(shop, week, sold)
        target = options.out / f"transactions_{week}.csv.gz"
        write(target, weeks.as_seg(rows) if options.header == "seg" else rows)
        print(f"{target}: {rows.height} lines", flush=True)
    return 0


def write(target: Path, rows: pl.DataFrame) -> None:
    """Write gzipped CSV as it is published: blanks as "", nothing else quoted, no time in the file."""
    text = io.BytesIO()
    rows.write_csv(text, null_value='""', quote_style="never")
    unfinished = target.with_suffix(".part")
    with unfinished.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        packed.write(text.getbuffer())
    unfinished.replace(target)


if __name__ == "__main__":
    raise SystemExit(main())
