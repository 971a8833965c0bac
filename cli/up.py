"""Start the local stack and wait until it is healthy: `make up`."""

import argparse
import subprocess
import sys
from typing import Any

from rich.markup import escape

from cli import down
from cli.console import console
from cli.errors import CommandError
from cli.stack import open_stack
from include.settings import settings
from local.stack import airflow_environment as environment
from local.stack import config, supervisor
from local.stack.waiting import wait_until

UP_SECONDS = 600


def main(_: argparse.Namespace) -> None:
    """Start everything, and print where it is and the password."""
    stack = open_stack()
    start(stack)
    print_addresses(stack)


def start(stack: config.LocalStack) -> None:
    """Start what does not run, and return when all of it is healthy. Ctrl-C stops what was started."""
    settings()  # a wrong RETAIL_* key is reported here in one line, not by a service that dies of it
    started = None
    try:
        if supervisor.running(stack.state) is None:
            started = _start_supervisor(stack)
        _wait_up(stack, started)
    except KeyboardInterrupt:
        if started:
            console.print("interrupted: stopping what was started")
            down.stop(stack)
        raise


def _start_supervisor(stack: config.LocalStack) -> subprocess.Popen[bytes]:
    from local.stack import kube_cluster

    log = stack.state / "log" / "supervisor.log"
    log.parent.mkdir(exist_ok=True)
    kube = {} if config.on_aws() else {"KUBE_ASSETS": str(kube_cluster.ensure_binaries())}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "local.stack.supervisor"],
            cwd=config.ROOT,
            env=environment.base(stack) | kube,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait_up(stack: config.LocalStack, started: subprocess.Popen[bytes] | None) -> None:
    """Wait until every service runs. Raise CommandError when the supervisor (`started`, or another's) ended."""
    with console.status("starting") as shown:

        def is_up() -> bool:
            waiting = _services_to_wait_for(stack, started)
            if waiting:
                shown.update(f"starting: waiting for {', '.join(name for name in waiting if name != 'supervisor')}")
            return waiting == []

        logs = stack.state / "log"
        late = CommandError(f"not up after {UP_SECONDS} s: see `make status`, and the logs in {logs}")
        wait_until(is_up, UP_SECONDS, error=lambda: late)


def _services_to_wait_for(stack: config.LocalStack, started: subprocess.Popen[bytes] | None) -> list[str] | None:
    """Return the services that do not run yet; None while the supervisor does not report."""
    has_ended = started is not None and started.poll() is not None
    pid = supervisor.running(stack.state)
    status = supervisor.read_status(stack.state)
    reported: dict[str, Any] = status.get("supervisor", {})
    if pid is None and (has_ended or started is None):
        reason = reported.get("reason") if started and reported.get("pid") == started.pid else ""
        raise CommandError(reason or f"the supervisor ended: see {stack.state / 'log' / 'supervisor.log'}")
    if pid is None or reported.get("pid") != pid:
        return None
    return [name for name, service in status.items() if service["state"] != "running"]


def print_addresses(stack: config.LocalStack) -> None:
    """Print the URLs, the user and the password."""
    password = environment.load_secrets(stack).password
    console.print(
        f"Airflow    {stack.airflow_url}  user [bold]{environment.USER}[/], password [bold]{escape(password)}[/]"
    )
    if config.on_aws():
        console.print(f"AWS        account {settings().account_id}, with the credentials that boto3 finds")
        return
    console.print(f"AWS        {stack.aws_url}  (make -s aws-env)")
    console.print(f"endpoint   http://127.0.0.1:{stack.endpoint}  (when a model is deployed)")
