"""Tasks of `scale_down` and `scale_up`."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.sdk import Context, get_current_context

from include import hours, lake
from include.settings import settings
from retail_mlops.common import check_jobs, node_groups
from retail_mlops.common.api_manifests import CANARY
from retail_mlops.common.environment_state import is_run_alive
from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import wait_until
from retail_mlops.common.releases import Release
from retail_mlops.common.scale_record import Phase, Record
from retail_mlops.common.skipping import skip_task
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.eks_nodegroups import NodeGroupHook
from retail_mlops.hooks.public_endpoint import PublicEndpoint
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.schedule import cost_files, lock, preconditions, savings
from retail_mlops.schedule.capacity import Capacity, step_timeout
from retail_mlops.schedule.running_resources import RunningResourcesHook
from retail_mlops.schedule.still_running import Leftover, find_leftovers, table

if TYPE_CHECKING:  # it imports the Kubernetes client, which takes half a second: only a login needs it
    from retail_mlops.hooks.eks_cluster import Cluster

VERIFICATION_POLLS: Final = 60
"""How many polls the last check may take: EKS itself tries for 15 minutes to move its own pods off a node."""
MAX_ROLLOUT_POLL: Final = 5
ROLLOUT_EXTRA_SECONDS: Final = 300

log = logging.getLogger(__name__)


# --- both ---
def _skip_when_late(context: Context, direction: Literal["down", "up"]) -> None:
    """Skip a scheduled run whose time is over; a manual run does what it was asked to."""
    scheduled = context["dag_run"].run_type == "scheduled"
    if scheduled and (reason := preconditions.too_late(direction, dt.datetime.now(dt.UTC))):
        skip_task(reason)


def _skip_without_cluster() -> None:
    if not NodeGroupHook().has_cluster():
        skip_task("there is no cluster: nothing runs, nothing to restore")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


# --- scale_down ---
def record_state() -> None:
    """Wait for other runs and rollouts to end, then record what there is, before anything is changed."""
    context = get_current_context()
    _skip_when_late(context, "down")
    _skip_without_cluster()
    record = lock.acquire_lock(context, Phase.GOING_DOWN)
    if record is None:
        raise RetailError("scale_down made no claim: run it again")
    try:
        _wait_for_releases(context)
    except RetailError:
        lock.release_claim(record)
        raise
    record = lock.save_record(_with_live_state(record))
    log.info("Recorded at s3://%s/%s: %s", settings().bucket, lake.SCALED_DOWN, record.state)
    for job in record.jobs:
        log.info(
            "Still running, and paid until it ends: %s job %s, since %s UTC", job.kind, job.name, f"{job.since:%H:%M}"
        )


def _wait_for_releases(context: Context) -> None:
    """Wait until no deploy is past its first task and no rollout is under way; RetailError when that takes too long."""
    timeout = lock.LOCK_TIMEOUT
    wait_until(
        lambda: _active_release(context),
        str,
        timeout=timeout,
        poll=settings().poll_seconds,
        timeout_error=lambda release: RetailError(
            f"{release} after {timeout / 3600:.0f} h: end or fix it, then run scale_down again"
        ),
    )


def _active_release(context: Context) -> str:
    """Return what is being released now, in words; "" if nothing is."""
    for run_id in preconditions.active_deploys(context["ti"].get_task_states(dag_id="deploy")):
        if is_run_alive(context, f"deploy/{run_id}"):
            return f"deploy is under way (run {run_id})"
    with ClusterHook().login() as cluster:
        names = preconditions.active_rollouts(Capacity(cluster).deployments())
    return f"a rollout of {', '.join(names)} is under way" if names else ""


def _with_live_state(record: Record) -> Record:
    """Return the record with the state as it is now, what its end saves, and the jobs that run on."""
    with ClusterHook().login() as cluster:
        live = Capacity(cluster).state(NodeGroupHook().groups(), PublicEndpoint(cluster).live())
        has_nodes = bool(cluster.core.list_node().items)
    running = RunningResourcesHook()
    changes: dict[str, Any] = {
        "state": record.state.with_new(live) if record.state else live,
        "phase": Phase.GOING_DOWN,
        "jobs": tuple(running.jobs()),
    }
    if record.state is None:
        changes["savings"] = savings.hourly_savings(running.instances(), running.balancers())
    elif record.off_since and (record.on_since or has_nodes):
        cost_files.publish_interrupted(record)
        changes |= {"off_since": None, "planned_until": None, "on_since": None}
    return record.model_copy(update=changes)


def close_endpoint() -> None:
    """Remove the public endpoint and its load balancer."""
    lock.require_lock(get_current_context())
    with ClusterHook().login() as cluster:
        PublicEndpoint(cluster).remove()


def drain_nodes() -> None:
    """Scale Deployments to 0, cordon the nodes, evict everything else as its budgets allow."""
    state = lock.require_lock(get_current_context()).recorded_state
    with ClusterHook().login() as cluster:
        capacity = Capacity(cluster)
        cluster.delete_deployment(CANARY)  # of a deploy that was killed
        capacity.stop(state.workloads)
        capacity.drain()


def stop_nodes() -> None:
    """Scale the node groups to zero."""
    state, hook = lock.require_lock(get_current_context()).recorded_state, NodeGroupHook()
    for group in state.node_groups:
        hook.scale(group.stopped(), step_timeout(), settings().poll_seconds)


def verify_stopped() -> None:
    """Verify that no node, instance or load balancer of the environment is left; RetailError with a table otherwise.

    Waits for what EKS takes away by itself, and not for what somebody else made.
    """
    record, running = lock.require_lock(get_current_context()), RunningResourcesHook()
    with ClusterHook().login() as cluster:
        wait_until(
            lambda: _leftovers(cluster, running),
            _pending_leftovers,
            timeout=VERIFICATION_POLLS * settings().poll_seconds,
            poll=settings().poll_seconds,
            timeout_error=_leftovers_error,
        )
    off_since = record.off_since or _now()
    lock.save_record(
        record, phase=Phase.DOWN, off_since=off_since, planned_until=hours.scale_up_schedule().next(off_since)
    )
    log.info("No node, no instance and no load balancer is left")


def _leftovers(cluster: Cluster, running: RunningResourcesHook) -> list[Leftover]:
    nodes = [node["metadata"]["name"] for node in Capacity(cluster).nodes()]
    return find_leftovers(nodes, running.instances(), running.balancers(), PublicEndpoint(cluster).live())


def _pending_leftovers(leftovers: list[Leftover]) -> str:
    if not leftovers:
        return ""
    if not any(leftover.goes_by_itself for leftover in leftovers):
        raise _leftovers_error(leftovers)
    return f"these are going\n{table(leftovers)}"


def _leftovers_error(leftovers: list[Leftover]) -> RetailError:
    return RetailError(
        f"scale_down has done its part, and these still run and cost:\n{table(leftovers)}\n"
        "See docs/runbooks/scale.md; clear this task when they are gone, or run scale_down again"
    )


def publish_savings() -> None:
    """Publish the planned hours off, and what they save."""
    if off := savings.time_off(lock.require_lock(get_current_context())):
        cost_files.publish(off)


# --- scale_up ---
def acquire_lock() -> None:
    """Take the record of scale_down; skip the run when there is nothing to restore."""
    context = get_current_context()
    _skip_when_late(context, "up")
    _skip_without_cluster()
    record = lock.acquire_lock(context, Phase.COMING_UP)
    if record is None:
        record = _record_after_backstop(context)
    _skip_when_scaled_down_later(context, record)
    if record.state is None:
        lock.release_claim(record)
        skip_task("scale_down had not begun to change anything: nothing to restore")
    log.info("To restore: %s", record.state)


def _skip_when_scaled_down_later(context: Context, record: Record) -> None:
    """Skip a scheduled run that starts late, after a scale_down that came after the run's own time."""
    dag_run = context["dag_run"]
    if dag_run.run_type != "scheduled" or record.off_since is None or record.off_since <= dag_run.run_after:
        return
    lock.save_record(record, phase=Phase.DOWN)
    skip_task(
        f"the environment was scaled down at {record.off_since:%Y-%m-%d %H:%M} UTC, after this run's own time "
        f"({dag_run.run_after:%Y-%m-%d %H:%M} UTC): it stays down until the next scale_up"
    )


def _record_after_backstop(context: Context) -> Record:
    """Return a new record when the node group was stopped without one: EventBridge did that while Airflow was off."""
    groups = NodeGroupHook().groups()
    if not node_groups.is_stopped(groups):
        skip_task("nothing is scaled down (no record, no stopped node group): nothing to do")
    log.info("No record, but the node group is stopped: by the nightly backstop. Its size is restored from its stack")
    with ClusterHook().login() as cluster:
        state = Capacity(cluster).state(groups, PublicEndpoint(cluster).live())
    record = Record(phase=Phase.COMING_UP, owner=lock.owner_of(context), state=state)
    if not LakeHook().replace_document(lake.SCALED_DOWN, record.model_dump(mode="json"), None):
        raise RetailError("another run has just begun to change the environment: run this again when it has ended")
    return record


def start_nodes() -> None:
    """Restore the sizes of the node groups; wait until their nodes are Ready, and uncordon them."""
    record, hook = lock.require_lock(get_current_context()), NodeGroupHook()
    state = record.recorded_state
    if record.off_since and not record.on_since:
        lock.save_record(record, on_since=_now())
    for group in state.node_groups:
        hook.scale(group, step_timeout(), settings().poll_seconds)
    with ClusterHook().login() as cluster:
        capacity = Capacity(cluster)
        capacity.wait_for_nodes(state.node_groups, hook.issues)
        capacity.uncordon(state.open_nodes)


def restore_workloads() -> None:
    """Restore autoscalers and replicas and, when the pods are ready, the public endpoint."""
    state = lock.require_lock(get_current_context()).recorded_state
    poll = min(settings().poll_seconds, MAX_ROLLOUT_POLL)
    with ClusterHook().login() as cluster:
        Capacity(cluster).start(state.workloads, state.autoscalers)
        for workload in state.workloads:
            cluster.wait_for_rollout(workload.name, timeout=step_timeout() + ROLLOUT_EXTRA_SECONDS, poll=poll)
        cluster.apply(list(state.services))
        for address in PublicEndpoint(cluster).wait_for_addresses(state.services):
            log.info("Public endpoint: %s", address)


def verification(context: Context, jinja_env: Any = None) -> dict[str, Any] | str:
    """Return the Job that replays held-out baskets against the restored release; the reason when there is none."""
    state = lock.require_lock(context).recorded_state
    if not state.release or not any(workload.replicas for workload in state.workloads):
        return "nothing was deployed: no prediction to verify"
    document = LakeHook().document(lake.deployment(state.release))
    if document is None:
        raise RetailError(f"release {state.release} ran, but {lake.deployment(state.release)} is gone: run deploy")
    return check_jobs.verification(Release(**document["release"]))


def finish() -> None:
    """Publish the actual hours off and remove the record: `deploy` may go on."""
    record = lock.require_lock(get_current_context())
    if off := savings.time_off(record):
        cost_files.publish(off)
    else:
        log.info("It is not known since when the nodes were off: no hours and no money counted")
    lock.release_lock()
