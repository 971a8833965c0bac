"""What the benchmarks share: cached synthetic weeks, measured processes, and a stored baseline to compare with."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORSE = 1.3
"""The noise between runs: a figure worse by more than this factor is a regression."""
LINES = 2_700_000
"""The lines of a full-size week."""
WEEK = "200607"


@dataclass(frozen=True)
class Cost:
    """What one process took: wall and CPU seconds, peak resident memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def cache() -> Path:
    """Return this project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retail-mlops"


def weekly_file(lines: int) -> Path:
    """Return a synthetic week of about `lines` lines. It is made once and kept in the user's cache."""
    folder = cache() / f"week-{lines}"
    file = folder / f"transactions_{WEEK}.csv.gz"
    if not file.exists():
        print(f"Making a synthetic week of {lines:,} lines", flush=True)
        run("-m", "local.data", "--out", str(folder), "--weeks", "1", "--first", WEEK, "--lines", str(lines))
    return file


def run(*arguments: str) -> Cost:
    """Run Python with these arguments and return its cost. Raise CalledProcessError when it fails."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 2**20)


def land(source: Path, base: Path) -> Path:
    """Copy the weekly file to where the cleaning job expects it below its base folder, and return the copy."""
    raw = base / "processing" / "input" / "raw" / "transactions.csv.gz"
    raw.parent.mkdir(parents=True)
    shutil.copy(source, raw)
    return raw


def etl(base: Path) -> tuple[Cost, Cost]:
    """Clean and split the landed week, each in its own process, and return both costs."""
    clean = run("-m", "include.etl", "clean", "--shop-week", WEEK, "--base", str(base))
    (base / "processing" / "output" / "silver").rename(base / "processing" / "input" / "silver")
    return clean, run("-m", "include.etl", "split", "--shop-week", WEEK, "--base", str(base))


def manifest(base: Path) -> dict[str, Any]:
    """Return the gold manifest of the week that `etl` built."""
    path = base / "processing" / "output" / "gold" / "_manifest" / f"{WEEK}.json"
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def options(description: str) -> argparse.ArgumentParser:
    """Return a parser with the option that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", action="store_true", help="write the figures as the new baseline")
    return parser


def target(description: str, reached: bool | None) -> None:
    """Print whether a target is reached; None: it cannot be measured on this machine."""
    results = {None: "not measured", True: "reached", False: "not reached"}
    print(f"target {description}: {results[reached]}")


def settle(name: str, now: dict[str, Any], regressions: Callable[[dict[str, Any]], list[str]], store: bool) -> int:
    """Store `now` as the baseline NAME.json, or compare it with the stored one. Return the exit code.

    regressions: called with the stored baseline; returns what is clearly worse.
    """
    path = Path(__file__).with_name(f"{name}.json")
    if store:
        path.write_text(json.dumps(now, indent=1) + "\n")
        return 0
    if not path.exists():
        print(f"no baseline at {path}: run the benchmark with --store on a quiet machine to write it", file=sys.stderr)
        return 1
    worse = regressions(json.loads(path.read_text()))
    for text in worse:
        print(f"REGRESSION {text}", file=sys.stderr)
    return 1 if worse else 0
