"""What the benchmarks share: weeks made once, measured processes, a stored baseline that makes regressions fail."""

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
"""Noise between runs; beyond it a figure is a regression."""
LINES = 2_700_000
"""Of a full-size week."""
WEEK = "200607"


@dataclass(frozen=True)
class Cost:
    """Of one process: wall and CPU seconds, peak resident memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def cache() -> Path:
    """This project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retail-mlops"


def weekly_file(lines: int) -> Path:
    """A synthetic week of about so many lines, made once and kept in the user's cache folder."""
    folder = cache() / f"week-{lines}"
    file = folder / f"transactions_{WEEK}.csv.gz"
    if not file.exists():
        print(f"making a week of {lines:,} lines", flush=True)
        run("-m", "local.data", "--out", str(folder), "--weeks", "1", "--first", WEEK, "--lines", str(lines))
    return file


def run(*arguments: str) -> Cost:
    """Runs Python with these arguments to its end; CalledProcessError when it fails."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 2**20)


def land(source: Path, base: Path) -> Path:
    """The weekly file where the cleaning job looks for it below its base folder."""
    raw = base / "processing" / "input" / "raw" / "transactions.csv.gz"
    raw.parent.mkdir(parents=True)
    shutil.copy(source, raw)
    return raw


def etl(base: Path) -> tuple[Cost, Cost]:
    """Clean and split the landed week, each in a process of its own."""
    clean = run("-m", "include.etl", "clean", "--shop-week", WEEK, "--base", str(base))
    (base / "processing" / "output" / "silver").rename(base / "processing" / "input" / "silver")
    return clean, run("-m", "include.etl", "split", "--shop-week", WEEK, "--base", str(base))


def manifest(base: Path) -> dict[str, Any]:
    """Of the week that `etl` built: what is in its gold."""
    return json.loads((base / "processing" / "output" / "gold" / "_manifest" / f"{WEEK}.json").read_text())


def options(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", action="store_true", help="write the figures as the new baseline")
    return parser


def target(told: str, reached: bool | None) -> None:
    """None: it could not be measured here."""
    print(f"target {told}: {'not measured' if reached is None else 'reached' if reached else 'not reached'}")


def settle(name: str, now: dict[str, Any], regressions: Callable[[dict[str, Any]], list[str]], store: bool) -> int:
    """Store `now` as the baseline NAME.json, or hold it against the stored one; the exit code.

    regressions: takes the stored baseline and says what is clearly worse than it."""
    path = Path(__file__).with_name(f"{name}.json")
    if store:
        path.write_text(json.dumps(now, indent=1) + "\n")
        return 0
    if not path.exists():
        print(f"there is no baseline yet: run it with --store on a quiet machine to write {path}", file=sys.stderr)
        return 1
    worse = regressions(json.loads(path.read_text()))
    for text in worse:
        print(f"REGRESSION {text}", file=sys.stderr)
    return 1 if worse else 0
