"""What the command lines of all jobs share: SageMaker's base folder, and how a failure is told."""

import os
import signal
import sys
import threading
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


def end_on_sigterm() -> None:
    """As process 1 of a container: end at SIGTERM, which the kernel keeps from a process 1 that does not ask for it.

    A thread waits for it, so that a job deep in compiled code ends at once. Elsewhere the default does all of this.
    """
    if os.getpid() != 1:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    waiting = threading.Thread(target=lambda: os._exit(128 + signal.sigwait({signal.SIGTERM})), daemon=True)
    waiting.start()
