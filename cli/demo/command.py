"""The command: `make demo`, or `python -m cli demo --running` on a local stack that runs already, in containers.

DATA names a folder of weekly files (transactions_YYYYWW.csv[.gz]); without it twelve synthetic weeks are written.
APPROVE=wait prints where to approve and waits for a person; otherwise the demo answers as the signed-in user, through
the REST call that a click in the UI makes. Everything stays up; the result is in `<state>/demo.json`. Ctrl-C stops
what the demo itself started.
"""

import argparse
import json
import os
import time

from cli import down, status, up
from cli.airflow_client import Airflow
from cli.console import console
from cli.demo.report import print_summary
from cli.demo.run import Demo
from cli.demo.stages import life_cycle, weekly_files
from cli.errors import CommandError
from cli.stack import open_stack
from local.aws.credentials import session
from local.stack import config, supervisor


def main(arguments: argparse.Namespace) -> None:
    """Run the demo, print what came out of it, and write demo.json."""
    data = os.environ.get("DATA") or None
    if arguments.running:
        os.umask(0o077)  # the volume is shared by all containers
        run(open_stack(), data, {})
    else:
        start_and_run(data)


def start_and_run(data: str | None) -> None:
    """Start the local stack and run the demo on it. When interrupted, stop what was started."""
    if data:
        weekly_files(data, config.state_dir())  # a wrong folder is reported before anything starts
    stack = open_stack()
    ran_before = status.is_healthy(stack)
    try:
        started = time.monotonic()
        up.start(stack)
        up.print_addresses(stack)
        run(stack, data, {"up": round(time.monotonic() - started, 1)})
    except KeyboardInterrupt:
        if not ran_before:
            console.print("\ninterrupted: stopping what the demo started")
            down.stop(stack)
        raise
    except CommandError as error:
        if supervisor.running(stack.state):
            raise CommandError(f"{error}\nthe local stack is still up: make status, make down") from error
        raise


def run(stack: config.LocalStack, data: str | None, seconds: dict[str, float]) -> None:
    """Run the life cycle on a local stack that is up. seconds: what the stages before it took."""
    demo = Demo(stack, Airflow(stack), session(stack), seconds)
    result = life_cycle(demo, data, os.environ.get("APPROVE") == "wait")
    (stack.state / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    print_summary(result)
