"""Looks whether an AWS account is ready, before anything is created in it: `make preflight`.

Reads only, as the identity that boto3 finds (profile, SSO, variables), with the settings of `.env`. Each finding is
    ok       as it should be
    note     works, but know this
    missing  provision or a later step would fail: do what it says first
    unknown  could not be asked, with the reason
and one that is missing makes the command fail.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Any, Final, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from include.settings import CLUSTER_NAME, PARALLEL_WEEKS, PREFIX, REGION, settings
from local.stack import config

SKEW: Final = 60, 300
"""Seconds of clock difference that are worth a note, and from which on AWS refuses signatures."""
DEAD_END: Final = "DELETE_FAILED"
"""The state of a stack that provision refuses (docs/runbooks/provision.md); what else failed it mends."""
LINKED_ROLES: Final = ("eks", "eks-nodegroup", "autoscaling", "elasticloadbalancing")
"""Services (…amazonaws.com) whose own roles the nodes and load balancers need."""
SPOT_ROLE: Final = "spot"
NEEDED: Final = (
    "cloudformation:CreateChangeSet", "s3:CreateBucket", "ecr:CreateRepository", "iam:CreateRole", "iam:PassRole",
    "iam:CreateServiceLinkedRole", "eks:CreateCluster", "eks:CreateNodegroup", "ec2:CreateVpc", "ec2:CreateVpcEndpoint",
    "sagemaker:CreateModelPackageGroup", "logs:CreateLogGroup", "cloudwatch:PutMetricAlarm", "sns:CreateTopic",
    "budgets:ModifyBudget", "scheduler:CreateSchedule", "events:PutRule", "sts:AssumeRole",
)  # fmt: skip
"""Of what provision does as you: one action a service, and those on roles."""
JOB_QUOTA: Final = "{} for {} job usage"
VCPU_QUOTAS: Final = {"ON_DEMAND": "L-1216C47A", "SPOT": "L-34B43A08"}
"""Standard instances (A, C, D, H, I, M, R, T, Z): vCPUs at once."""
VPC_QUOTA: Final = "L-F678F1CE"

State = Literal["ok", "note", "missing", "unknown"]
Ask = Callable[..., Any]
"""ask(service) -> its boto3 client."""


@dataclass(frozen=True)
class Finding:
    state: State
    what: str
    cure: str = ""


# --- who and where ---
def identity(ask: Ask) -> Iterator[Finding]:
    caller = ask("sts").get_caller_identity()
    arn, account = caller["Arn"], caller["Account"]
    if account != settings().account_id:
        yield Finding(
            "missing", f"{arn} is of account {account}", f"{PREFIX}ACCOUNT_ID={account} in .env, or log in elsewhere"
        )
    elif arn.endswith(":root"):
        yield Finding(
            "missing", f"{arn} is the account's root user", "log in as a user or role: an access entry names you"
        )
    else:
        yield Finding("ok", f"{arn} in {settings().region}")


def regions(_: Ask) -> Iterator[Finding]:
    said = {name: os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")}
    said["the profile"] = boto3.Session().region_name
    if wrong := sorted(
        {f"{where} says {region}" for where, region in said.items() if region not in (None, "", REGION)}
    ):
        yield Finding("missing", ", ".join(wrong), f"everything lives in {REGION}: correct that")


def clock(ask: Ask) -> Iterator[Finding]:
    try:
        answer: Any = ask("sts").get_caller_identity()
    except ClientError as refused:  # beyond some minutes AWS takes no signature, but says its time
        answer = refused.response
    heard = answer["ResponseMetadata"]["HTTPHeaders"]
    off = abs(time.time() - parsedate_to_datetime(heard["date"]).timestamp())
    state: State = "missing" if off >= SKEW[1] else "note" if off >= SKEW[0] else "ok"
    yield Finding(state, f"this clock and AWS's differ by {off:.0f} s", "" if state == "ok" else "set the clock (NTP)")


def permissions(ask: Ask) -> Iterator[Finding]:
    """What IAM's simulator says of the caller; service control policies of an organization are not in it."""
    arn = ask("sts").get_caller_identity()["Arn"]
    if role := re.fullmatch(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.+", arn):
        arn = ask("iam").get_role(RoleName=role[2])["Role"]["Arn"]
    pages = ask("iam").get_paginator("simulate_principal_policy").paginate(PolicySourceArn=arn, ActionNames=NEEDED)
    results = [result for page in pages for result in page["EvaluationResults"]]
    denied = [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]
    if denied:
        yield Finding("missing", f"{arn} may not {', '.join(denied)}", "ask the account's administrator")
    else:
        yield Finding("ok", f"you may do what provision begins with ({len(results)} actions simulated)")


# --- the project's settings ---
def access(_: Ask) -> Iterator[Finding]:
    if not settings().cluster_cidrs:
        yield Finding(
            "missing", "nobody outside the VPC will reach the cluster's API, and so not this Airflow",
            f"{PREFIX}CLUSTER_CIDRS=<your public address>/32 in .env",
        )  # fmt: skip
    if not settings().alert_email:
        yield Finding("note", "alarms and the budget will tell nobody", f"{PREFIX}ALERT_EMAIL in .env")
    if not settings().backstop:
        yield Finding(
            "note", "nodes of a night that Airflow sleeps through go on costing", f"{PREFIX}BACKSTOP=true in .env"
        )


def tools(_: Ask) -> Iterator[Finding]:
    if shutil.which("docker"):
        yield Finding("ok", "docker is here, to build images with")
    else:
        yield Finding(
            "note", "there is no docker, and nodes on AWS run Docker images", "install it, or let CI push them"
        )


# --- what is there already ---
def bucket(ask: Ask) -> Iterator[Finding]:
    name = settings().bucket
    try:
        ask("s3").head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            yield Finding("ok", f"the name {name} is free")
        else:
            yield Finding("missing", f"{name} is another account's", f"choose another {PREFIX}ENVIRONMENT")
    else:
        yield Finding("ok", f"{name} is yours")


def stacks(ask: Ask) -> Iterator[Finding]:
    there, ours = {}, sorted(settings().stack(path.stem) for path in (config.ROOT / "infra").glob("*.yaml"))
    for name in ours:
        try:
            there[name] = ask("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
    for name, status in there.items():
        if status == DEAD_END:
            yield Finding("missing", f"stack {name} is {status}", "docs/runbooks/provision.md says what to do")
        elif status.endswith("FAILED"):
            yield Finding("note", f"stack {name} is {status}: provision mends it first")
    yield Finding("ok", f"{len(there)} of {len(ours)} stacks are there")


# --- what AWS offers ---
def kubernetes(ask: Ask) -> Iterator[Finding]:
    wanted = settings().kubernetes_version
    found = ask("eks").describe_cluster_versions(clusterVersions=[wanted])["clusterVersions"]
    status = found[0]["versionStatus"] if found else "unknown to EKS"
    if status == "STANDARD_SUPPORT":
        until = found[0]["endOfStandardSupportDate"]
        yield Finding("ok", f"Kubernetes {wanted} is in standard support until {until:%Y-%m-%d}")
    else:
        yield Finding("missing", f"Kubernetes {wanted} is {status}", f"another {PREFIX}KUBERNETES_VERSION in .env")


def instances(ask: Ask) -> Iterator[Finding]:
    wanted = settings().node_instance_types.split(",")
    filters = [{"Name": "instance-type", "Values": wanted}]
    pages = ask("ec2").get_paginator("describe_instance_type_offerings").paginate(Filters=filters)
    there = {one["InstanceType"] for page in pages for one in page["InstanceTypeOfferings"]}
    if not there:
        yield Finding("missing", f"{REGION} has none of {', '.join(wanted)}", f"{PREFIX}NODE_INSTANCE_TYPES in .env")
    elif absent := sorted(set(wanted) - there):
        yield Finding("note", f"{REGION} has no {', '.join(absent)}: fewer kinds of Spot nodes")
    else:
        yield Finding("ok", f"{REGION} has {', '.join(wanted)}")


def node_quota(ask: Ask) -> Iterator[Finding]:
    """vCPUs for the nodes, twice: while a group is replaced, both are there."""
    kinds = ask("ec2").describe_instance_types(InstanceTypes=settings().node_instance_types.split(","))
    largest = max(kind["VCpuInfo"]["DefaultVCpus"] for kind in kinds["InstanceTypes"])
    needed, capacity = 2 * largest * settings().node_count, settings().node_capacity
    limit = ask("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=VCPU_QUOTAS[capacity])["Quota"][
        "Value"
    ]
    yield _quota(f"{capacity} vCPUs for {settings().node_count} nodes", needed, limit, "ec2", VCPU_QUOTAS[capacity])


def vpc_quota(ask: Ask) -> Iterator[Finding]:
    there = len(ask("ec2").describe_vpcs()["Vpcs"])
    ours = f"{settings().prefix}*"
    mine = len(ask("ec2").describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [ours]}])["Vpcs"])
    limit = ask("service-quotas").get_service_quota(ServiceCode="vpc", QuotaCode=VPC_QUOTA)["Quota"]["Value"]
    yield _quota("VPCs", there + (0 if mine else 1), limit, "vpc", VPC_QUOTA)


def job_quotas(ask: Ask) -> Iterator[Finding]:
    processing = PARALLEL_WEEKS + 1  # of etl, and train's evaluation
    wanted = {
        JOB_QUOTA.format(settings().training_instance, "training"): 1,
        JOB_QUOTA.format(settings().processing_instance, "processing"): processing,
    }
    pages = ask("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quotas = {one["QuotaName"]: one for page in pages for one in page["Quotas"] if one["QuotaName"] in wanted}
    for name, needed in wanted.items():
        if name not in quotas:
            yield Finding("unknown", f"there is no quota {name}: does SageMaker have this instance type?")
        else:
            yield _quota(name, needed, quotas[name]["Value"], "sagemaker", quotas[name]["QuotaCode"])


def _quota(what: str, needed: float, limit: float, service: str, code: str) -> Finding:
    if limit >= needed:
        return Finding("ok", f"{what}: {needed:g} needed, {limit:g} allowed")
    return Finding(
        "missing",
        f"{what}: {needed:g} needed, {limit:g} allowed",
        f"aws service-quotas request-service-quota-increase --region {REGION} --service-code {service} "
        f"--quota-code {code} --desired-value {ceil(needed)}",
    )


def linked_roles(ask: Ask) -> Iterator[Finding]:
    spot = (SPOT_ROLE,) if settings().node_capacity == "SPOT" else ()
    for name in (*LINKED_ROLES, *spot):
        service = f"{name}.amazonaws.com"
        if ask("iam").list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
            yield Finding("ok", f"the service-linked role of {service} is there")
        else:
            yield Finding(
                "note",
                f"no service-linked role of {service} yet: AWS makes it at the first use if you may "
                "iam:CreateServiceLinkedRole",
                f"or now: aws iam create-service-linked-role --aws-service-name {service}",
            )


# --- money ---
def budget(ask: Ask) -> Iterator[Finding]:
    pages = ask("budgets").get_paginator("describe_budgets").paginate(AccountId=settings().account_id)
    names = [one["BudgetName"] for page in pages for one in page.get("Budgets", [])]
    mine = [name for name in names if name.startswith(settings().prefix)]
    yield Finding("ok", f"budget {mine[0]}" if mine else "budgets can be read: provision makes this environment's")


def cost_tag(ask: Ask) -> Iterator[Finding]:
    found = ask("ce").list_cost_allocation_tags(TagKeys=["Project"])["CostAllocationTags"]
    if found and found[0]["Status"] == "Active":
        yield Finding("ok", "the tag Project is active for cost allocation")
    else:
        yield Finding(
            "note", "the tag Project is not active for cost allocation: the budget counts nothing yet",
            "AWS offers it a day after its first use: run provision again then",
        )  # fmt: skip


CHECKS: Final = (
    identity, regions, clock, permissions, access, tools, bucket, stacks, kubernetes, instances, node_quota, vpc_quota,
    job_quotas, linked_roles, budget, cost_tag,
)  # fmt: skip


def look(ask: Ask, checks: Iterable[Callable[[Ask], Iterator[Finding]]] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """(check, finding) one after the other; a check that cannot ask says why, and the others go on."""
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            for finding in check(ask):
                yield name, finding
        except KeyError as error:
            yield name, Finding("unknown", f"AWS's answer lacks {error}")
        except (ClientError, BotoCoreError) as error:
            # nobody who cannot even say who they are will provision
            yield name, Finding("missing" if check is identity else "unknown", str(error))


COLOURS: Final = {"ok": "green", "note": "yellow", "missing": "red", "unknown": "magenta"}


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    try:
        os.environ |= {key: value for key, value in config.local_env().items() if key.startswith(PREFIX)}
        settings()
    except (ValueError, config.ConfigError) as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 1
    session = boto3.Session(region_name=REGION)
    if session.get_credentials() is None:
        console.print("[red]no AWS credentials[/]: `aws configure sso` and `aws sso login`, or AWS_PROFILE=…")
        return 1

    def ask(service: str) -> Any:
        return session.client(service, config=Config(retries={"mode": "standard", "max_attempts": 5}))

    counts = dict.fromkeys(COLOURS, 0)
    for check, finding in look(ask):
        counts[finding.state] += 1
        console.print(f"[{COLOURS[finding.state]}]{finding.state:8}[/]{check:14}{escape(finding.what)}")
        if finding.cure:
            console.print(f"{'':22}→ {escape(finding.cure)}")
    console.print(
        f"{settings().environment} ({CLUSTER_NAME}): "
        + ", ".join(f"{count} {state}" for state, count in counts.items())
    )
    return 1 if counts["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
