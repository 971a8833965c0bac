"""The command line behind the Makefile: `python -m cli {demo,up,down,status,run,…}`."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.console import print_error
from cli.errors import CommandError
from local.stack import config


@dataclass(frozen=True)
class Argument:
    """An argument of a command, as argparse takes it."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command: its function as `module:name`, imported only when it is asked for, and its line in the help.

    The function takes the parsed arguments and returns the exit status, or None for 0.
    """

    function: str
    help: str
    arguments: tuple[Argument, ...] = ()
    local_only: bool = False
    """It makes no sense with MLOPS_TARGET=aws."""


_RUN = (
    Argument("dag"),
    Argument("--conf", {"default": "", "help": "Params, a JSON object"}),
)
_DOCKER = (
    Argument("step", {"choices": ("base", "save", "load", "push", "sign", "verify")}),
    Argument("target", {"choices": ("api", "jobs")}),
    Argument("--tag", {"default": "latest", "help": "commit and run, in the workflow"}),
)
_RUNNING = Argument("--running", {"action": "store_true", "help": "on a local stack that runs already, in containers"})

COMMANDS = {
    "demo": Command("cli.demo.command:main", "run the whole life cycle", (_RUNNING,), local_only=True),
    "up": Command("cli.up:main", "start everything and wait until it is healthy"),
    "down": Command("cli.down:main", "stop everything; the state stays"),
    "status": Command("cli.status:main", "show what runs; exit status 1 unless all of it does"),
    "clean": Command("cli.down:clean", "stop everything and remove the state"),
    "token": Command("cli.access:token", "print an API token of Airflow"),
    "kubeconfig": Command("cli.access:kubeconfig", "print the path of an administrator's kubeconfig", local_only=True),
    "aws-env": Command("cli.access:aws_env", "print export lines for boto3 and the AWS CLI", local_only=True),
    "run": Command("cli.run:main", "start a DAG and follow it to its end", _RUN),
    "run-once": Command("cli.run_once:main", "the same, in an Airflow that is started for this run alone", _RUN),
    "ingest": Command(
        "cli.ingest:main", "upload weekly files and start their etl runs", (Argument("files", {"nargs": "*"}),)
    ),
    "preflight": Command("cli.preflight.command:main", "check whether an AWS account is ready; changes nothing"),
    "image": Command("cli.images.commands:push", "build and push the code images", local_only=True),
    "image-verify": Command(
        "cli.images.commands:verify", "compare the registry's code images with this source", local_only=True
    ),
    "docker": Command("cli.images.commands:docker", "do one step with a Docker image on its way to ECR", _DOCKER),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cli", description=__doc__)
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        added = parsers.add_parser(name, help=command.help)
        for argument in command.arguments:
            added.add_argument(argument.name, **argument.options)
    return parser


def _reported() -> tuple[type[Exception], ...]:
    """Return the errors that a person can do something about: one line, no traceback.

    Imported only when there is an error. ValueError comes from RETAIL_* settings.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from local.aws.credentials import NotStarted
    from local.stack.oci_registry import ImageError

    return CommandError, config.ConfigError, ImageError, NotStarted, BotoCoreError, ClientError, ValueError


def _run(arguments: argparse.Namespace) -> int:
    command = COMMANDS[arguments.command]
    if command.local_only and config.on_aws():
        raise CommandError(f"works on the local stack only, and the target is {config.TARGET}=aws")
    module, _, name = command.function.partition(":")
    function: Callable[[argparse.Namespace], int | None] = getattr(importlib.import_module(module), name)
    return function(arguments) or 0


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = _parser().parse_args(words)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not isinstance(error, _reported()):
            raise
        print_error(arguments.command, str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
