"""Command line of the ETL jobs, in SageMaker or by hand on local folders.

    python -m include.etl build --shop-week YYYYWW [--base DIR]
    python -m include.etl clean --shop-week YYYYWW [--base DIR]
    python -m include.etl split --shop-week YYYYWW [--base DIR]

`build` cleans and splits: one job, whose machine starts once. DIR is SageMaker's base folder: $SAGEMAKER_BASE_DIR, or
/opt/ml. A failure's reason goes to stderr and to DIR/output/failure, and the exit code is 1.
"""

import argparse
import gc
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from include import lake
from include.etl import clean, split
from include.etl.errors import EtlError
from include.etl.reports import GoldManifest, QualityReport
from include.job import base_folder, end_on_sigterm, report_failure

Step = Callable[[Path, str], QualityReport | GoldManifest]
JOBS: Final[dict[str, dict[str, Step]]] = {
    "clean": {"clean": clean.run},
    "split": {"split": split.run},
    "build": {"clean": clean.run, "split": split.run_on_cleaned},
}
"""Job -> its steps by name, in order."""


def main(arguments: list[str] | None = None) -> int:
    """Run the steps of a job up to the first that fails, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m include.etl", description="Build a shop week.")
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--shop-week", required=True, metavar="YYYYWW")
    parser.add_argument("--base", type=Path, default=base_folder(), help="SageMaker's folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        lake.shop_week(options.shop_week)
    except ValueError as error:
        parser.error(str(error))
    for name, step in JOBS[options.job].items():
        if exit_code := run(name, step, options.base, options.shop_week):
            return exit_code
    return 0


def run(name: str, step: Step, base: Path, week: str) -> int:
    """Run a step, print its report, and return the exit code."""
    try:
        report = step(base, week)
    except EtlError as error:
        return report_failure(base, f"{name} {week}: {error}")
    except Exception as error:
        traceback.print_exc()
        return report_failure(base, f"{name} {week} failed unexpectedly: {type(error).__name__}: {error}")
    print(json.dumps(report, indent=1), flush=True)
    return 0


if __name__ == "__main__":
    end_on_sigterm()
    gc.freeze()  # imported objects live until the end; searching them for garbage costs 0.1 to 0.2 s
    sys.exit(main())
