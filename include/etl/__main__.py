"""Command line of the ETL jobs, in SageMaker or by hand on local folders.

    python -m include.etl clean --shop-week YYYYWW [--base DIR]
    python -m include.etl split --shop-week YYYYWW [--base DIR]

DIR is SageMaker's base folder: $SAGEMAKER_BASE_DIR, or /opt/ml. A failure's reason goes to stderr and to
DIR/output/failure, and the exit code is 1.
"""

import argparse
import gc
import json
import sys
import traceback
from pathlib import Path

from include import lake
from include.etl import clean, split
from include.etl.errors import EtlError
from include.job import base_folder, end_on_sigterm, fail

JOBS = {"clean": clean.run, "split": split.run}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m include.etl", description="Build a shop week.")
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--shop-week", required=True, metavar="YYYYWW")
    parser.add_argument("--base", type=Path, default=base_folder(), help="SageMaker's folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    job, week = options.job, options.shop_week
    try:
        lake.shop_week(week)
    except ValueError as error:
        parser.error(str(error))
    try:
        report = JOBS[job](options.base, week)
    except EtlError as error:
        return fail(options.base, f"{job} {week}: {error}")
    except Exception as error:
        traceback.print_exc()
        return fail(options.base, f"{job} {week} broke: {type(error).__name__}: {error}")
    print(json.dumps(report, indent=1), flush=True)
    return 0


if __name__ == "__main__":
    end_on_sigterm()
    gc.freeze()  # what the imports made stays to the end: searching it for garbage, then too, takes 0.1 to 0.2 s
    sys.exit(main())
