"""The state folder of the AWS emulation, and the variable by which its child processes are found after a kill -9."""

import os
from pathlib import Path

from local.stack import config

ALLOWED = "allowed.txt"
"""File of lines "role action": what IAM ever allowed in this local stack."""
MARK = "LOCAL_AWS_DIR"
"""Environment variable of every child process. The supervisor's other services carry `config.MARK` only."""


def folder(stack: config.LocalStack) -> Path:
    """Return the state folder."""
    return stack.state / "aws"


def write_private(path: Path, text: str) -> None:
    """Write all of the file or nothing, readable by its owner only."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def child_environment(stack: config.LocalStack) -> dict[str, str]:
    """Return the environment for a child process: with both marks, without the credentials of root."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return inherited | {config.MARK: str(stack.state), MARK: str(folder(stack))}
