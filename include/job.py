"""What the command lines of all jobs share: SageMaker's base folder, and how a failure is told."""

import os
import sys
from pathlib import Path


def base_folder() -> Path:
    """$SAGEMAKER_BASE_DIR, or /opt/ml."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def fail(base: Path, reason: str) -> int:
    """Say why to stderr and to <base>/output/failure, from where SageMaker takes it; the exit code 1."""
    print(reason, file=sys.stderr, flush=True)
    (base / "output").mkdir(parents=True, exist_ok=True)
    (base / "output" / "failure").write_text(reason + "\n")
    return 1
