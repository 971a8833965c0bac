"""The local stack's commands, behind the Makefile: `python -m cli {up,down,status,…}`."""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
from botocore.exceptions import ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import ingest
from cli import run_dag as runs
from cli.airflow_client import Airflow, AirflowError
from cli.ingest import IngestError
from include.settings import API_REPOSITORY, JOBS_REPOSITORY, settings
from local.aws.credentials import NotStarted, client_env, session
from local.stack import airflow_environment as environment
from local.stack import code_images as images
from local.stack import config, processes, supervisor
from local.stack.code_images import ImageError
from local.stack.postgres import Postgres

UP_SECONDS = 600
DOWN_SECONDS = 60
console = Console(highlight=False)


class CommandError(Exception):
    """Why a command failed, in words for the person who typed it."""


REPORTED = (
    CommandError,
    config.ConfigError,
    AirflowError,
    ImageError,
    IngestError,
    runs.RunError,
    NotStarted,
    ClientError,
    ValueError,
)
"""What a person can do something about: one line, no traceback. ValueError comes from RETAIL_* settings."""


EMBEDDED_ONLY = ("image", "image-verify", "kubeconfig", "aws-env")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# --- up ---
def _start_supervisor(stack: config.LocalStack) -> subprocess.Popen[bytes]:
    from local.kube import assets

    log = stack.state / "log" / "supervisor.log"
    log.parent.mkdir(exist_ok=True)
    kube = {} if config.on_aws() else {"KUBE_ASSETS": str(assets.ensure())}
    env = environment.base(stack) | kube
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "local.stack.supervisor"],
            cwd=config.ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait_up(stack: config.LocalStack, started: subprocess.Popen[bytes] | None) -> None:
    """Until every service runs. CommandError with the reason when the supervisor (`started`, or another's) gave up."""
    with console.status("starting") as shown:
        until = time.monotonic() + UP_SECONDS
        while time.monotonic() < until:
            ended = started is not None and started.poll() is not None
            pid, status = supervisor.running(stack.state), supervisor.read_status(stack.state)
            mine = status.get("supervisor", {})
            if pid is None and (ended or started is None):
                told = mine.get("reason") if started and mine.get("pid") == started.pid else ""
                raise CommandError(told or f"the supervisor ended: see {stack.state / 'log' / 'supervisor.log'}")
            if pid and mine.get("pid") == pid:
                late = _waiting_for(status)
                if mine["state"] == "running" and not late:
                    return
                shown.update(f"starting: waiting for {', '.join(late)}")
            time.sleep(0.2)
    raise CommandError(f"not up after {UP_SECONDS} s: make status, and the logs in {stack.state / 'log'}")


def _waiting_for(status: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, service in status.items() if service["state"] != "running" and name != "supervisor"]


def start(stack: config.LocalStack) -> None:
    """Start what does not run; return when all of it is healthy."""
    settings()  # a wrong RETAIL_* key is told here in one line, not by a service that dies of it
    started = None
    try:
        if supervisor.running(stack.state) is None:
            started = _start_supervisor(stack)
        _wait_up(stack, started)
    except KeyboardInterrupt:
        if started:
            console.print("interrupted: taking down what was started")
            down(stack)
        raise


def up(stack: config.LocalStack) -> None:
    """`start`, then say where everything is, and the password."""
    start(stack)
    _print_addresses(stack)


def _print_addresses(stack: config.LocalStack) -> None:
    password = environment.load_secrets(stack).password
    console.print(
        f"Airflow    {stack.airflow_url}  user [bold]{environment.USER}[/], password [bold]{escape(password)}[/]"
    )
    if config.on_aws():
        console.print(f"AWS        account {settings().account_id}, as boto3 finds you")
        return
    console.print(f"AWS        {stack.aws_url}  (make -s aws-env)")
    console.print(f"endpoint   http://127.0.0.1:{stack.endpoint}  (when a model is deployed)")


# --- down ---
def down(stack: config.LocalStack) -> None:
    """Stop everything of this local stack; nothing happens when nothing runs."""
    if pid := supervisor.running(stack.state):
        _signal(pid, signal.SIGTERM)
        with console.status("stopping") as shown:
            until = time.monotonic() + DOWN_SECONDS
            while supervisor.running(stack.state) == pid and time.monotonic() < until:
                living = [name for name, service in supervisor.read_status(stack.state).items() if service["pid"]]
                shown.update(f"stopping {', '.join(living[1:])}")
                time.sleep(0.2)
    with supervisor.locked(stack.state) as mine:
        if mine:
            supervisor.end_leftovers(stack)
    if left := processes.members(str(stack.state)):
        raise CommandError(f"processes {', '.join(map(str, left))} do not end")


def clean(stack: config.LocalStack) -> None:
    """Stop everything, remove the state and give the local stack's ports and addresses back."""
    down(stack)
    Postgres(stack).remove_socket_dir()
    shutil.rmtree(stack.state)
    config.forget(stack)


# --- status ---
def _memory(pid: int) -> int:
    """Bytes of a process and its descendants, shared pages divided among their users where the system tells."""
    total = 0
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                full = process.memory_full_info()
                total += getattr(full, "pss", full.uss)
    return total


def _rows(stack: config.LocalStack, alive: bool) -> Iterator[tuple[str, ...]]:
    for name, service in supervisor.read_status(stack.state).items():
        pid = service["pid"] if alive else None
        memory = f"{_memory(pid) / 2**20:.0f} MB" if pid and name != "supervisor" else ""
        port, restarts = service.get("port"), service.get("restarts", 0)
        state = service["state"] if alive else "down"
        yield name, state, str(pid or ""), str(restarts or ""), str(port or ""), memory


def status(stack: config.LocalStack) -> bool:
    """Print what runs; whether all of it is healthy."""
    alive = supervisor.running(stack.state) is not None
    table = Table("service", "state", "pid", "restarts", "port", "memory", box=None, header_style="dim")
    for row in _rows(stack, alive):
        table.add_row(*row)
    if table.rows:
        console.print(table)
    if not alive:
        console.print("down: `make up` starts it")
        return False
    if not config.on_aws():
        console.print(f"cluster    {_nodes(stack)}")
    _print_addresses(stack)
    told = supervisor.read_status(stack.state)
    return all(service["state"] == "running" for service in told.values())


def _nodes(stack: config.LocalStack) -> str:
    """The cluster's nodes, in words."""
    kubeconfig = stack.state / "kubeconfig"
    if not kubeconfig.exists():
        return "none"
    from local.kube import assets

    kubectl = [str(assets.ensure() / "kubectl"), "--kubeconfig", str(kubeconfig), "--request-timeout=5s"]
    done = subprocess.run([*kubectl, "get", "nodes", "--no-headers"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"does not answer: {done.stderr.strip()}"
    return ", ".join(" ".join(line.split()[:2]) for line in done.stdout.splitlines()) or "no nodes"


# --- the small ones ---
def image(stack: config.LocalStack) -> None:
    """Build and push the code images; print their references by digest."""
    for name in (API_REPOSITORY, JOBS_REPOSITORY):
        print(images.push(session(stack), stack, images.build(name)))


def verify_image(stack: config.LocalStack) -> None:
    """Whether the registry has what this source and its locks give, with their bills of materials."""
    for name in (API_REPOSITORY, JOBS_REPOSITORY):
        print(images.verify(session(stack), stack, images.build(name)))


def token(stack: config.LocalStack) -> None:
    print(Airflow(stack).token())


def kubeconfig(stack: config.LocalStack) -> None:
    path = stack.state / "kubeconfig"
    if not path.exists():
        raise CommandError("there is no cluster yet: run the DAG provision")
    print(path)


def aws_env(stack: config.LocalStack) -> None:
    for name, value in client_env(stack).items():
        print(f"export {name}={value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cli", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "up": "start everything and wait until it is healthy",
        "down": "stop everything; the state stays",
        "status": "what runs; exit status 1 unless all of it does",
        "image": "build and push the code images",
        "image-verify": "whether the registry has the code images of this source, with their bills of materials",
        "token": "print an API token of Airflow",
        "kubeconfig": "print the path of an admin kubeconfig",
        "aws-env": "print export lines for boto3 and the AWS CLI",
        "clean": "stop everything and remove the state",
    }.items():
        commands.add_parser(name, help=text)
    commands.add_parser("ingest", help="land weekly files and start their etl runs").add_argument("files", nargs="*")
    for name, text in {
        "run": "start a DAG and follow it to its end",
        "run-once": "the same in an Airflow that lives for this run alone",
    }.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("dag")
        command.add_argument("--conf", default="", help="Params, a JSON object")
    return parser


def run(arguments: argparse.Namespace) -> int:
    stack = config.load()
    os.environ |= environment.retail(stack)
    if arguments.command == "status":
        return 0 if status(stack) else 1
    if arguments.command in EMBEDDED_ONLY and config.on_aws():
        raise CommandError(f"works on the local stack only, and the target is {config.TARGET}=aws")
    if arguments.command == "ingest":
        ingest.main(arguments.files)
        return 0
    if arguments.command == "run":
        runs.run(stack, arguments.dag, arguments.conf)
        return 0
    if arguments.command == "run-once":
        runs.once(stack, arguments.dag, arguments.conf, start, down)
        return 0
    commands = {"up": up, "down": down, "image": image, "image-verify": verify_image, "token": token}
    (commands | {"kubeconfig": kubeconfig, "aws-env": aws_env, "clean": clean})[arguments.command](stack)
    return 0


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return run(arguments)
    except KeyboardInterrupt:
        return 130
    except REPORTED as error:
        Console(stderr=True, highlight=False).print(f"[red]{arguments.command}:[/] {escape(str(error))}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
