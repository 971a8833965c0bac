"""Tasks of `provision`: where it runs, what a fresh cluster gets, and what the smoke Job reads and must not read."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.sts import StsHook
from airflow.sdk import Connection, Context, get_current_context
from botocore.exceptions import BotoCoreError, ClientError

from include import lake
from include.settings import (
    API_REPOSITORY,
    CLUSTER_NAME,
    CONTROLLER_REPOSITORY,
    GITHUB_ISSUER,
    PROJECT,
    settings,
)
from retail_mlops.common import job_requests as requests
from retail_mlops.common.dag_defaults import ADMIN, AIRFLOW, ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.common.names import run_digest
from retail_mlops.common.task_log import say, skip
from retail_mlops.hooks.account import Clients
from retail_mlops.hooks.cloudformation import readable
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.eks_cluster import Cluster
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.oci_registry import Repository
from retail_mlops.hooks.oci_registry import copy as copy_image
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.provision import alb_controller as controller
from retail_mlops.release import releases
from retail_mlops.schedule.tasks import is_stopped
from retail_mlops.teardown.inventory import INGRESS_TAG, cluster_in

if TYPE_CHECKING:
    from retail_mlops.hooks.eks_cluster import Cluster

REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


@dataclass(frozen=True)
class Smoke:
    """What the smoke Job is about; marker: what stands in the object it reads; foreign_bucket: not the API's."""

    image: str
    marker: str
    foreign_bucket: str


# --- pure ---
def foreign_bucket_prefix() -> str:
    return f"mlops-retail-smoke-{settings().environment}-{settings().account_id}-"


def smoke_job(manifest: dict[str, Any], smoke: Smoke) -> dict[str, Any]:
    """The manifest with its image and values filled in."""
    denied = [requests.url(lake.SMOKE_DENIED), f"s3://{smoke.foreign_bucket}/{lake.SMOKE}"]
    told = {
        "AWS_REGION": settings().region,
        "SMOKE_READ": requests.url(lake.SMOKE),
        "SMOKE_CONTENT": smoke.marker,
        "SMOKE_DENIED": " ".join(denied),
    }
    releases.tell(manifest["spec"]["template"]["spec"]["containers"][0], smoke.image, told)
    return manifest


def elsewhere(regions: dict[str, str | None]) -> list[str]:
    """What names another region than the project's; regions: where it is said → the region, if one is said."""
    return [
        f"{where} says {region}" for where, region in regions.items() if region not in (None, "", settings().region)
    ]


# --- tasks ---
def check() -> None:
    """Refuses the wrong region and the wrong account before anything is made there."""
    regions: dict[str, str | None] = {name: os.environ.get(name) for name in REGION_VARIABLES}
    for connection in (ADMIN, AIRFLOW):
        regions[f"connection {connection}"] = Connection.get(connection).extra_dejson.get("region_name")
    if wrong := elsewhere(regions):
        raise RetailError(f"everything lives in {settings().region}, but {', '.join(wrong)}: correct that, run again")
    with readable(ADMIN):
        caller = StsHook(aws_conn_id=ADMIN, region_name=settings().region).conn.get_caller_identity()
    if caller["Account"] != settings().account_id:
        raise RetailError(
            f"connection {ADMIN} is {caller['Arn']} of account {caller['Account']}, but RETAIL_ACCOUNT_ID is "
            f"{settings().account_id}: names and rights are made of it, so correct the one that is wrong in .env"
        )
    say(f"{caller['Arn']} in {settings().region}")
    refuse_to_orphan()
    if settings().endpoint_kind == "alb":
        controller.crds()  # what is missing is told before anything is made
    if not settings().cluster_cidrs:
        say("RETAIL_CLUSTER_CIDRS is empty: on AWS only the VPC will reach the cluster's API, and `bootstrap` needs it")


def share_github_login(params: dict[str, Any]) -> None:
    """Makes GitHub's OIDC provider when a repository is named and the account, which can have one, has none.

    It is no stack's and carries no environment: other environments log in through it when this one is gone.
    """
    if not settings().github_repository:
        say("RETAIL_GITHUB_REPOSITORY names no repository: no login for GitHub")
        return
    arn = f"arn:aws:iam::{settings().account_id}:oidc-provider/{GITHUB_ISSUER}"
    with readable(ADMIN):
        iam = AwsBaseHook(ADMIN, client_type="iam", region_name=settings().region).conn
        if any(one["Arn"] == arn for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]):
            say(f"{arn} is there")
        elif params["dry_run"]:
            say(f"{arn} would be made")
        else:
            iam.create_open_id_connect_provider(
                Url=f"https://{GITHUB_ISSUER}",
                ClientIDList=["sts.amazonaws.com"],
                Tags=[{"Key": "Project", "Value": PROJECT}],
            )
            say(f"{arn} is made")


def goes_on(params: dict[str, Any]) -> bool:
    """A dry run ends after the change sets."""
    return not params["dry_run"]


def activate_cost_tag() -> None:
    """Lets AWS Billing group costs by the tag Project: until then the budget counts nothing. Never fails.

    AWS offers a tag about a day after its first use, and to the account that pays only.
    """
    try:
        ce = AwsBaseHook(ADMIN, client_type="ce", region_name=settings().region).conn
        refused = ce.update_cost_allocation_tags_status(
            CostAllocationTagsStatus=[{"TagKey": "Project", "Status": "Active"}]
        )["Errors"]
        trouble = "; ".join(f"{one['Code']}: {one['Message']}" for one in refused)
    except (ClientError, BotoCoreError) as error:
        trouble = str(error)
    if trouble:
        say(f"the tag Project is not activated for cost allocation, so the budget counts nothing yet: {trouble}")
        say("run provision again tomorrow, or activate it by hand: docs/runbooks/alerts-and-budget.md")
    else:
        say("the tag Project is active for cost allocation: the budget counts what carries it")


def bootstrap(context: Context, jinja_env: Any = None) -> list[dict[str, Any]]:
    """Namespace with Pod Security restricted, quotas, network rules, what Airflow may do, and the API's account."""
    text = (ROOT / "k8s" / "bootstrap.yaml").read_text()
    documents = [document for document in yaml.safe_load_all(text) if document]
    return [*documents, releases.service_account(releases.rendered())]


# --- the load balancer controller, where an alb is wanted ---
def copy_controller() -> str:
    """Its image in our registry, copied there by digest unless it is: the nodes reach no other. Reference by digest."""
    if settings().endpoint_kind != "alb":
        skip("RETAIL_ENDPOINT_KIND is nlb: EKS itself makes that load balancer")
    registry, _, rest = controller.upstream().partition("/")
    name, _, tag = rest.partition(":")
    images = ImageHook(ADMIN)
    with readable(ADMIN):
        if (there := images.tagged(CONTROLLER_REPOSITORY, tag)) is None:
            pinned, target = settings().controller_digest, images.open(CONTROLLER_REPOSITORY)
            digest = copy_image(Repository(f"https://{registry}", name), tag, target, pinned)
            there = f"{settings().repository(CONTROLLER_REPOSITORY)}@{digest}"
    say(f"{controller.upstream()} is {there}")
    return there


def install_controller() -> None:
    """Applies the controller and waits until it works; it is not waited for while there is no node to run on."""
    image = get_current_context()["ti"].xcom_pull(task_ids="controller_image")
    hook = ClusterHook(ADMIN)
    with hook.login() as cluster:
        vpc = hook.conn.describe_cluster(name=CLUSTER_NAME)["cluster"]["resourcesVpcConfig"]["vpcId"]
        mine = cluster.within(controller.NAME)
        mine.apply(controller.manifests(image, vpc, _webhook_certificate(mine)))
        if LakeHook(ADMIN).document(lake.SCALED_DOWN) is not None or is_stopped(ADMIN):
            say("the environment is scaled down: the controller starts with its nodes")
            return
        mine.wait_for_rollout(controller.NAME, timeout=600, poll=min(settings().poll_seconds, 5))


def _webhook_certificate(cluster: Cluster) -> controller.Certificate:
    """The one that is there, so that running again changes nothing; or a new one."""
    from kubernetes.client.exceptions import ApiException

    try:
        secret = cluster.core.read_namespaced_secret(controller.NAME, controller.NAME)
    except ApiException as error:
        if error.status != 404:
            raise
        return controller.Certificate.make(dt.datetime.now(dt.UTC))
    return controller.Certificate.of(secret.data)


def refuse_to_orphan() -> None:
    """RetailError while there is an alb that RETAIL_ENDPOINT_KIND would take the controller away from."""
    if settings().endpoint_kind == "alb":
        return
    with readable(ADMIN):
        orphans = [
            one["LoadBalancerName"]
            for one, tags in Clients(ADMIN).load_balancers()
            if INGRESS_TAG in tags and cluster_in(tags) == CLUSTER_NAME
        ]
    if orphans:
        raise RetailError(
            f"load balancer {', '.join(orphans)} is an alb, and RETAIL_ENDPOINT_KIND says nlb: nothing could remove it "
            "then. Set it back to alb, run deploy with public_endpoint off, then change it"
        )


def prepare_smoke() -> dict[str, str]:
    """Writes what the Job reads, and what it must not read, there and in a bucket of another owner than the API.

    Skipped, with the smoke Job, while there is no image or no node for it.
    """
    hook, ti = LakeHook(ADMIN), get_current_context()["ti"]
    if hook.document(lake.SCALED_DOWN) is not None or is_stopped(ADMIN):
        skip("the environment is scaled down, no node could run the smoke Job: run scale_up")
    try:
        image = ImageHook(ADMIN).newest(API_REPOSITORY)
    except RetailError as empty:
        skip(f"{empty}; then run provision again: it ends with the smoke Job")
    run = run_digest(ti.dag_id, ti.run_id)
    smoke = Smoke(image, f"{run}-{ti.try_number} {dt.datetime.now(dt.UTC):%FT%TZ}", f"{foreign_bucket_prefix()}{run}")
    hook.put(lake.SMOKE, smoke.marker, content_type="text/plain")
    hook.put(lake.SMOKE_DENIED, "only a role that may read tmp/ sees this", content_type="text/plain")
    _make_foreign_bucket(hook, smoke.foreign_bucket)
    return asdict(smoke)


def _make_foreign_bucket(hook: LakeHook, name: str) -> None:
    """A bucket of this account with one object: there is nobody else's whose answer would prove the role's limits."""
    try:
        hook.conn.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": settings().region})
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":  # of an earlier try
            raise
    hook.conn.put_bucket_tagging(Bucket=name, Tagging={"TagSet": requests.tags("smoke")})
    hook.conn.put_object(Bucket=name, Key=lake.SMOKE, Body=b"not the API's")


def smoke(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    manifest = yaml.safe_load((ROOT / "k8s" / "smoke-job.yaml").read_text())
    return smoke_job(manifest, Smoke(**context["ti"].xcom_pull(task_ids="prepare_smoke")))


def clean_up_smoke() -> None:
    """Removes the foreign bucket, and those of runs that were killed before they could."""
    hook = LakeHook(ADMIN)
    for bucket in hook.conn.list_buckets(Prefix=foreign_bucket_prefix()).get("Buckets", []):
        if not bucket["Name"].startswith(foreign_bucket_prefix()):
            continue
        hook.conn.delete_object(Bucket=bucket["Name"], Key=lake.SMOKE)
        hook.conn.delete_bucket(Bucket=bucket["Name"])
        say(f"removed {bucket['Name']}")
