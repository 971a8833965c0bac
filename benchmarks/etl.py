"""Measure the ETL on a full-size synthetic week and on one twice as large: `python -m benchmarks.etl` in .venv/jobs.

Every step runs in a process of its own, beside a naive `pandas.read_csv` of the same file in the same session, so that
the ratio of their CPU times does not depend on the machine. A ratio or a memory peak that is clearly worse than the
stored baseline fails; `--store` writes a new baseline.
"""

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import (
    LINES,
    WORSE,
    Cost,
    argument_parser,
    compare_or_store,
    gold_manifest,
    land,
    print_target,
    run_etl,
    run_python,
    weekly_file,
)

TARGET_LINES_A_SECOND = 450_000
TARGET_PEAK_MB = 1_000
FLAT = 1.25
"""Factor by which the peak may grow when the file doubles."""
NAIVE = "import pandas, sys; print(len(pandas.read_csv(sys.argv[1])))"


@dataclass(frozen=True)
class Figures:
    """lines: in the file. ratio: CPU seconds of the naive read divided by the ETL's. clean, split, naive: costs."""

    lines: int
    lines_a_second: float
    lines_a_cpu_second: float
    peak_mb: float
    ratio: float
    clean: Cost
    split: Cost
    naive: Cost


def measure(source: Path, scratch: Path) -> Figures:
    """Run the naive read, clean and split on a weekly file."""
    base = scratch / source.parent.name
    raw = land(source, base)
    naive = run_python("-c", NAIVE, str(raw))
    clean, split = run_etl(base)
    lines = gold_manifest(base)["rows"]
    seconds = clean.seconds + split.seconds
    cpu_seconds = clean.cpu_seconds + split.cpu_seconds
    return Figures(
        lines=lines,
        lines_a_second=lines / seconds,
        lines_a_cpu_second=lines / cpu_seconds,
        peak_mb=max(clean.peak_mb, split.peak_mb),
        ratio=naive.cpu_seconds / cpu_seconds,
        clean=clean,
        split=split,
        naive=naive,
    )


def show(name: str, figures: Figures) -> None:
    """Print the figures of a file."""
    print(
        f"{name}: {figures.lines:,} lines, {figures.lines_a_second:,.0f} lines/s "
        f"({figures.lines_a_cpu_second:,.0f} a CPU second), peak {figures.peak_mb:.0f} MB; "
        f"clean {figures.clean.seconds:.1f} s, split {figures.split.seconds:.1f} s; "
        f"naive pandas read {figures.naive.seconds:.1f} s, {figures.naive.peak_mb:.0f} MB; ratio {figures.ratio:.2f}",
        flush=True,
    )


def regressions(now: dict[str, Figures], baseline: dict[str, dict[str, Any]]) -> list[str]:
    """Return a text for each figure that is clearly worse than the baseline, or grows with the file."""
    texts = []
    for name, figures in now.items():
        before = baseline[name]
        if figures.ratio * WORSE < before["ratio"]:
            texts.append(
                f"{name}: {figures.ratio:.2f} of the naive read's lines a CPU second, "
                f"the baseline is {before['ratio']:.2f}"
            )
        if figures.peak_mb > before["peak_mb"] * WORSE:
            texts.append(f"{name}: peak {figures.peak_mb:.0f} MB, the baseline is {before['peak_mb']:.0f} MB")
    if now["twice"].peak_mb > now["once"].peak_mb * FLAT:
        texts.append(f"the peak grows with the file: {now['once'].peak_mb:.0f} → {now['twice'].peak_mb:.0f} MB")
    return texts


def main() -> int:
    store = argument_parser("Measure the ETL against its stored baseline.").parse_args().store
    now = {}
    for name, lines in {"once": LINES, "twice": 2 * LINES}.items():
        source = weekly_file(lines)
        with tempfile.TemporaryDirectory() as scratch:
            now[name] = measure(source, Path(scratch))
        show(name, now[name])
    once = now["once"]
    print_target(f"{TARGET_LINES_A_SECOND:,} lines/s", once.lines_a_second >= TARGET_LINES_A_SECOND)
    print_target(f"{TARGET_PEAK_MB:,} MB peak", once.peak_mb < TARGET_PEAK_MB)
    figures = {name: asdict(measured) for name, measured in now.items()}
    return compare_or_store("etl", figures, lambda baseline: regressions(now, baseline), store)


if __name__ == "__main__":
    sys.exit(main())
