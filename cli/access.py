"""Print what other programs need to reach the local stack: `make -s token`, `make -s kubeconfig`, `make -s aws-env`."""

import argparse

from cli.errors import CommandError
from cli.stack import open_stack


def token(_: argparse.Namespace) -> None:
    """Print an API token of Airflow."""
    from cli.airflow_client import Airflow

    print(Airflow(open_stack()).token())


def kubeconfig(_: argparse.Namespace) -> None:
    """Print the path of an administrator's kubeconfig."""
    path = open_stack().state / "kubeconfig"
    if not path.exists():
        raise CommandError("there is no cluster yet: run the DAG provision")
    print(path)


def aws_env(_: argparse.Namespace) -> None:
    """Print export lines for boto3 and the AWS CLI."""
    from local.aws.credentials import client_env

    for name, value in client_env(open_stack()).items():
        print(f"export {name}={value}")
