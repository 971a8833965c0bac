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
from include.job import base_folder, end_on_sigterm, fail
from include.train.errors import TrainingError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m include.train", description="Fit or judge the model.")
    parser.add_argument("job", choices=("fit", "evaluate"))
    parser.add_argument("--base", type=Path, default=base_folder(), help="SageMaker's folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        _job(options.job)(options.base)
    except (TrainingError, BundleError) as error:
        return fail(options.base, f"{options.job}: {error}")
    except Exception as error:
        traceback.print_exc()
        return fail(options.base, f"{options.job} broke: {type(error).__name__}: {error}")
    return 0


def _job(name: str) -> Callable[[Path], object]:
    """Imported when asked for: fitting must not wait for what only the report needs."""
    return import_module(f"include.train.{name}").run


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main())
