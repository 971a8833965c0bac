"""Measure the ETL on a full-size synthetic week and on one twice as large: `python -m benchmarks.etl` in .venv/jobs.

Every step runs in its own process, beside a naive `pandas.read_csv` of the same file in the same run, so that the ratio
of their CPU times is the same on a fast and on a busy machine. A ratio or a memory peak clearly worse than the stored
baseline fails; `--store` writes a new baseline.
"""

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common import LINES, WORSE, Cost, etl, land, manifest, options, run, settle, target, weekly_file

TARGET_LINES_A_SECOND = 450_000
TARGET_PEAK_MB = 1_000
FLAT = 1.25
"""The factor by which the peak may grow when the file doubles."""
NAIVE = "import pandas, sys; print(len(pandas.read_csv(sys.argv[1])))"


@dataclass(frozen=True)
class Figures:
    """The figures of one file. ratio: CPU seconds of the naive read divided by those of the ETL."""

    lines: int
    lines_a_second: float
    lines_a_cpu_second: float
    peak_mb: float
    ratio: float
    clean: Cost
    split: Cost
    naive: Cost


def measure(source: Path, scratch: Path) -> Figures:
    """Run the naive read and the ETL on a weekly file."""
    base = scratch / source.parent.name
    raw = land(source, base)
    naive = run("-c", NAIVE, str(raw))
    clean, split = etl(base)
    lines = manifest(base)["rows"]
    seconds = clean.seconds + split.seconds
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
    """Print the figures in one line."""
    print(
        f"{name}: {figures.lines:,} lines, {figures.lines_a_second:,.0f} lines/s "
        f"({figures.lines_a_cpu_second:,.0f} a CPU second), peak {figures.peak_mb:.0f} MB; "
        f"clean {figures.clean.seconds:.1f} s, split {figures.split.seconds:.1f} s; "
        f"naive pandas read {figures.naive.seconds:.1f} s, {figures.naive.peak_mb:.0f} MB; ratio {figures.ratio:.2f}",
        flush=True,
    )


def regressions(now: dict[str, Figures], baseline: dict[str, dict[str, float]]) -> list[str]:
    """Return what is clearly worse than the baseline, and whether the peak grows with the file."""
    worse = []
    for name, figures in now.items():
        before = baseline[name]
        if figures.ratio * WORSE < before["ratio"]:
            worse.append(
                f"{name}: {figures.ratio:.2f} of the naive read's lines a CPU second, "
                f"the baseline is {before['ratio']:.2f}"
            )
        if figures.peak_mb > before["peak_mb"] * WORSE:
            worse.append(f"{name}: peak {figures.peak_mb:.0f} MB, the baseline is {before['peak_mb']:.0f} MB")
    if now["twice"].peak_mb > now["once"].peak_mb * FLAT:
        worse.append(f"the peak grows with the file: {now['once'].peak_mb:.0f} → {now['twice'].peak_mb:.0f} MB")
    return worse


def main() -> int:
    """Measure, print, and store the figures or compare them with the baseline. Return the exit code."""
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
    figures = {name: asdict(measured) for name, measured in now.items()}
    return settle("etl", figures, lambda baseline: regressions(now, baseline), store)


if __name__ == "__main__":
    sys.exit(main())
