"""A local stack of the tests' own: its own state, ports and addresses, beside whatever else runs on this machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.stack import config

PYTHON = config.ROOT / ".venv/local-aws/bin/python"
WEEKS = 4
"""As few as train a model well above the gate (0.95 on its validation split); every week costs 14 s of CPU."""
BAKE_SECONDS = 6
"""Of deploys that do not say otherwise: long enough for three times the requests that a bake needs."""

Env = dict[str, str]


def run(env: Env, module: str, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`python -m module args` of the local stack; its output becomes the failure when it fails."""
    done = subprocess.run([PYTHON, "-m", module, *args], cwd=config.ROOT, env=env, capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(
            f"{module} {args} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
    return done


@contextmanager
def private_stack() -> Iterator[tuple[Path, Env]]:
    """Its folder, with synthetic weekly files in `weeks`, and the variables that name both; gone at the end."""
    state = Path(tempfile.mkdtemp(prefix="rmw-"))  # short: sockets have a length limit
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOCAL_", "MLOPS_", "RETAIL_", "AWS_"))
    }
    shorter = {"RETAIL_BAKE_SECONDS": str(BAKE_SECONDS)}
    env = kept | shorter | {"LOCAL_STATE": str(state), "DATA": str(state / "weeks")}
    try:
        jobs = config.ROOT / ".venv/jobs/bin/python"
        generate = [jobs, "-m", "local.data", "--out", state / "weeks", "--weeks", str(WEEKS)]
        subprocess.run(generate, cwd=config.ROOT, check=True)
        yield state, env
    finally:
        left = run(env, "cli", "clean", check=False)
        if left.returncode:
            print(left.stdout, left.stderr, file=sys.stderr)
        shutil.rmtree(state, ignore_errors=True)
