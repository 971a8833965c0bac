"""Tasks of `teardown`: the plan and its confirmation, the steps of the deletion, the proof that nothing is left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowException

from include.settings import CLUSTER_NAME, NAMESPACE, settings
from retail_mlops.common import smoke_buckets
from retail_mlops.common.dag_defaults import ADMIN, ROOT
from retail_mlops.common.environment_state import is_stopped
from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import wait_until
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.operators.approval import NOBODY, Answer
from retail_mlops.teardown.deletion import TeardownHook
from retail_mlops.teardown.inventory import Inventory, table
from retail_mlops.teardown.search import InventoryHook

if TYPE_CHECKING:  # it imports the Kubernetes client, which takes half a second: only a login needs it
    from retail_mlops.hooks.eks_cluster import Cluster

PLAN: Final = TaskOutput[str]("plan_deletion", str)
ANSWER: Final = TaskOutput[Answer]("confirm_deletion", Answer)
CHECK_CONFIRMATION: Final = "check_confirmation"
STEP_TIMEOUT: Final = 600.0
"""Seconds that jobs, load balancers and pods may take to end."""
MAX_POLL: Final = 10
GONE: Final = (404, 409)
"""HTTP statuses of a deletion whose object is gone, or being deleted, already."""
CHANGING: Final = ("PENDING", "CREATING", "UPDATING")
"""States of a cluster that will answer when they are over."""
INVENTORY_POLLS: Final = 2
"""AWS lists some resources for a while after their deletion: the inventory is repeated so often."""

log = logging.getLogger(__name__)


def _poll() -> float:
    return min(settings().poll_seconds, MAX_POLL)


# --- before anything is deleted ---
def require_confirmation(confirm: str) -> None:
    """Raise RetailError unless the environment's own name was typed."""
    if confirm != settings().environment:
        raise RetailError(
            f"confirm is {confirm!r}, this environment is {settings().environment!r}: nothing was touched. "
            "Type the environment's name to tear it down."
        )


def refuse_while_others_run(runs: dict[str, int]) -> None:
    """Raise RetailError while other DAGs run, which could create again what is being deleted; runs: DAG id → number."""
    if busy := [f"{dag} ({count})" for dag, count in sorted(runs.items()) if count]:
        raise RetailError(f"runs are under way of {', '.join(busy)}: let them end or stop them; nothing was touched")


def question(inventory: Inventory, keep_data: bool) -> str:
    """Return the Markdown for the person who is asked once more."""
    what = "everything except the lake" if keep_data else "everything, **data and models included**"
    paragraphs = [
        f"Environment **{settings().environment}** in account {settings().account_id}: {what} will be deleted.",
        f"{len(inventory.left)} resources will be deleted; they cost {inventory.cost}.",
        table(inventory.left),
    ]
    if inventory.kept:
        paragraphs += ["Kept:", table(inventory.kept)]
    return "\n\n".join(paragraphs)


def plan_deletion() -> str:
    """Refuse a wrong `confirm` and other runs; return what will be deleted, with its monthly cost."""
    params = get_current_context()["params"]
    require_confirmation(params["confirm"])
    refuse_while_others_run(_active_runs())
    text = question(InventoryHook(ADMIN).take(params["keep_data"]), params["keep_data"])
    log.info("%s", text)
    return text


def _active_runs() -> dict[str, int]:
    """Return DAG id → runs under way, for all other DAGs."""
    ti = get_current_context()["ti"]
    others = [path.stem for path in (ROOT / "dags").glob("[!_]*.py") if path.stem != ti.dag_id]
    return {dag_id: ti.get_dr_count(dag_id=dag_id, states=["queued", "running"]) for dag_id in others}


def choose_path() -> str:
    """Return the next task's id: the question, or straight to the deletion."""
    return ANSWER.task_id if get_current_context()["params"]["confirm_twice"] else CHECK_CONFIRMATION


def check_confirmation() -> None:
    """Fail the run, with nothing deleted, unless the question was approved or not asked for."""
    context = get_current_context()
    if not context["params"]["confirm_twice"]:
        return
    refuse_while_others_run(_active_runs())  # the answer may have taken an hour
    answer = ANSWER.pull(context)
    if not answer.approved:
        raise RetailError(f"{answer.choice} by {answer.by or NOBODY}: nothing was deleted")


# --- the deletion, in this order ---
def stop_jobs() -> list[str]:
    """Stop the environment's SageMaker jobs; return their names."""
    return TeardownHook(ADMIN).stop_jobs(STEP_TIMEOUT, _poll())


def remove_endpoint() -> list[str]:
    """Remove the public endpoint and every load balancer, before the cluster that alone can remove them."""
    hook = TeardownHook(ADMIN)
    _wait_until_empty(lambda: [CLUSTER_NAME] if hook.cluster_status() in CHANGING else [], "the cluster still changes")
    if hook.cluster_status() != "ACTIVE":
        return hook.delete_orphaned_balancers()
    with ClusterHook(ADMIN).login() as cluster:
        removed = delete_cluster_endpoints(cluster)
    if settings().endpoint_kind == "alb" and is_stopped(ADMIN):  # its controller has no node to run on
        removed += hook.delete_orphaned_balancers()
    _wait_until_empty(lambda: list(hook.balancers()), "these load balancers still exist")
    return removed


def delete_cluster_endpoints(cluster: Cluster) -> list[str]:
    """Delete Services of type LoadBalancer and Ingresses in every namespace; return their names."""
    services = cluster.core.list_service_for_all_namespaces().items
    balanced = [service.metadata for service in services if service.spec.type == "LoadBalancer"]
    ingresses = [ingress.metadata for ingress in cluster.networking.list_ingress_for_all_namespaces().items]
    for metadata in balanced:
        cluster.ignore(GONE, cluster.core.delete_namespaced_service, metadata.name, metadata.namespace)
    for metadata in ingresses:
        cluster.ignore(GONE, cluster.networking.delete_namespaced_ingress, metadata.name, metadata.namespace)
    return [f"{metadata.namespace}/{metadata.name}" for metadata in (*balanced, *ingresses)]


def remove_workloads() -> None:
    """Delete the namespace: then no PodDisruptionBudget of its pods delays the nodes.

    Waits for the pods, not for the namespace: that one stays Terminating while metrics-server, an aggregated API, has
    no node to run on (kubernetes/kubernetes#83332), which is so while the environment is scaled down.
    """
    if TeardownHook(ADMIN).cluster_status() != "ACTIVE":
        log.info("There is no running cluster: no workloads to remove")
        return
    with ClusterHook(ADMIN).login() as cluster:
        cluster.ignore(GONE, cluster.core.delete_namespace, NAMESPACE)

        def pods() -> list[str]:
            return [pod.metadata.name for pod in cluster.core.list_namespaced_pod(NAMESPACE).items]

        _wait_until_empty(pods, "these pods still exist")


def delete_images() -> int:
    return TeardownHook(ADMIN).delete_images()


def delete_model_packages() -> int:
    return TeardownHook(ADMIN).delete_packages()


def delete_logs() -> list[str]:
    """Delete log groups and streams, and the record of a scale_down."""
    hook = TeardownHook(ADMIN)
    hook.delete_scale_record()
    return hook.delete_logs()


def delete_retained() -> list[str]:
    """Delete what the stacks left because of DeletionPolicy Retain, late logs, and buckets of killed smoke tests."""
    keep = frozenset({settings().bucket} if get_current_context()["params"]["keep_data"] else ())
    hook = TeardownHook(ADMIN)
    hook.delete_logs()
    hook.delete_orphaned_balancers()
    smoke_buckets.remove_all(ADMIN)
    deleted, left = hook.delete_retained(keep)
    for resource in left:
        log.warning("%s was retained by its stack on purpose: a person has to decide about it", resource)
    return deleted


# --- the proof ---
def verify_deleted() -> dict[str, Any]:
    """Raise RetailError with a table of all that is left; return what stays on purpose when nothing is."""
    keep_data = get_current_context()["params"]["keep_data"]
    poll = settings().poll_seconds
    inventory = wait_until(
        lambda: InventoryHook(ADMIN).take(keep_data),
        lambda inventory: f"{len(inventory.left)} resources to disappear" if inventory.left else "",
        timeout=INVENTORY_POLLS * poll,
        poll=poll,
        timeout_error=_left_error,
    )
    if inventory.kept:
        log.info("Kept:\n%s", table(inventory.kept))
    log.info("Nothing of %s is left", settings().environment)
    return {"left": 0, "kept": [row.arn for row in inventory.kept]}


def _left_error(inventory: Inventory) -> RetailError:
    if inventory.kept:
        log.info("Kept:\n%s", table(inventory.kept))
    return RetailError(
        f"{len(inventory.left)} resources of {settings().environment} are left; they cost {inventory.cost}:\n"
        f"{table(inventory.left)}\n"
        "Delete what nobody needs (docs/runbooks/teardown.md), then run teardown again."
    )


def _wait_until_empty(observe: Callable[[], list[str]], problem: str) -> None:
    wait_until(
        observe,
        ", ".join,
        timeout=STEP_TIMEOUT,
        poll=_poll(),
        timeout_error=lambda left: AirflowException(f"{problem} after {STEP_TIMEOUT:.0f} s: {', '.join(left)}"),
        log=log,
    )
