"""Tasks of `teardown`: what will go and what it costs, the steps of the deletion, the proof that nothing is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowException

from include.settings import CLUSTER_NAME, NAMESPACE, settings
from retail_mlops.common.dag_defaults import ADMIN, ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.common.task_log import say
from retail_mlops.hooks.eks_cluster import Cluster
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.operators.approval import Answer
from retail_mlops.provision.tasks import clean_up_smoke
from retail_mlops.schedule.tasks import is_stopped
from retail_mlops.teardown.deletion import TeardownHook
from retail_mlops.teardown.inventory import Inventory, table
from retail_mlops.teardown.search import InventoryHook

if TYPE_CHECKING:
    from retail_mlops.hooks.eks_cluster import Cluster

PATIENCE = 600
"""Seconds that jobs, load balancers and pods may take to end."""
CHANGING = ("PENDING", "CREATING", "UPDATING")
"""States of a cluster that answers again, or for the first time, when they are over."""
LOOKS = 3
"""AWS lists some things for a while after their deletion: so often the inventory looks, a poll apart."""


def _poll() -> float:
    return min(settings().poll_seconds, 10)


# --- before anything goes ---
def refuse_unless_confirmed(confirm: str) -> None:
    """RetailError unless the environment's own name was typed."""
    if confirm != settings().environment:
        raise RetailError(
            f"confirm is {confirm!r}, this environment is {settings().environment!r}: nothing was touched. "
            "Type the environment's name to tear it down."
        )


def refuse_while_others_run(runs: dict[str, int]) -> None:
    """runs: DAG id → runs under way. RetailError when there are any: they would make again what is being deleted."""
    if busy := [f"{dag} ({count})" for dag, count in sorted(runs.items()) if count]:
        raise RetailError(f"runs are under way of {', '.join(busy)}: let them end or stop them; nothing was touched")


def question(found: Inventory, keep_data: bool) -> str:
    """What the person reads who is asked a second time; markdown."""
    what = "everything but the lake" if keep_data else "everything, **data and models included**"
    lines = [
        f"Environment **{settings().environment}** in account {settings().account_id}: {what} will be deleted.",
        f"{len(found.left)} things go; they cost {found.cost}.",
        table(found.left),
    ]
    if found.kept:
        lines += ["Kept:", table(found.kept)]
    return "\n\n".join(lines)


def plan(params: dict[str, Any] | None = None) -> str:
    """Refuses a wrong `confirm` and busy DAGs; else what will go, with its monthly cost."""
    given = get_current_context()["params"]
    refuse_unless_confirmed(given["confirm"])
    refuse_while_others_run(_others_under_way())
    text = question(InventoryHook(ADMIN).take(given["keep_data"]), given["keep_data"])
    say(text)
    return text


def _others_under_way() -> dict[str, int]:
    ti = get_current_context()["ti"]
    others = [path.stem for path in (ROOT / "dags").glob("[!_]*.py") if path.stem != ti.dag_id]
    return {dag: ti.get_dr_count(dag_id=dag, states=["queued", "running"]) for dag in others}


def whether_to_ask() -> str:
    """The next task's id: the question, or straight on."""
    return "ask" if get_current_context()["params"]["confirm_twice"] else "begin"


def begin() -> None:
    """Fails the run, with nothing deleted, unless the second question was approved or not asked for."""
    context = get_current_context()
    if not context["params"]["confirm_twice"]:
        return
    refuse_while_others_run(_others_under_way())  # the answer may have taken an hour
    answer = Answer(**context["ti"].xcom_pull(task_ids="ask"))
    if not answer.approved:
        raise RetailError(f"{answer.choice} by {answer.by or 'nobody: time is up'}: nothing was deleted")


# --- the deletion, in this order ---
def stop_jobs() -> list[str]:
    return TeardownHook(ADMIN).stop_jobs(PATIENCE, _poll())


def remove_endpoint() -> list[str]:
    """The public endpoint and every load balancer: before the cluster, which alone knows how to remove them."""
    hook = TeardownHook(ADMIN)
    _wait_until(lambda: hook.cluster_status() not in CHANGING, "the cluster still changes", lambda: [CLUSTER_NAME])
    if hook.cluster_status() == "ACTIVE":
        with ClusterHook(ADMIN).login() as cluster:
            removed = cluster_endpoints(cluster)
        if settings().endpoint_kind == "alb" and is_stopped(ADMIN):  # its controller has no node to run on
            removed += hook.delete_orphaned_balancers()
        _wait_until(lambda: not hook.balancers(), "these load balancers are still there", hook.balancers)
        return removed
    return hook.delete_orphaned_balancers()


def cluster_endpoints(cluster: Cluster) -> list[str]:
    """Deletes Services of type LoadBalancer and Ingresses in every namespace; their names."""
    from kubernetes import client

    network, removed = client.NetworkingV1Api(cluster.api), []
    for service in cluster.core.list_service_for_all_namespaces().items:
        if service.spec.type == "LoadBalancer":
            meta = service.metadata
            _there_or_not(cluster.core.delete_namespaced_service, meta.name, meta.namespace)
            removed.append(f"{meta.namespace}/{meta.name}")
    for ingress in network.list_ingress_for_all_namespaces().items:
        meta = ingress.metadata
        _there_or_not(network.delete_namespaced_ingress, meta.name, meta.namespace)
        removed.append(f"{meta.namespace}/{meta.name}")
    return removed


def remove_workloads() -> None:
    """The namespace with all that is in it: no budget of its pods then holds up the nodes.

    Waits for the pods, not for the namespace: that one stays Terminating while metrics-server, an aggregated API, has
    no node to run on (kubernetes/kubernetes#83332), which is so while the environment is scaled down.
    """
    if TeardownHook(ADMIN).cluster_status() != "ACTIVE":
        say("no running cluster: no workloads")
        return
    with ClusterHook(ADMIN).login() as cluster:
        _there_or_not(cluster.core.delete_namespace, NAMESPACE)

        def pods() -> list[str]:
            return [pod.metadata.name for pod in cluster.core.list_namespaced_pod(NAMESPACE).items]

        _wait_until(lambda: not pods(), "these pods are still there", pods)


def delete_images() -> int:
    return TeardownHook(ADMIN).delete_images()


def delete_packages() -> int:
    return TeardownHook(ADMIN).delete_packages()


def delete_logs() -> list[str]:
    hook = TeardownHook(ADMIN)
    hook.forget_scaled_down()
    return hook.delete_logs()


def delete_retained() -> list[str]:
    """What the stacks left because of DeletionPolicy Retain, logs that came late, buckets of killed smoke tests."""
    keep = frozenset({settings().bucket} if get_current_context()["params"]["keep_data"] else ())
    hook = TeardownHook(ADMIN)
    hook.delete_logs()
    hook.delete_orphaned_balancers()
    clean_up_smoke()
    went, left = hook.delete_retained(keep)
    for one in left:
        say(f"a person has to look at {one}: its stack left it on purpose")
    return went


# --- the proof ---
def take_inventory() -> dict[str, Any]:
    """RetailError with a table of all that is left; what stays on purpose when nothing is."""
    keep_data = get_current_context()["params"]["keep_data"]
    for look in range(LOOKS):
        found = InventoryHook(ADMIN).take(keep_data)
        if not found.left:
            break
        if look + 1 < LOOKS:
            time.sleep(settings().poll_seconds)
    if found.kept:
        say(f"kept:\n{table(found.kept)}")
    if found.left:
        raise RetailError(
            f"{len(found.left)} things of {settings().environment} are left; they cost {found.cost}:\n"
            f"{table(found.left)}\n"
            "Delete what nobody needs (docs/runbooks/teardown.md), then run teardown again."
        )
    say(f"nothing of {settings().environment} is left")
    return {"left": 0, "kept": [row.arn for row in found.kept]}


def _there_or_not(delete: Any, *names: str) -> None:
    from kubernetes.client.exceptions import ApiException

    try:
        delete(*names)
    except ApiException as error:
        if error.status not in (404, 409):  # gone; being deleted
            raise


def _wait_until(done: Any, complaint: str, left: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > until:
            raise AirflowException(f"{complaint} after {PATIENCE} s: {left()}")
        time.sleep(_poll())
