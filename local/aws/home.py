"""The state folder of the embedded AWS, and the mark by which its child processes are found after a kill -9."""

import contextlib
import os
from pathlib import Path

from local.stack import config

ALLOWED = "allowed.txt"
"""Lines "role action" of what IAM ever allowed in this local stack."""
MARK = "LOCAL_AWS_DIR"
"""Beside `config.MARK`, which the supervisor's other services carry too: only what belongs to local.aws."""


def folder(stack: config.LocalStack) -> Path:
    return stack.state / "aws"


def write_private(path: Path, text: str) -> None:
    """All of the file or nothing, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def child_environment(stack: config.LocalStack) -> dict[str, str]:
    """This process's environment for a child: with both marks, without the credentials of root."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return ours | {config.MARK: str(stack.state), MARK: str(folder(stack))}
