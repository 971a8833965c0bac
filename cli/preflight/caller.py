"""Checks of the caller: identity, region, clock, permissions."""

import os
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

from cli.preflight.finding import PREFIX, Account, Finding, State
from include.settings import REGION

CLOCK_NOTE: Final = 60
CLOCK_LIMIT: Final = 300
"""Seconds of clock difference that are worth a note, and from which on AWS refuses signatures."""
NEEDED: Final = (
    "cloudformation:CreateChangeSet", "s3:CreateBucket", "ecr:CreateRepository", "iam:CreateRole", "iam:PassRole",
    "iam:CreateServiceLinkedRole", "eks:CreateCluster", "eks:CreateNodegroup", "ec2:CreateVpc", "ec2:CreateVpcEndpoint",
    "sagemaker:CreateModelPackageGroup", "logs:CreateLogGroup", "cloudwatch:PutMetricAlarm", "sns:CreateTopic",
    "budgets:ModifyBudget", "scheduler:CreateSchedule", "events:PutRule", "sts:AssumeRole",
)  # fmt: skip
"""Some of what provision does as the caller: one action per service, and those on roles."""


def identity(account: Account) -> Iterator[Finding]:
    """Check that the caller is a user or role of the account that the settings name."""
    caller = account.client("sts").get_caller_identity()
    arn = caller["Arn"]
    if caller["Account"] != account.settings.account_id:
        yield Finding(
            "missing",
            f"{arn} is of account {caller['Account']}",
            f"{PREFIX}ACCOUNT_ID={caller['Account']} in .env, or log in elsewhere",
        )
    elif arn.endswith(":root"):
        yield Finding(
            "missing", f"{arn} is the account's root user", "log in as a user or role: an access entry names you"
        )
    else:
        yield Finding("ok", f"{arn} in {account.settings.region}")


def regions(_: Account) -> Iterator[Finding]:
    """Check that no variable and no profile names another region."""
    named = {name: os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")}
    named["the profile"] = boto3.Session().region_name
    others = {f"{where} says {region}" for where, region in named.items() if region not in (None, "", REGION)}
    if others:
        yield Finding("missing", ", ".join(sorted(others)), f"the project works in {REGION} only: correct that")


def clock(account: Account) -> Iterator[Finding]:
    """Check that this clock agrees with that of AWS, which refuses signatures of another time."""
    try:
        answer: Any = account.client("sts").get_caller_identity()
    except ClientError as refused:  # AWS refuses the signature, but its answer has its time
        answer = refused.response
    date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    difference = abs(time.time() - parsedate_to_datetime(date).timestamp())
    state: State = "ok"
    if difference >= CLOCK_NOTE:
        state = "missing" if difference >= CLOCK_LIMIT else "note"
    remedy = "" if state == "ok" else "set the clock (NTP)"
    yield Finding(state, f"this clock and AWS's differ by {difference:.0f} s", remedy)


def permissions(account: Account) -> Iterator[Finding]:
    """Check what IAM's simulator says of the caller; it knows no service control policies of an organization."""
    arn = account.client("sts").get_caller_identity()["Arn"]
    iam = account.client("iam")
    if role := re.fullmatch(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.+", arn):
        arn = iam.get_role(RoleName=role[2])["Role"]["Arn"]
    pages = iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=arn, ActionNames=NEEDED)
    results = [result for page in pages for result in page["EvaluationResults"]]
    denied = [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]
    if denied:
        yield Finding("missing", f"{arn} may not {', '.join(denied)}", "ask the account's administrator")
    else:
        yield Finding("ok", f"you may do what provision starts with ({len(results)} actions simulated)")
