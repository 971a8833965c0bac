"""One process of Airflow, with the environment that `make up` gives it, but for the database, and AWS by choice.

LOCAL_WORLD is `embedded`, the default, or `aws`: an account that the user's own files in ~/.aws open.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator

from include.settings import REGION, settings
from local.aws.credentials import NotStarted, client_env
from local.stack import airflow_environment as environment
from local.stack import config
from local.stack.airflow_services import COMMANDS
from local.stack.containers.secret import DATABASE_PASSWORD

PATIENCE = 300
"""Seconds that the embedded AWS may take to make its first user."""


def embedded() -> bool:
    """ConfigError when LOCAL_WORLD is no local stack."""
    found = os.environ.get("LOCAL_WORLD") or "embedded"
    if found not in ("embedded", "aws"):
        raise config.ConfigError(f"LOCAL_WORLD={found}: expected embedded or aws")
    return found == "embedded"


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


def _account(stack: config.LocalStack) -> dict[str, str]:
    """Airflow with connections to an account: they name no key, so boto3 looks where it always looks.

    Without what `make up` sets for the local stack: the user's own RETAIL_* and the project's defaults hold.
    """
    found = {name: value for name, value in environment.airflow(stack).items() if not name.startswith("RETAIL_")}
    own = {name: value for name, value in os.environ.items() if name.startswith("RETAIL_")}
    admin = {"conn_type": "aws", "extra": {"region_name": REGION}}
    role = {"conn_type": "aws", "extra": {"region_name": REGION, "role_arn": settings().role("airflow")}}
    return (
        found
        | own
        | {
            "AIRFLOW_CONN_AWS_ADMIN": json.dumps(admin),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(role),
            "AWS_PROFILE": os.environ.get("AWS_PROFILE") or "default",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
    )


def environment_of(stack: config.LocalStack, command: str) -> dict[str, str]:
    """A process's variables; `migrate` needs no AWS."""
    with _alone(stack):
        if command == "migrate":
            found = environment.airflow(stack)
        elif embedded():
            found = environment.with_aws(stack, _bootstrap(stack))
        else:
            found = _account(stack)
    password = DATABASE_PASSWORD.read_text()
    url = f"postgresql+psycopg2://airflow:{password}@postgres:5432/airflow"
    return found | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}


def main(command: str) -> int:
    """Does not return, but for `migrate`."""
    os.umask(0o077)
    stack = config.load()
    if embedded():
        os.environ |= environment.retail(stack)
    env = environment_of(stack, command)
    if command == "migrate":
        return subprocess.run([str(environment.BIN / "airflow"), "db", "migrate"], env=env, check=False).returncode
    program, *words = COMMANDS[command]
    os.execve(program, [program, *words], env)  # nosec B606 # noqa: S606 - in place of this process
