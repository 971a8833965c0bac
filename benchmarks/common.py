"""What the benchmarks share: synthetic weeks, measured processes, and the comparison with a stored baseline."""

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

from include.etl.reports import GoldManifest

ROOT = Path(__file__).parents[1]
WORSE = 1.3
"""Factor of noise between runs; a figure that is worse by more is a regression."""
LINES = 2_700_000
"""Lines of a full-size week."""
WEEK = "200607"


@dataclass(frozen=True)
class Cost:
    """What one process cost: wall and CPU seconds, peak resident memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def cache() -> Path:
    """Return this project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retail-mlops"


def weekly_file(lines: int) -> Path:
    """Return a synthetic week of about so many lines, generated once and kept in the user's cache."""
    folder = cache() / f"week-{lines}"
    file = folder / f"transactions_{WEEK}.csv.gz"
    if not file.exists():
        print(f"Generating a week of {lines:,} lines", flush=True)
        run_python("-m", "local.data", "--out", str(folder), "--weeks", "1", "--first", WEEK, "--lines", str(lines))
    return file


def run_python(*arguments: str) -> Cost:
    """Run Python with these arguments and return what it cost. CalledProcessError when it fails."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    maxrss_bytes = 1 if sys.platform == "darwin" else 1024
    return Cost(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * maxrss_bytes / 2**20)


def land(source: Path, base: Path) -> Path:
    """Copy the weekly file to where the cleaning job reads it below its base folder, and return the copy."""
    raw = base / "processing" / "input" / "raw" / "transactions.csv.gz"
    raw.parent.mkdir(parents=True)
    shutil.copy(source, raw)
    return raw


def run_etl(base: Path) -> tuple[Cost, Cost]:
    """Clean and split the landed week, each in a process of its own, and return what each cost."""
    clean = run_python("-m", "include.etl", "clean", "--shop-week", WEEK, "--base", str(base))
    (base / "processing" / "output" / "silver").rename(base / "processing" / "input" / "silver")
    return clean, run_python("-m", "include.etl", "split", "--shop-week", WEEK, "--base", str(base))


def gold_manifest(base: Path) -> GoldManifest:
    """Return the manifest of the week that `run_etl` built."""
    path = base / "processing" / "output" / "gold" / "_manifest" / f"{WEEK}.json"
    manifest: GoldManifest = json.loads(path.read_text())
    return manifest


def argument_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows --store."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", action="store_true", help="write the figures as the new baseline")
    return parser


def print_target(text: str, reached: bool | None) -> None:
    """Print whether a target was reached. None: it could not be measured here."""
    print(f"target {text}: {'not measured' if reached is None else 'reached' if reached else 'not reached'}")


def compare_or_store(
    name: str, now: dict[str, Any], regressions: Callable[[dict[str, Any]], list[str]], store: bool
) -> int:
    """Store `now` as the baseline NAME.json, or compare it with the stored one, and return the exit code.

    regressions: returns, for the stored baseline, a text for each figure that is clearly worse.
    """
    path = Path(__file__).with_name(f"{name}.json")
    if store:
        path.write_text(json.dumps(now, indent=1) + "\n")
        return 0
    if not path.exists():
        print(f"{path} does not exist: run the benchmark with --store on a quiet machine to write it", file=sys.stderr)
        return 1
    worse = regressions(json.loads(path.read_text()))
    for text in worse:
        print(f"REGRESSION {text}", file=sys.stderr)
    return 1 if worse else 0
