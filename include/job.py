"""What the command lines of all jobs share: SageMaker's base folder, failure reports, and SIGTERM."""

import os
import signal
import sys
import threading
from pathlib import Path


def base_folder() -> Path:
    """Return $SAGEMAKER_BASE_DIR, or /opt/ml."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def report_failure(base: Path, reason: str) -> int:
    """Write the reason to stderr and to <base>/output/failure, which SageMaker reads. Return exit code 1."""
    print(reason, file=sys.stderr, flush=True)
    (base / "output").mkdir(parents=True, exist_ok=True)
    (base / "output" / "failure").write_text(reason + "\n")
    return 1


def end_on_sigterm() -> None:
    """End process 1 of a container at SIGTERM; the kernel ignores the default action of a signal for process 1.

    A thread waits for the signal, so that a job inside compiled code ends at once, too. Any other process ends by the
    default action.
    """
    if os.getpid() != 1:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    waiting = threading.Thread(target=lambda: os._exit(128 + signal.sigwait({signal.SIGTERM})), daemon=True)
    waiting.start()
