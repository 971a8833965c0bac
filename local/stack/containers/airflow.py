"""Run one process of Airflow in a container, with the environment of `make up` and the database of Compose.

With MLOPS_TARGET=aws it works on the account that the user's own files in ~/.aws open.
"""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator

from local.aws.credentials import NotStarted, client_env
from local.stack import airflow_environment as environment
from local.stack import config
from local.stack.airflow_services import COMMANDS
from local.stack.containers.secret import DATABASE_PASSWORD
from local.stack.waiting import wait_until

FIRST_USER_TIMEOUT = 300
"""Seconds that the AWS emulation may take to create its first user."""


@contextlib.contextmanager
def _lock_files(stack: config.LocalStack) -> Iterator[None]:
    """Let one container at a time write Airflow's files: four of them start at once."""
    folder = stack.state / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_for_keys(stack: config.LocalStack) -> dict[str, str]:
    """Return the keys of the AWS emulation's first user, once it has created them."""

    def keys() -> dict[str, str] | None:
        try:
            return client_env(stack)
        except NotStarted:
            return None

    late = NotStarted(f"the AWS emulation has not created its first user within {FIRST_USER_TIMEOUT} s: see its log")
    return wait_until(keys, FIRST_USER_TIMEOUT, every=0.5, error=lambda: late)


def environment_of(stack: config.LocalStack, command: str) -> dict[str, str]:
    """Return the variables of a process; `migrate` needs no AWS."""
    with _lock_files(stack):
        if command == "migrate":
            env = environment.airflow(stack)
        else:
            env = environment.with_aws(stack, {} if config.on_aws() else _wait_for_keys(stack))
    password = DATABASE_PASSWORD.read_text()
    url = f"postgresql+psycopg2://airflow:{password}@postgres:5432/airflow"
    return env | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}


def main(command: str) -> int:
    """Become the process; only `migrate` returns, with its exit status."""
    os.umask(0o077)
    stack = config.load()
    os.environ |= environment.retail(stack)
    env = environment_of(stack, command)
    if command == "migrate":
        return subprocess.run([str(environment.BIN / "airflow"), "db", "migrate"], env=env, check=False).returncode
    program, *words = COMMANDS[command]
    os.execve(program, [program, *words], env)  # nosec B606 # noqa: S606 - in place of this process
