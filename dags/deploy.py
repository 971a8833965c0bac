"""# deploy

Puts an approved model into the cluster, by way of a canary: **resolve** → **stage** → **canary** (one pod, outside the
Service) → **verify_canary** → **join** (it gets its share of the requests) → **bake** → **promote** → **verify** →
**record** → **remove_canary**. When one of them fails, **roll_back** takes the canary away and, if the stable pods were
changed already, puts the release before back; the run fails.

Starts by itself when `train` announces an `approved_model`, or by hand. A second run waits for the first.

- **Waits while the environment is scaled down**, or about to be, and says so; goes on after `scale_up`.
- Refuses any model package that is not Approved, and an image whose scan is missing or not clean (a rollback only
  warns of its image).
- The release gets its own copy of the bundle, and only if its digest is the approved one.
- The image runs by digest; the manifests are `k8s/rendered/`, patched and applied server-side.
- `verify_canary` and `verify` replay held-out baskets from inside the cluster; each answer must be the bundle's own.
- `bake` compares canary and stable pods for `bake_seconds`: failed requests, p95, restarts. It is left out for the
  first release and for a rollback.
- What the checks found is a table in the log of `record` or `roll_back`, and in `logs/deployments/<release>.json`.
- `public_endpoint` makes the load balancer as the settings say (`on`) or removes it (`off`), also when there is nothing
  else to do; `keep` leaves it as it is, and makes it for the first release. The log of `record` names its address.
- Nothing to do when the same model runs in the same image already; `force` releases it again.
- `rollback_to`: `previous`, or the id of a release that ran before. Its model must still be Approved.
"""

import datetime as dt

from airflow.sdk import Param, chain, task

from include.settings import API_NAME, MAX_BAKE_SECONDS, settings
from retail_mlops.common.dag_defaults import APPROVED_MODEL, Tag, retail_dag
from retail_mlops.operators.kubernetes import ApplyOperator, ClusterJobOperator, RolloutOperator
from retail_mlops.release import tasks
from retail_mlops.release.releases import CANARY
from retail_mlops.schedule.records import WAITING_TASK
from retail_mlops.schedule.tasks import may_deploy


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
        "public_endpoint": Param(
            tasks.KEEP,
            enum=[tasks.KEEP, tasks.ON, tasks.OFF],
            title="Public endpoint",
            description="keep: as it is, and on for the first release; on: as the settings say; off: none",
        ),
        "bake_seconds": Param(
            settings().bake_seconds,
            type="integer",
            minimum=0,
            maximum=MAX_BAKE_SECONDS,
            title="Seconds to bake",
            description="how long canary and stable pods are compared; 0: not at all",
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
    endpoint = task(tasks.endpoint)()
    resolve = task(tasks.resolve)()
    stage = task(tasks.stage)()
    canary = ApplyOperator(task_id="canary", manifests=tasks.canary)
    canary_rollout = RolloutOperator(task_id="canary_rollout", deployment=CANARY)
    verify_canary = ClusterJobOperator(task_id="verify_canary", manifest=tasks.verification_of_canary)
    join = task(tasks.join)()
    bake = ClusterJobOperator(task_id="bake", manifest=tasks.baking)
    after_bake = "none_failed_min_one_success"  # which may be skipped
    promote = ApplyOperator(task_id="promote", manifests=tasks.manifests, trigger_rule=after_bake)
    rollout = RolloutOperator(task_id="rollout", deployment=API_NAME)
    verify = ClusterJobOperator(task_id="verify", manifest=tasks.verification)
    record = task(tasks.record)()
    remove_canary = task(tasks.remove_canary)()
    steps = [canary, canary_rollout, verify_canary, join, bake, promote, rollout, verify]
    chain(up, endpoint, resolve, stage, *steps, record, remove_canary)
    join >> promote
    steps >> task(tasks.roll_back, trigger_rule="one_failed")()


deploy()
