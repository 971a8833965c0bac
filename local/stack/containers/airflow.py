"""Run one process of Airflow in a container, with the environment of `make up` and the database of Compose.

With MLOPS_TARGET=aws it works on the account that the user's own files in ~/.aws open.
"""

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator

from local.aws.credentials import NotStarted, client_env
from local.stack import airflow_environment as environment
from local.stack import config
from local.stack.airflow_services import COMMANDS
from local.stack.containers.secret import DATABASE_PASSWORD

PATIENCE = 300
"""Seconds that the embedded AWS may take to make its first user."""


@contextlib.contextmanager
def _alone(stack: config.LocalStack) -> Iterator[None]:
    """Four containers start at once, and each writes Airflow's files."""
    folder = stack.state / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bootstrap(stack: config.LocalStack) -> dict[str, str]:
    """The embedded AWS's keys, waited for."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return client_env(stack)
        except NotStarted:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def environment_of(stack: config.LocalStack, command: str) -> dict[str, str]:
    """A process's variables; `migrate` needs no AWS."""
    with _alone(stack):
        if command == "migrate":
            found = environment.airflow(stack)
        else:
            found = environment.with_aws(stack, {} if config.on_aws() else _bootstrap(stack))
    password = DATABASE_PASSWORD.read_text()
    url = f"postgresql+psycopg2://airflow:{password}@postgres:5432/airflow"
    return found | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}


def main(command: str) -> int:
    """Does not return, but for `migrate`."""
    os.umask(0o077)
    stack = config.load()
    os.environ |= environment.retail(stack)
    env = environment_of(stack, command)
    if command == "migrate":
        return subprocess.run([str(environment.BIN / "airflow"), "db", "migrate"], env=env, check=False).returncode
    program, *words = COMMANDS[command]
    os.execve(program, [program, *words], env)  # nosec B606 # noqa: S606 - in place of this process
