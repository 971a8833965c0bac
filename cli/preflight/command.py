"""Run every check against the account, and print its findings.

Reads only, as the identity that boto3 finds (profile, SSO, variables), with the settings of `.env`. A finding that is
`missing` makes the command fail.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from cli.errors import CommandError
from cli.preflight import caller, limits, project
from cli.preflight.finding import Account, Check, Finding
from include.settings import CLUSTER_NAME, PREFIX, REGION, settings
from local.stack import config

CHECKS: Final[tuple[Check, ...]] = (
    caller.identity, caller.regions, caller.clock, caller.permissions,
    project.access, project.tools, project.bucket, project.stacks,
    limits.kubernetes, limits.instances, limits.node_quota, limits.vpc_quota, limits.job_quotas, limits.linked_roles,
    limits.budget, limits.cost_tag,
)  # fmt: skip
COLOURS: Final = {"ok": "green", "note": "yellow", "missing": "red", "unknown": "magenta"}


def run_checks(account: Account, checks: Iterable[Check] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """Yield (check, finding) one after the other; a check that cannot ask yields why, and the others go on."""
    for check in checks:
        name = getattr(check, "__name__", "check").replace("_", " ")
        try:
            for finding in check(account):
                yield name, finding
        except KeyError as error:
            yield name, Finding("unknown", f"AWS's answer lacks {error}")
        except (ClientError, BotoCoreError) as error:
            # without an identity nothing can be provisioned
            yield name, Finding("missing" if check is caller.identity else "unknown", str(error))


def open_account() -> Account:
    """Return the account of the caller's credentials. Raise CommandError when boto3 finds none."""
    os.environ |= {key: value for key, value in config.local_env().items() if key.startswith(PREFIX)}
    session = boto3.Session(region_name=REGION)
    if session.get_credentials() is None:
        raise CommandError("no AWS credentials: `aws configure sso` and `aws sso login`, or AWS_PROFILE=…")

    def client(service: str) -> Any:
        return session.client(service, config=Config(retries={"mode": "standard", "max_attempts": 5}))

    return Account(client, settings())


def main(_: argparse.Namespace) -> int:
    """Print each finding and their counts; the exit status is 1 when something is missing."""
    console = Console(highlight=False, soft_wrap=True)
    account = open_account()
    counts = dict.fromkeys(COLOURS, 0)
    for check, finding in run_checks(account):
        counts[finding.state] += 1
        console.print(f"[{COLOURS[finding.state]}]{finding.state:8}[/]{check:14}{escape(finding.what)}")
        if finding.remedy:
            console.print(f"{'':22}→ {escape(finding.remedy)}")
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    console.print(f"{account.settings.environment} ({CLUSTER_NAME}): {summary}")
    return 1 if counts["missing"] else 0
