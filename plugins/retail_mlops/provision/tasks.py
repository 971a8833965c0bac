"""Tasks of `provision`: check where it runs, what the account and a new cluster get, the load balancer controller."""

from __future__ import annotations

import datetime as dt
import logging
import os
from typing import TYPE_CHECKING, Any, Final

import yaml
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.sts import StsHook
from airflow.sdk import Connection, Context, get_current_context
from botocore.exceptions import BotoCoreError, ClientError

from include.settings import CLUSTER_NAME, CONTROLLER_REPOSITORY, GITHUB_ISSUER, PROJECT, settings
from retail_mlops.common.api_manifests import Manifest, rendered, service_account
from retail_mlops.common.dag_defaults import ADMIN, AIRFLOW, ROOT
from retail_mlops.common.environment_state import is_scaled_down
from retail_mlops.common.errors import RetailError
from retail_mlops.common.ownership import INGRESS_TAG, cluster_of
from retail_mlops.common.skipping import skip_task
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.hooks.account import Clients
from retail_mlops.hooks.aws_errors import explain_expired_credentials
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.oci_registry import Repository
from retail_mlops.hooks.oci_registry import copy as copy_image
from retail_mlops.provision import alb_controller

if TYPE_CHECKING:  # it imports the Kubernetes client, which takes half a second: only a login needs it
    from retail_mlops.hooks.eks_cluster import Cluster

REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
CONTROLLER_IMAGE: Final = TaskOutput[str]("copy_controller_image", str)
CONTROLLER_TIMEOUT: Final = 600
MAX_ROLLOUT_POLL: Final = 5

log = logging.getLogger(__name__)


# --- before anything is made ---
def other_regions(regions: dict[str, str | None]) -> list[str]:
    """Return what names another region than the project's; regions: where it is configured → the region, if any."""
    return [
        f"{where} says {region}" for where, region in regions.items() if region not in (None, "", settings().region)
    ]


def check_account() -> None:
    """Refuse the wrong region and the wrong account before anything is made there."""
    regions: dict[str, str | None] = {name: os.environ.get(name) for name in REGION_VARIABLES}
    for connection in (ADMIN, AIRFLOW):
        regions[f"connection {connection}"] = Connection.get(connection).extra_dejson.get("region_name")
    if wrong := other_regions(regions):
        raise RetailError(f"everything lives in {settings().region}, but {', '.join(wrong)}: correct that, run again")
    with explain_expired_credentials(ADMIN):
        caller = StsHook(aws_conn_id=ADMIN, region_name=settings().region).conn.get_caller_identity()
    if caller["Account"] != settings().account_id:
        raise RetailError(
            f"connection {ADMIN} is {caller['Arn']} of account {caller['Account']}, but RETAIL_ACCOUNT_ID is "
            f"{settings().account_id}: names and permissions contain it, so correct the one that is wrong in .env"
        )
    log.info("%s in %s", caller["Arn"], settings().region)
    _refuse_to_orphan_balancers()
    if settings().endpoint_kind == "alb":
        alb_controller.crds()  # a missing file is reported before anything is made
    if not settings().cluster_cidrs:
        log.info(
            "RETAIL_CLUSTER_CIDRS is empty: on AWS only the VPC will reach the cluster's API, "
            "and the task bootstrap_cluster needs it"
        )


def _refuse_to_orphan_balancers() -> None:
    """Raise RetailError while there is an ALB whose controller RETAIL_ENDPOINT_KIND would remove."""
    if settings().endpoint_kind == "alb":
        return
    with explain_expired_credentials(ADMIN):
        orphans = [
            balancer["LoadBalancerName"]
            for balancer, tags in Clients(ADMIN).load_balancers()
            if INGRESS_TAG in tags and cluster_of(tags) == CLUSTER_NAME
        ]
    if orphans:
        raise RetailError(
            f"load balancer {', '.join(orphans)} is an alb, and RETAIL_ENDPOINT_KIND says nlb: nothing could remove it "
            "then. Set it back to alb, run deploy with public_endpoint off, then change it"
        )


# --- the account ---
def create_github_login(params: dict[str, Any]) -> None:
    """Create GitHub's OIDC provider when a repository is configured and the account has none; it can have only one.

    It belongs to no stack and no environment: other environments log in through it when this one is gone.
    """
    if not settings().github_repository:
        log.info("RETAIL_GITHUB_REPOSITORY names no repository: no login for GitHub")
        return
    arn = f"arn:aws:iam::{settings().account_id}:oidc-provider/{GITHUB_ISSUER}"
    with explain_expired_credentials(ADMIN):
        iam = AwsBaseHook(ADMIN, client_type="iam", region_name=settings().region).conn
        providers = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
        if any(provider["Arn"] == arn for provider in providers):
            log.info("%s exists", arn)
        elif params["dry_run"]:
            log.info("%s would be created", arn)
        else:
            iam.create_open_id_connect_provider(
                Url=f"https://{GITHUB_ISSUER}",
                ClientIDList=["sts.amazonaws.com"],
                Tags=[{"Key": "Project", "Value": PROJECT}],
            )
            log.info("%s was created", arn)


def stop_after_dry_run(params: dict[str, Any]) -> bool:
    """Return whether the run continues: a dry run ends after the change sets."""
    return not params["dry_run"]


def activate_cost_tag() -> None:
    """Let AWS Billing group costs by the tag Project: until then the budget counts nothing. Never fails.

    AWS offers a tag about a day after its first use, and only to the account that pays.
    """
    try:
        client = AwsBaseHook(ADMIN, client_type="ce", region_name=settings().region).conn
        errors = client.update_cost_allocation_tags_status(
            CostAllocationTagsStatus=[{"TagKey": "Project", "Status": "Active"}]
        )["Errors"]
        reason = "; ".join(f"{error['Code']}: {error['Message']}" for error in errors)
    except (ClientError, BotoCoreError) as error:
        reason = str(error)
    if reason:
        log.warning(
            "The tag Project is not activated for cost allocation, so the budget counts nothing yet: %s", reason
        )
        log.warning("Run provision again tomorrow, or activate it by hand: docs/runbooks/alerts-and-budget.md")
    else:
        log.info("The tag Project is active for cost allocation: the budget counts resources that carry it")


# --- the cluster ---
def cluster_basics(context: Context, jinja_env: Any = None) -> list[Manifest]:
    """Return the namespace with Pod Security restricted, quotas, network rules, Airflow's rights, the API's account."""
    text = (ROOT / "k8s" / "bootstrap.yaml").read_text()
    documents = [document for document in yaml.safe_load_all(text) if document]
    return [*documents, service_account(rendered())]


# --- the load balancer controller, for an alb only ---
def copy_controller_image() -> str:
    """Copy its image to the project's registry, the only one that nodes reach; return its reference by digest."""
    if settings().endpoint_kind != "alb":
        skip_task("RETAIL_ENDPOINT_KIND is nlb: EKS itself makes that load balancer")
    registry, _, rest = alb_controller.upstream().partition("/")
    name, _, tag = rest.partition(":")
    images = ImageHook(ADMIN)
    with explain_expired_credentials(ADMIN):
        reference = images.tagged(CONTROLLER_REPOSITORY, tag)
        if reference is None:
            source, target = Repository(f"https://{registry}", name), images.open(CONTROLLER_REPOSITORY)
            digest = copy_image(source, tag, target, settings().controller_digest)
            reference = f"{settings().repository(CONTROLLER_REPOSITORY)}@{digest}"
    log.info("%s is %s", alb_controller.upstream(), reference)
    return reference


def install_controller() -> None:
    """Apply the controller and wait until it works, unless there is no node to run on."""
    image = CONTROLLER_IMAGE.pull(get_current_context())
    hook = ClusterHook(ADMIN)
    with hook.login() as login:
        vpc = hook.conn.describe_cluster(name=CLUSTER_NAME)["cluster"]["resourcesVpcConfig"]["vpcId"]
        cluster = login.within(alb_controller.NAME)
        cluster.apply(alb_controller.manifests(image, vpc, _webhook_certificate(cluster)))
        if is_scaled_down(ADMIN):
            log.info("The environment is scaled down: the controller starts with its nodes")
            return
        poll = min(settings().poll_seconds, MAX_ROLLOUT_POLL)
        cluster.wait_for_rollout(alb_controller.NAME, timeout=CONTROLLER_TIMEOUT, poll=poll)


def _webhook_certificate(cluster: Cluster) -> alb_controller.Certificate:
    """Return the existing certificate, so that running again changes nothing; or a new one."""
    if secret := cluster.secret(alb_controller.NAME):
        return alb_controller.Certificate.from_secret(secret)
    return alb_controller.Certificate.make(dt.datetime.now(dt.UTC))
