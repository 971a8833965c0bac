"""Command line of the training and evaluation jobs, in SageMaker or by hand on local folders.

    python -m include.train fit [--base DIR]
    python -m include.train evaluate [--base DIR]

DIR is SageMaker's base folder: $SAGEMAKER_BASE_DIR, or /opt/ml. A failure's reason goes to stderr and to
DIR/output/failure, and the exit code is 1.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from include.baskets.errors import BundleError
from include.train.errors import TrainingError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m include.train", description="Fit or judge the model.")
    parser.add_argument("job", choices=("fit", "evaluate"))
    default = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    parser.add_argument("--base", type=Path, default=default, help="SageMaker's base folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        _job(options.job)(options.base)
    except (TrainingError, BundleError) as error:
        return _fail(options.base, f"{options.job}: {error}")
    except Exception as error:
        traceback.print_exc()
        return _fail(options.base, f"{options.job} broke: {type(error).__name__}: {error}")
    return 0


def _job(name: str) -> Callable[[Path], object]:
    """Imported when asked for: fitting must not wait for what only the report needs."""
    return import_module(f"include.train.{name}").run


def _fail(base: Path, reason: str) -> int:
    print(reason, file=sys.stderr, flush=True)
    (base / "output").mkdir(parents=True, exist_ok=True)
    (base / "output" / "failure").write_text(reason + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
