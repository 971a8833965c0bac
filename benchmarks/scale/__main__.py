"""Measures full-size weeks at once and a training, and says what many weeks take: `python -m benchmarks.scale` in
.venv/jobs. docs/scale.md quotes what it prints.

Every job is a process of its own with a folder of its own, as SageMaker runs it; only the machine is shared, so weeks
at once have its cores between them. `--fit` also trains, on half a week, one and two: minutes more.
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
    """So many copies of a week through clean and split at the same time; their mean, the worst peak."""
    bases = [scratch / f"{count}-{number}" for number in range(count)]
    for base in bases:
        land(source, base)
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        jobs = list(pool.map(etl, bases))
    return Week(
        at_once=count,
        lines=manifest(bases[0])["rows"],
        seconds=time.monotonic() - began,
        cpu_seconds=sum(job.cpu_seconds for pair in jobs for job in pair) / count,
        peak_mb=max(job.peak_mb for pair in jobs for job in pair),
    )


def fit(base: Path) -> Fit:
    """A training on the gold below a base folder that went through `etl`."""
    gold = base / "processing" / "output" / "gold"
    channels = base / "input" / "data"
    channels.mkdir(parents=True)
    for split in ("train", "validation"):
        (channels / split).symlink_to(gold / f"split={split}")
    (channels / "manifest").symlink_to(gold / "_manifest")
    baskets = sum(manifest(base)["counts"]["train"].values())
    cost = run("-m", "include.train", "fit", "--base", str(base))
    told = json.loads((base / "model" / "metrics.json").read_text())
    return Fit(manifest(base)["rows"], baskets, cost, told["forest_nodes"], told["validation"]["accuracy"])


def objects(base: Path) -> dict[str, list[int]]:
    """Bytes of each object that a week leaves in the lake, by layer."""
    raw, silver, gold = (base / "processing" / name for name in ("input/raw", "input/silver", "output/gold"))
    layers = {"raw": raw, "silver": silver, "gold": gold}
    return {
        name: [path.stat().st_size for path in folder.rglob("*") if path.is_file()] for name, folder in layers.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="measure trainings, too")
    given = parser.parse_args()
    source, measured, fits = weekly_file(LINES), [], []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for count in AT_ONCE:
            measured.append(weeks_at_once(source, count, scratch))
        alone, sizes = measured[0], objects(scratch / "1-0")
        tables = [model.measured_table(measured, cores()), model.lake_table(sizes), model.weeks_table(alone)]
        print(*tables, model.largest_week(sizes, alone), sep="\n\n", flush=True)
        if given.fit:
            for lines in (LINES // 2, LINES, 2 * LINES):
                base = scratch / f"fit-{lines}"
                land(weekly_file(lines), base)
                etl(base)
                fits.append(fit(base))
                print("\n" + model.fit_line(fits[-1]), flush=True)
            print("\n" + model.fit_text(fits), flush=True)
    print("\n" + model.api_table(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
