"""# deploy

Puts an approved model into the cluster: **resolve** → **stage** → **apply** → **rollout** → **verify** → **record**;
when one of them fails after the cluster was changed, **roll_back** puts the release before back, and the run fails.

Starts by itself when `train` announces an `approved_model`, or by hand.

- **Waits while the environment is scaled down**, or about to be, and says so; goes on after `scale_up`.
- Refuses any model package that is not Approved, and an image whose scan is missing or not clean.
- The release gets its own copy of the bundle, and only if its digest is the approved one.
- The image runs by digest; the manifests are `k8s/rendered/`, patched and applied server-side.
- `verify` replays held-out baskets against the new pods, from inside the cluster.
- Nothing to do when the same model runs in the same image already; `force` releases it again.
- `rollback_to`: `previous`, or the id of a release that ran before. Its model must still be Approved.
"""

import datetime as dt

from airflow.sdk import Param, chain, task

from include.settings import API_NAME, settings
from retail_mlops.dag_defaults import APPROVED_MODEL, Tag, retail_dag
from retail_mlops.operators.kubernetes import ApplyOperator, ClusterJobOperator, RolloutOperator
from retail_mlops.scaling import WAITING_TASK
from retail_mlops.tasks import deploy as tasks
from retail_mlops.tasks.scaling import may_deploy


@retail_dag(
    schedule=[APPROVED_MODEL],
    tags=[Tag.RELEASE],
    max_active_runs=1,
    params={
        "model_package_arn": Param(
            None, type=["null", "string"], title="Model package", description="ARN; empty: the newest Approved"
        ),
        "image": Param(
            None, type=["null", "string"], title="API image", description="repository@sha256:…; empty: the newest"
        ),
        "force": Param(False, type="boolean", title="Force", description="release again though nothing changed"),
        "rollback_to": Param(
            None, type=["null", "string"], title="Roll back to", description="`previous`, or the id of a release"
        ),
    },
    doc_md=__doc__,
)
def deploy() -> None:
    up = task.sensor(
        task_id=WAITING_TASK,
        mode="reschedule",
        poke_interval=max(settings().poll_seconds, 10),  # each look is a process of its own
        timeout=dt.timedelta(days=7).total_seconds(),
        retries=0,  # a second week would only be longer
    )(may_deploy)()
    resolve = task(tasks.resolve)()
    stage = task(tasks.stage)()
    apply = ApplyOperator(task_id="apply", manifests=tasks.manifests)
    rollout = RolloutOperator(task_id="rollout", deployment=API_NAME)
    verify = ClusterJobOperator(task_id="verify", manifest=tasks.verification)
    record = task(tasks.record)()
    chain(up, resolve, stage, apply, rollout, verify, record)
    [apply, rollout, verify] >> task(tasks.roll_back, trigger_rule="one_failed")()


deploy()
