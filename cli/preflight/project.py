"""Checks of the project: its settings, the programs on this machine, and what it has in the account already."""

import shutil
from collections.abc import Iterator
from typing import Final

from botocore.exceptions import ClientError

from cli.preflight.finding import PREFIX, Account, Finding
from local.stack import config

UNRECOVERABLE: Final = "DELETE_FAILED"
"""The state of a stack that provision refuses (docs/runbooks/provision.md); other failed states it repairs."""


def access(account: Account) -> Iterator[Finding]:
    """Check the settings that decide who reaches the cluster, and who is informed."""
    settings = account.settings
    if not settings.cluster_cidrs:
        yield Finding(
            "missing",
            "the cluster's API is private: nobody outside the VPC reaches it, and so not this Airflow",
            f"{PREFIX}CLUSTER_CIDRS=<your public address>/32 in .env",
        )
    if not settings.alert_email:
        yield Finding("note", "alarms and the budget have no e-mail address", f"{PREFIX}ALERT_EMAIL in .env")
    if not settings.backstop:
        yield Finding(
            "note", "if Airflow is off at the time of scale_down, the nodes stay on", f"{PREFIX}BACKSTOP=true in .env"
        )


def tools(_: Account) -> Iterator[Finding]:
    """Check for Docker, which builds the images that nodes on AWS run."""
    if shutil.which("docker"):
        yield Finding("ok", "docker is installed, and builds images")
    else:
        yield Finding(
            "note", "docker is not installed, and nodes on AWS run Docker images", "install it, or let CI push them"
        )


def bucket(account: Account) -> Iterator[Finding]:
    """Check that the lake's bucket is the caller's, or that its name is free."""
    name = account.settings.bucket
    try:
        account.client("s3").head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            yield Finding("ok", f"the name {name} is free")
        else:
            yield Finding("missing", f"{name} belongs to another account", f"choose another {PREFIX}ENVIRONMENT")
    else:
        yield Finding("ok", f"{name} is yours")


def stacks(account: Account) -> Iterator[Finding]:
    """Check the states of the CloudFormation stacks that exist already."""
    names = sorted(account.settings.stack(path.stem) for path in (config.ROOT / "infra").glob("*.yaml"))
    states = {name: state for name in names if (state := _stack_state(account, name))}
    for name, state in states.items():
        if state == UNRECOVERABLE:
            yield Finding("missing", f"stack {name} is {state}", "docs/runbooks/provision.md says what to do")
        elif state.endswith("FAILED"):
            yield Finding("note", f"stack {name} is {state}: provision repairs it first")
    yield Finding("ok", f"{len(states)} of {len(names)} stacks exist")


def _stack_state(account: Account, name: str) -> str | None:
    """Return the state of a stack; None if it does not exist."""
    try:
        return str(account.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
