"""Measures the ETL on a full-size synthetic week and on one twice as large: `python -m benchmarks.etl` in .venv/jobs.

Every step runs in a process of its own, beside a naive `pandas.read_csv` of the same file in the same session, so that
the ratio of their CPU times says the same on a fast and on a busy machine. A ratio or a memory peak clearly worse than
the stored baseline fails; `--store` writes a new baseline.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common import ROOT, WORSE, cache, options, settle, target

LINES = 2_700_000
WEEK = "200607"
TARGET_LINES_A_SECOND = 450_000
TARGET_PEAK_MB = 1_000
FLAT = 1.25
"""How much the peak may grow when the file doubles."""
NAIVE = "import pandas, sys; print(len(pandas.read_csv(sys.argv[1])))"


@dataclass(frozen=True)
class Cost:
    """Of one process: wall and CPU seconds, peak resident memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Figures:
    """lines: in the file; ratio: CPU seconds of the naive read against the ETL's; clean, split, naive: their costs."""

    lines: int
    lines_a_second: float
    lines_a_cpu_second: float
    peak_mb: float
    ratio: float
    clean: Cost
    split: Cost
    naive: Cost


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


def measure(source: Path, scratch: Path) -> Figures:
    base = scratch / source.parent.name
    raw = base / "processing" / "input" / "raw" / "transactions.csv.gz"
    raw.parent.mkdir(parents=True)
    shutil.copy(source, raw)
    naive = run("-c", NAIVE, str(raw))
    clean = run("-m", "include.etl", "clean", "--shop-week", WEEK, "--base", str(base))
    (base / "processing" / "output" / "silver").rename(base / "processing" / "input" / "silver")
    split = run("-m", "include.etl", "split", "--shop-week", WEEK, "--base", str(base))
    manifest = json.loads((base / "processing" / "output" / "gold" / "_manifest" / f"{WEEK}.json").read_text())
    lines, seconds = manifest["rows"], clean.seconds + split.seconds
    return Figures(
        lines=lines,
        lines_a_second=lines / seconds,
        lines_a_cpu_second=lines / (clean.cpu_seconds + split.cpu_seconds),
        peak_mb=max(clean.peak_mb, split.peak_mb),
        ratio=naive.cpu_seconds / (clean.cpu_seconds + split.cpu_seconds),
        clean=clean,
        split=split,
        naive=naive,
    )


def show(name: str, figures: Figures) -> None:
    print(
        f"{name}: {figures.lines:,} lines, {figures.lines_a_second:,.0f} lines/s "
        f"({figures.lines_a_cpu_second:,.0f} a CPU second), peak {figures.peak_mb:.0f} MB; "
        f"clean {figures.clean.seconds:.1f} s, split {figures.split.seconds:.1f} s; "
        f"naive pandas read {figures.naive.seconds:.1f} s, {figures.naive.peak_mb:.0f} MB; ratio {figures.ratio:.2f}",
        flush=True,
    )


def regressions(now: dict[str, Figures], baseline: dict[str, dict]) -> list[str]:
    """What is clearly worse than the baseline, or no longer flat."""
    found = []
    for name, figures in now.items():
        before = baseline[name]
        if figures.ratio * WORSE < before["ratio"]:
            found.append(
                f"{name}: {figures.ratio:.2f} of the naive read's lines a CPU second, "
                f"the baseline is {before['ratio']:.2f}"
            )
        if figures.peak_mb > before["peak_mb"] * WORSE:
            found.append(f"{name}: peak {figures.peak_mb:.0f} MB, the baseline is {before['peak_mb']:.0f} MB")
    if now["twice"].peak_mb > now["once"].peak_mb * FLAT:
        found.append(f"the peak grows with the file: {now['once'].peak_mb:.0f} → {now['twice'].peak_mb:.0f} MB")
    return found


def main() -> int:
    store = options("Measure the ETL against its stored baseline.").parse_args().store
    now = {}
    for name, lines in {"once": LINES, "twice": 2 * LINES}.items():
        source = weekly_file(lines)
        with tempfile.TemporaryDirectory() as scratch:
            now[name] = measure(source, Path(scratch))
        show(name, now[name])
    once = now["once"]
    target(f"{TARGET_LINES_A_SECOND:,} lines/s", once.lines_a_second >= TARGET_LINES_A_SECOND)
    target(f"{TARGET_PEAK_MB:,} MB peak", once.peak_mb < TARGET_PEAK_MB)
    figures = {name: asdict(one) for name, one in now.items()}
    return settle("etl", figures, lambda baseline: regressions(now, baseline), store)


if __name__ == "__main__":
    sys.exit(main())
