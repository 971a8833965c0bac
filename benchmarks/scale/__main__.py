"""Measure full-size weeks at once and a training, and estimate what many weeks take: `python -m benchmarks.scale` in
.venv/jobs. docs/scale.md quotes what it prints.

Every job is a process of its own with a folder of its own, as in SageMaker. Weeks that run at once share the cores of
the machine. `--fit` also trains on half a week, one week and two weeks, which takes minutes more.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.common import LINES, etl, land, manifest, run, weekly_file
from benchmarks.scale import model
from benchmarks.scale.model import Fit, Week
from include.train.machine import cores

AT_ONCE = (1, 2, 4)


def weeks_at_once(source: Path, count: int, scratch: Path) -> Week:
    """Clean and split `count` copies of a week at the same time. Return their mean CPU time and the highest peak."""
    bases = [scratch / f"{count}-{number}" for number in range(count)]
    for base in bases:
        land(source, base)
    started = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        jobs = list(pool.map(etl, bases))
    return Week(
        at_once=count,
        lines=manifest(bases[0])["rows"],
        seconds=time.monotonic() - started,
        cpu_seconds=sum(job.cpu_seconds for pair in jobs for job in pair) / count,
        peak_mb=max(job.peak_mb for pair in jobs for job in pair),
    )


def fit(base: Path) -> Fit:
    """Train on the gold below a base folder that `etl` has filled."""
    gold = base / "processing" / "output" / "gold"
    channels = base / "input" / "data"
    channels.mkdir(parents=True)
    for split in ("train", "validation"):
        (channels / split).symlink_to(gold / f"split={split}")
    (channels / "manifest").symlink_to(gold / "_manifest")
    gold_manifest = manifest(base)
    baskets = sum(gold_manifest["counts"]["train"].values())
    cost = run("-m", "include.train", "fit", "--base", str(base))
    metrics = json.loads((base / "model" / "metrics.json").read_text())
    return Fit(gold_manifest["rows"], baskets, cost, metrics["forest_nodes"], metrics["validation"]["accuracy"])


def objects(base: Path) -> dict[str, list[int]]:
    """Return the bytes of each object that a week leaves in the lake, by layer."""
    folders = {"raw": "input/raw", "silver": "input/silver", "gold": "output/gold"}
    return {
        layer: [path.stat().st_size for path in (base / "processing" / folder).rglob("*") if path.is_file()]
        for layer, folder in folders.items()
    }


def measure_weeks(source: Path, scratch: Path) -> None:
    """Print the tables of weeks that are built at once, and of what they leave in the lake."""
    measured = [weeks_at_once(source, count, scratch) for count in AT_ONCE]
    alone = measured[0]
    sizes = objects(scratch / f"{AT_ONCE[0]}-0")
    tables = [model.measured_table(measured, cores()), model.lake_table(sizes), model.weeks_table(alone)]
    print(*tables, model.largest_week(sizes, alone), sep="\n\n", flush=True)


def measure_fits(scratch: Path) -> None:
    """Print what trainings on half a week, one week and two weeks take, and what follows for many weeks."""
    fits = []
    for lines in (LINES // 2, LINES, 2 * LINES):
        base = scratch / f"fit-{lines}"
        land(weekly_file(lines), base)
        etl(base)
        fits.append(fit(base))
        print("\n" + model.fit_line(fits[-1]), flush=True)
    print("\n" + model.fit_text(fits), flush=True)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="measure trainings, too")
    arguments = parser.parse_args()
    source = weekly_file(LINES)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        measure_weeks(source, scratch)
        if arguments.fit:
            measure_fits(scratch)
    print("\n" + model.api_table(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
