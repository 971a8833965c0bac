"""Whether the environment is scaled down, from its record and from the size of its node group."""

from __future__ import annotations

import datetime as dt
import logging

from airflow.sdk import Context

from include import hours, lake
from retail_mlops.common import node_groups
from retail_mlops.common.dag_defaults import AIRFLOW
from retail_mlops.common.scale_record import Record
from retail_mlops.hooks.eks_nodegroups import NodeGroupHook
from retail_mlops.hooks.s3_lake import LakeHook

log = logging.getLogger(__name__)


def read_record() -> tuple[Record | None, str | None]:
    """Return the record and its ETag; (None, None) when there is none."""
    document, tag = LakeHook().document_with_tag(lake.SCALED_DOWN)
    return (Record.model_validate(document) if document else None), tag


def is_run_alive(context: Context, owner: str) -> bool:
    """Return whether a run is queued or running; owner: `dag/run id`."""
    dag_id, _, run_id = owner.partition("/")
    return context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["running", "queued"]) > 0


def is_stopped(aws_conn_id: str = AIRFLOW) -> bool:
    """Return whether there is a cluster whose node group is at 0."""
    hook = NodeGroupHook(aws_conn_id)
    return hook.has_cluster() and node_groups.is_stopped(hook.groups())


def is_scaled_down(aws_conn_id: str = AIRFLOW) -> bool:
    """Return whether there is a record, or a cluster whose node group is at 0."""
    return LakeHook(aws_conn_id).document(lake.SCALED_DOWN) is not None or is_stopped(aws_conn_id)


def is_scaled_up(context: Context) -> bool:
    """Return whether `deploy` may change the cluster; log what it waits for if not.

    It may when no node group is stopped and there is no record, or only the claim of a run that has ended.
    """
    record, _ = read_record()
    if record is None or (record.state is None and not is_run_alive(context, record.owner)):
        if not is_stopped():
            return True
        state = "stopped: its node group is at 0, by the nightly backstop"
    else:
        state = f"{record.phase if record.state else 'about to go down'} ({record.owner})"
    next_scale_up = hours.scale_up_schedule().next(dt.datetime.now(dt.UTC))
    log.info(
        "The environment is %s: waiting for scale_up. Next on %s %s if scale_up is not paused, or trigger it now",
        state,
        f"{next_scale_up:%a %Y-%m-%d %H:%M}",
        hours.ZONE.key,
    )
    return False
