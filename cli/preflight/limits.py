"""Checks of what AWS offers: Kubernetes version, instance types, quotas, service-linked roles, budget, cost tag."""

from collections.abc import Iterator
from math import ceil
from typing import Final

from cli.preflight.finding import PREFIX, Account, Finding
from include.settings import PARALLEL_WEEKS, REGION

LINKED_ROLES: Final = ("eks", "eks-nodegroup", "autoscaling", "elasticloadbalancing")
"""Services (…amazonaws.com) whose own roles the nodes and load balancers need."""
SPOT_ROLE: Final = "spot"
JOB_QUOTA: Final = "{} for {} job usage"
VCPU_QUOTAS: Final = {"ON_DEMAND": "L-1216C47A", "SPOT": "L-34B43A08"}
"""Standard instances (A, C, D, H, I, M, R, T, Z): vCPUs at once."""
VPC_QUOTA: Final = "L-F678F1CE"


# --- versions and types ---
def kubernetes(account: Account) -> Iterator[Finding]:
    """Check that EKS supports the Kubernetes version without a surcharge."""
    wanted = account.settings.kubernetes_version
    versions = account.client("eks").describe_cluster_versions(clusterVersions=[wanted])["clusterVersions"]
    status = versions[0]["versionStatus"] if versions else "unknown to EKS"
    if status == "STANDARD_SUPPORT":
        until = versions[0]["endOfStandardSupportDate"]
        yield Finding("ok", f"Kubernetes {wanted} is in standard support until {until:%Y-%m-%d}")
    else:
        yield Finding("missing", f"Kubernetes {wanted} is {status}", f"another {PREFIX}KUBERNETES_VERSION in .env")


def instances(account: Account) -> Iterator[Finding]:
    """Check that the region has the nodes' instance types."""
    wanted = account.settings.node_instance_types.split(",")
    filters = [{"Name": "instance-type", "Values": wanted}]
    pages = account.client("ec2").get_paginator("describe_instance_type_offerings").paginate(Filters=filters)
    offered = {offer["InstanceType"] for page in pages for offer in page["InstanceTypeOfferings"]}
    if not offered:
        yield Finding("missing", f"{REGION} has none of {', '.join(wanted)}", f"{PREFIX}NODE_INSTANCE_TYPES in .env")
    elif absent := sorted(set(wanted) - offered):
        yield Finding("note", f"{REGION} has no {', '.join(absent)}: fewer kinds of Spot nodes")
    else:
        yield Finding("ok", f"{REGION} has {', '.join(wanted)}")


# --- quotas ---
def node_quota(account: Account) -> Iterator[Finding]:
    """Check the quota of vCPUs for the nodes, twice: while a group is replaced, both exist."""
    settings = account.settings
    types = account.client("ec2").describe_instance_types(InstanceTypes=settings.node_instance_types.split(","))
    largest = max(kind["VCpuInfo"]["DefaultVCpus"] for kind in types["InstanceTypes"])
    needed = 2 * largest * settings.node_count
    code = VCPU_QUOTAS[settings.node_capacity]
    what = f"{settings.node_capacity} vCPUs for {settings.node_count} nodes"
    yield _quota(what, needed, _limit(account, "ec2", code), "ec2", code)


def vpc_quota(account: Account) -> Iterator[Finding]:
    """Check that one more VPC may be created, unless the project's exists."""
    ec2 = account.client("ec2")
    existing = len(ec2.describe_vpcs()["Vpcs"])
    name = {"Name": "tag:Name", "Values": [f"{account.settings.prefix}*"]}
    of_project = len(ec2.describe_vpcs(Filters=[name])["Vpcs"])
    needed = existing + (0 if of_project else 1)
    yield _quota("VPCs", needed, _limit(account, "vpc", VPC_QUOTA), "vpc", VPC_QUOTA)


def job_quotas(account: Account) -> Iterator[Finding]:
    """Check the quotas of SageMaker jobs, which are zero in many new accounts."""
    processing = PARALLEL_WEEKS + 1  # of etl, and train's evaluation
    wanted = {
        JOB_QUOTA.format(account.settings.training_instance, "training"): 1,
        JOB_QUOTA.format(account.settings.processing_instance, "processing"): processing,
    }
    pages = account.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quotas = {quota["QuotaName"]: quota for page in pages for quota in page["Quotas"] if quota["QuotaName"] in wanted}
    for name, needed in wanted.items():
        if name not in quotas:
            yield Finding("unknown", f"there is no quota {name}: does SageMaker have this instance type?")
        else:
            yield _quota(name, needed, quotas[name]["Value"], "sagemaker", quotas[name]["QuotaCode"])


def _limit(account: Account, service: str, code: str) -> float:
    quota = account.client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    return float(quota["Value"])


def _quota(what: str, needed: float, limit: float, service: str, code: str) -> Finding:
    if limit >= needed:
        return Finding("ok", f"{what}: {needed:g} needed, {limit:g} allowed")
    return Finding(
        "missing",
        f"{what}: {needed:g} needed, {limit:g} allowed",
        f"aws service-quotas request-service-quota-increase --region {REGION} --service-code {service} "
        f"--quota-code {code} --desired-value {ceil(needed)}",
    )


# --- roles and money ---
def linked_roles(account: Account) -> Iterator[Finding]:
    """Check that the service-linked roles exist."""
    spot = (SPOT_ROLE,) if account.settings.node_capacity == "SPOT" else ()
    for name in (*LINKED_ROLES, *spot):
        service = f"{name}.amazonaws.com"
        if account.client("iam").list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
            yield Finding("ok", f"the service-linked role of {service} exists")
        else:
            yield Finding(
                "note",
                f"no service-linked role of {service} yet: AWS creates it at the first use if you may "
                "iam:CreateServiceLinkedRole",
                f"or now: aws iam create-service-linked-role --aws-service-name {service}",
            )


def budget(account: Account) -> Iterator[Finding]:
    """Check that budgets can be read."""
    pages = account.client("budgets").get_paginator("describe_budgets").paginate(AccountId=account.settings.account_id)
    names = [budget["BudgetName"] for page in pages for budget in page.get("Budgets", [])]
    of_project = [name for name in names if name.startswith(account.settings.prefix)]
    what = f"budget {of_project[0]}" if of_project else "budgets can be read: provision creates this environment's"
    yield Finding("ok", what)


def cost_tag(account: Account) -> Iterator[Finding]:
    """Check that the tag by which the budget counts is active."""
    tags = account.client("ce").list_cost_allocation_tags(TagKeys=["Project"])["CostAllocationTags"]
    if tags and tags[0]["Status"] == "Active":
        yield Finding("ok", "the tag Project is active for cost allocation")
    else:
        yield Finding(
            "note",
            "the tag Project is not active for cost allocation: the budget counts nothing yet",
            "AWS offers it a day after its first use: run provision again then",
        )
