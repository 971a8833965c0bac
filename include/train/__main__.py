"""Command line of the training and evaluation jobs, in SageMaker or by hand on local folders.

    python -m include.train fit [--base DIR]
    python -m include.train evaluate [--base DIR]

DIR is SageMaker's base folder: $SAGEMAKER_BASE_DIR, or /opt/ml. A failure's reason goes to stderr and to
DIR/output/failure, and the exit code is 1.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from include.baskets.errors import BundleError
from include.job import base_folder, end_on_sigterm, report_failure
from include.train.errors import TrainingError


def main(arguments: list[str] | None = None) -> int:
    """Run a job and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m include.train", description="Train or evaluate the model.")
    parser.add_argument("job", choices=("fit", "evaluate"))
    parser.add_argument("--base", type=Path, default=base_folder(), help="SageMaker's folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        _job(options.job)(options.base)
    except (TrainingError, BundleError) as error:
        return report_failure(options.base, f"{options.job}: {error}")
    except Exception as error:
        traceback.print_exc()
        return report_failure(options.base, f"{options.job} failed unexpectedly: {type(error).__name__}: {error}")
    return 0


def _job(name: str) -> Callable[[Path], object]:
    """Import a job's module and return its `run`. Training must not wait for the imports of the report."""
    run: Callable[[Path], object] = import_module(f"include.train.{name}").run
    return run


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())
