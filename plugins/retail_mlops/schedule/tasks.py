"""Tasks of `scale_down` and `scale_up`, and of `deploy` while the environment is down."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import Context, get_current_context

from include import hours, lake
from include.settings import METRIC_NAMESPACE, settings
from retail_mlops.common.dag_defaults import AIRFLOW
from retail_mlops.common.errors import RetailError
from retail_mlops.common.task_log import say, skip
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.eks_nodegroups import NodeGroupHook
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.release import releases
from retail_mlops.release.releases import Release
from retail_mlops.schedule import records as scaling
from retail_mlops.schedule.capacity import Capacity
from retail_mlops.schedule.records import Phase, Record, State, TimeOff
from retail_mlops.schedule.running import RunningHook

if TYPE_CHECKING:
    from retail_mlops.schedule.capacity import Capacity

PATIENCE: Final = 40
"""How many polls one step may take: 20 minutes at the default of 30 s."""
LAST_PATIENCE: Final = 60
"""The same for the proof that nothing runs: EKS itself tries for 15 minutes to move its own pods off a node."""
TURN: Final = dt.timedelta(hours=1).total_seconds()
"""How long to wait for a deploy, or for the other of the two DAGs."""


# --- who may change the environment ---
def _me(context: Context) -> str:
    return f"{context['ti'].dag_id}/{context['ti'].run_id}"


def _is_alive(context: Context, owner: str) -> bool:
    dag, _, run = owner.partition("/")
    return context["ti"].get_dr_count(dag_id=dag, run_ids=[run], states=["running", "queued"]) > 0


def _read() -> tuple[Record | None, str | None]:
    document, tag = LakeHook().document_with_tag(lake.SCALED_DOWN)
    return (Record.model_validate(document) if document else None), tag


def _mine(context: Context) -> Record:
    """The record, which is ours to change; RetailError when somebody took or removed it meanwhile."""
    record, _ = _read()
    if record is None or record.owner != _me(context):
        raise RetailError(
            f"s3://{settings().bucket}/{lake.SCALED_DOWN} is {'gone' if record is None else f'now of {record.owner}'}: "
            "somebody else changes the environment. Nothing more is done here"
        )
    return record


def _keep(record: Record) -> None:
    LakeHook().put_document(lake.SCALED_DOWN, record.model_dump(mode="json"))


def _turn(context: Context, phase: Phase) -> Record | None:
    """Takes the record when no other living run has it; a claim if there is none to take and we go down.

    None: there is no record, and nothing to claim. RetailError when the other run does not end.
    """
    until, said, me = time.monotonic() + TURN, "", _me(context)
    while time.monotonic() < until:
        record, tag = _read()
        if record is None and phase is Phase.COMING_UP:
            return None
        if record and record.owner != me and _is_alive(context, record.owner):
            if said != record.owner:
                say(f"{record.owner} is under way ({record.phase}): waiting until it ends")
                said = record.owner
            time.sleep(settings().poll_seconds)
            continue
        ours = record.taken(me, phase) if record else Record(phase=Phase.CLAIMED, owner=me)
        if LakeHook().replace_document(lake.SCALED_DOWN, ours.model_dump(mode="json"), tag):
            return ours
    raise RetailError(
        f"{said or 'another run'} did not end within {TURN / 3600:.0f} h: end or mend it, then run this again"
    )


def _give_back(record: Record) -> None:
    """A claim that came to nothing must not keep `deploy` waiting."""
    if record.state is None:
        LakeHook().remove([lake.SCALED_DOWN])


def _skip_when_late(context: Context, going: Literal["down", "up"]) -> None:
    """A scheduled run whose time is over does nothing; a run by hand does what it was asked to."""
    if context["dag_run"].run_type == "scheduled" and (reason := scaling.late(going, dt.datetime.now(dt.UTC))):
        skip(reason)


def _skip_without_cluster() -> None:
    if not NodeGroupHook().has_cluster():
        skip("there is no cluster: nothing runs, nothing to restore")


def capacity_of(cluster: Any, patience: int = PATIENCE) -> Capacity:
    from retail_mlops.schedule.capacity import Capacity  # with the Kubernetes client, as at login

    poll = settings().poll_seconds
    return Capacity(cluster, timeout=patience * poll, poll=poll)


# --- deploy ---
def may_deploy() -> bool:
    """Whether the environment is up: no node group that EventBridge stopped, and no record, or a claim that its run
    left behind."""
    record, _ = _read()
    if record is None or (record.state is None and not _is_alive(get_current_context(), record.owner)):
        if not is_stopped():
            return True
        why = "stopped: its node group is at 0, by the nightly backstop"
    else:
        why = f"{record.phase if record.state else 'about to go down'} ({record.owner})"
    when = hours.up().next(dt.datetime.now(dt.UTC))
    say(
        f"the environment is {why}: waiting for scale_up, next on {when:%a %Y-%m-%d %H:%M} {hours.ZONE.key} if it is "
        "not paused, or trigger it now"
    )
    return False


def is_stopped(aws_conn_id: str = AIRFLOW) -> bool:
    """Whether there is a cluster whose node group is at 0."""
    hook = NodeGroupHook(aws_conn_id)
    return hook.has_cluster() and scaling.is_stopped(hook.groups())


# --- scale_down ---
def record() -> None:
    """Waits for its turn, then keeps what there is, before anything is changed."""
    context = get_current_context()
    _skip_when_late(context, "down")
    _skip_without_cluster()
    mine = _turn(context, Phase.GOING_DOWN)
    try:
        _wait_for_releases(context)
    except RetailError:
        _give_back(mine)
        raise
    with ClusterHook().login() as cluster:
        live = capacity_of(cluster).state(NodeGroupHook().groups())
        there = bool(cluster.core.list_node().items)
    running = RunningHook()
    if mine.state is None:
        mine = mine.but(savings=scaling.savings(running.instances(), running.balancers()))
    elif mine.off_since and (mine.on_since or there):
        _close(mine)
        mine = mine.but(off_since=None, planned_until=None, on_since=None)
    jobs = tuple(running.jobs())
    mine = mine.but(state=mine.state.with_new(live) if mine.state else live, phase=Phase.GOING_DOWN, jobs=jobs)
    _keep(mine)
    say(f"recorded at s3://{settings().bucket}/{lake.SCALED_DOWN}: {mine.state}")
    for job in jobs:
        say(f"still running, and paid until it ends: {job.kind} job {job.name}, since {job.since:%H:%M} UTC")


def _wait_for_releases(context: Context) -> None:
    """Until no deploy is past its waiting and no rollout is under way; RetailError when that takes too long."""
    until, said = time.monotonic() + TURN, ""
    while busy := _releases(context):
        if time.monotonic() > until:
            raise RetailError(f"{busy} after {TURN / 3600:.0f} h: end or mend it, then run scale_down again")
        if busy != said:
            say(f"{busy}: waiting until it ends")
            said = busy
        time.sleep(settings().poll_seconds)


def _releases(context: Context) -> str:
    """What is being released now, in words; nothing if nothing is."""
    ti = context["ti"]
    for run in scaling.releasing(ti.get_task_states(dag_id="deploy")):
        if _is_alive(context, f"deploy/{run}"):
            return f"deploy is under way (run {run})"
    with ClusterHook().login() as cluster:
        names = scaling.rolling(capacity_of(cluster).deployments())
    return f"a rollout of {', '.join(names)} is under way" if names else ""


def close_endpoint() -> None:
    _mine(get_current_context())
    with ClusterHook().login() as cluster:
        capacity_of(cluster).remove_endpoints()


def drain() -> None:
    """Deployments to 0, nodes closed, everything else evicted as its budget allows."""
    mine = _mine(get_current_context())
    with ClusterHook().login() as cluster:
        capacity = capacity_of(cluster)
        cluster.delete_deployment(releases.CANARY)  # of a deploy that was killed
        capacity.stop(mine.state.workloads)
        capacity.drain()


def stop_nodes() -> None:
    mine, hook = _mine(get_current_context()), NodeGroupHook()
    for group in mine.state.node_groups:
        hook.scale(group.stopped(), PATIENCE * settings().poll_seconds, settings().poll_seconds)


def prove() -> None:
    """Returns when no node, no instance and no load balancer of ours is left; RetailError with a table otherwise.

    It waits for what EKS takes away by itself, and not for what somebody else made.
    """
    mine, poll = _mine(get_current_context()), settings().poll_seconds
    until, said = time.monotonic() + LAST_PATIENCE * poll, ""
    with ClusterHook().login() as cluster:
        capacity, running = capacity_of(cluster), RunningHook()
        while leftovers := scaling.left(
            [node["metadata"]["name"] for node in capacity.nodes()],
            running.instances(),
            running.balancers(),
            capacity.endpoints(),
        ):
            text = scaling.table(leftovers)
            if time.monotonic() > until or not any(one.goes for one in leftovers):
                raise RetailError(
                    f"scale_down has done its part, and these still run and cost:\n{text}\n"
                    "See docs/runbooks/scale.md; clear this task when they are gone, or run scale_down again"
                )
            if text != said:
                say(f"waiting for:\n{text}")
                said = text
            time.sleep(poll)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    off_since = mine.off_since or now
    _keep(mine.but(phase=Phase.DOWN, off_since=off_since, planned_until=hours.up().next(off_since)))
    say("no node, no instance and no load balancer is left")


def publish_planned() -> None:
    if off := scaling.time_off(_mine(get_current_context())):
        _publish(off)


# --- scale_up ---
def claim() -> None:
    """Takes the record of scale_down; skips when there is nothing to restore."""
    context = get_current_context()
    _skip_when_late(context, "up")
    _skip_without_cluster()
    mine = _turn(context, Phase.COMING_UP)
    moment = context["dag_run"].run_after
    if context["dag_run"].run_type == "scheduled" and mine and mine.off_since and mine.off_since > moment:
        _keep(mine.but(phase=Phase.DOWN))
        skip(
            f"the environment was scaled down at {mine.off_since:%Y-%m-%d %H:%M} UTC, after this run's own time "
            f"({moment:%Y-%m-%d %H:%M} UTC): it stays down until the next scale_up"
        )
    if mine is None:
        mine = _after_the_backstop(context)
    elif mine.state is None:
        _give_back(mine)
        skip("scale_down had not begun to change anything: nothing to restore")
    say(f"to restore: {mine.state}")


def _after_the_backstop(context: Context) -> Record:
    """Without a record only one thing may be down: our node group, stopped by EventBridge while Airflow slept."""
    groups = NodeGroupHook().groups()
    if not scaling.is_stopped(groups):
        skip("nothing is scaled down (no record, no stopped node group): nothing to do")
    say("no record, but the node group is stopped: the nightly backstop did that. It gets its stack's size again")
    with ClusterHook().login() as cluster:
        state = capacity_of(cluster).state(groups)
    mine = Record(phase=Phase.COMING_UP, owner=_me(context), state=state)
    if not LakeHook().replace_document(lake.SCALED_DOWN, mine.model_dump(mode="json"), None):
        raise RetailError("another run has just begun to change the environment: run this again when it has ended")
    return mine


def start_nodes() -> None:
    """Node groups at their sizes, their nodes Ready and open."""
    mine, hook, poll = _mine(get_current_context()), NodeGroupHook(), settings().poll_seconds
    if mine.off_since and not mine.on_since:
        mine = mine.but(on_since=dt.datetime.now(dt.UTC).replace(microsecond=0))
        _keep(mine)
    for group in mine.state.node_groups:
        hook.scale(group, PATIENCE * poll, poll)
    with ClusterHook().login() as cluster:
        capacity = capacity_of(cluster)
        capacity.wait_for_nodes(mine.state.node_groups, hook.trouble)
        capacity.open(mine.state.open_nodes)


def restore() -> None:
    """Autoscalers, replicas, and when the pods are ready the public endpoint."""
    state: State = _mine(get_current_context()).state
    poll = min(settings().poll_seconds, 5)
    with ClusterHook().login() as cluster:
        capacity = capacity_of(cluster)
        capacity.start(state.workloads, state.autoscalers)
        for one in state.workloads:
            cluster.wait_for_rollout(one.name, timeout=PATIENCE * settings().poll_seconds + 300, poll=poll)
        cluster.apply(list(state.services))
        for address in capacity.wait_for_address(state.services):
            say(f"public endpoint: {address}")


def prediction(context: Context, jinja_env: Any = None) -> dict[str, Any] | str:
    """The Job that asks the restored release for held-out baskets' predictions; a sentence when there is none."""
    state: State = _mine(context).state
    if not state.release or not any(one.replicas for one in state.workloads):
        return "nothing was deployed: there is nobody to ask"
    kept = LakeHook().document(lake.deployment(state.release))
    if kept is None:
        raise RetailError(f"release {state.release} ran, but {lake.deployment(state.release)} is gone: run deploy")
    return releases.verification(Release(**kept["release"]))


def finish() -> None:
    """Publishes the actual hours off and removes the record: deploy may go on."""
    mine = _mine(get_current_context())
    if off := scaling.time_off(mine):
        _publish(off)
    else:
        say("since when the nodes were off is not known: no hours, no money counted")
    LakeHook().remove([lake.SCALED_DOWN])


# --- hours and money ---
def _close(record: Record) -> None:
    """Ends a time off that no `finish` ended: a scale_up failed, or somebody started nodes, nobody knows when."""
    if not record.on_since:
        say(f"somebody started nodes since {record.off_since}: that time off is not counted")
    if off := scaling.time_off(record.but(on_since=record.on_since or record.off_since)):
        _publish(off)


def _publish(off: TimeOff) -> None:
    """Hours off and money saved to logs/cost/, a file a local day, and to CloudWatch; actual hours only once."""
    hook, first_day = LakeHook(), off.start.astimezone(hours.ZONE).date()
    if scaling.is_accounted(hook.document(lake.cost(first_day)), off):
        say("these hours are published already")
        return
    for day in off.days:
        key = lake.cost(day)
        hook.put_document(key, scaling.account(hook.document(key), off, day))
    saved = off.hours * off.usd_per_hour
    dimensions = [{"Name": "Environment", "Value": settings().environment}, {"Name": "Basis", "Value": off.basis}]
    AwsBaseHook(aws_conn_id=AIRFLOW, client_type="cloudwatch", region_name=settings().region).conn.put_metric_data(
        Namespace=METRIC_NAMESPACE,
        MetricData=[
            {"MetricName": name, "Value": value, "Unit": "None", "Dimensions": dimensions}
            for name, value in (("HoursOff", off.hours), ("SavedUSD", saved))
        ],
    )
    say(f"{off.basis}: {off.hours:.2f} h off, {saved:.2f} USD saved")
