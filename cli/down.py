"""Stop the local stack, and remove its state if asked to: `make down`, `make clean`."""

import argparse
import contextlib
import os
import shutil
import signal

from cli.console import console
from cli.errors import CommandError
from cli.stack import open_stack
from local.stack import config, processes, supervisor
from local.stack.postgres import Postgres
from local.stack.waiting import wait_until

DOWN_SECONDS = 60


def main(_: argparse.Namespace) -> None:
    """Stop everything; the state stays."""
    stop(open_stack())


def clean(_: argparse.Namespace) -> None:
    """Stop everything, remove the state, and make the local stack's ports and addresses available again."""
    stack = open_stack()
    stop(stack)
    Postgres(stack).remove_socket_dir()
    shutil.rmtree(stack.state)
    config.forget(stack)


def stop(stack: config.LocalStack) -> None:
    """Stop every process of this local stack; nothing happens when nothing runs."""
    if pid := supervisor.running(stack.state):
        _stop_supervisor(stack, pid)
    with supervisor.locked(stack.state) as has_lock:
        if has_lock:
            supervisor.end_leftovers(stack)
    if left := processes.members(str(stack.state)):
        raise CommandError(f"processes {', '.join(map(str, left))} do not end")


def _stop_supervisor(stack: config.LocalStack, pid: int) -> None:
    """Ask the supervisor to stop its services, and wait for its end, or for DOWN_SECONDS."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    with console.status("stopping") as shown:

        def has_stopped() -> bool:
            status = supervisor.read_status(stack.state)
            running = [name for name, service in status.items() if service["pid"] and name != "supervisor"]
            shown.update(f"stopping {', '.join(running)}")
            return supervisor.running(stack.state) != pid

        with contextlib.suppress(TimeoutError):  # then its services are ended as leftovers
            wait_until(has_stopped, DOWN_SECONDS)
