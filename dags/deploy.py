"""# deploy

Releases an approved model by way of a canary: **choose_release** → **stage_bundle** → **apply_canary** (one pod
without traffic) → **verify_canary** → **shift_traffic** (the canary gets its share of the requests) → **bake** →
**promote** → **verify** → **record_release** → **remove_canary**. When one of them fails, **roll_back** removes the
canary and, if the stable pods were changed already, restores the release before; the run fails.

Starts when `train` announces an `approved_model`, or by hand. A second run waits for the first.

- **Waits while the environment is scaled down**, or about to be, and logs that; continues after `scale_up`.
- Refuses a model package that is not Approved, and an image whose scan is missing or not clean (a rollback only logs a
  warning about its image).
- The release gets its own copy of the bundle, and only if its digest is the approved one.
- The image is pinned by digest; the manifests are `k8s/rendered/`, completed and applied server-side.
- `verify_canary` and `verify` replay held-out baskets from inside the cluster; each answer must equal the bundle's own.
- `bake` compares canary and stable pods for `bake_seconds`: failed requests, p95, restarts. It is skipped for the first
  release and for a rollback.
- The results of the checks are a table in the log of `record_release` or `roll_back`, and are kept in
  `logs/deployments/<release>.json`.
- `public_endpoint` makes the load balancer as the settings say (`on`) or removes it (`off`), also when there is nothing
  to release; `keep` leaves it as it is, and makes it for the first release. `record_release` logs its address.
- Skipped when the same model runs in the same image already; `force` releases it again.
- `rollback_to`: `previous`, or the id of a release that ran before. Its model must still be Approved.
"""

import datetime as dt

from airflow.sdk import Param, TriggerRule, chain, task

from include.settings import API_NAME, MAX_BAKE_SECONDS, settings
from retail_mlops.common.api_manifests import CANARY
from retail_mlops.common.dag_defaults import APPROVED_MODEL, Tag, retail_dag
from retail_mlops.common.scale_record import WAITING_TASK
from retail_mlops.operators.kubernetes import ApplyOperator, ClusterJobOperator, RolloutOperator
from retail_mlops.release import tasks


@retail_dag(
    schedule=[APPROVED_MODEL],
    tags=[Tag.RELEASE],
    max_active_runs=1,
    params={
        "model_package_arn": Param(
            None,
            type=["null", "string"],
            title="Model package",
            description="its ARN; empty: the newest Approved one",
        ),
        "image": Param(
            None, type=["null", "string"], title="API image", description="repository@sha256:…; empty: the newest image"
        ),
        "force": Param(False, type="boolean", title="Force", description="release again although nothing has changed"),
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
            title="Bake seconds",
            description="how long canary and stable pods are compared; 0: not compared",
        ),
    },
    doc_md=__doc__,
)
def deploy() -> None:
    scaled_up = task.sensor(
        task_id=WAITING_TASK,
        mode="reschedule",
        poke_interval=max(settings().poll_seconds, 10),  # each look is a process of its own
        timeout=dt.timedelta(days=7).total_seconds(),
        retries=0,  # a second week would only be longer
    )(tasks.wait_until_scaled_up)()
    update_endpoint = task(tasks.update_endpoint)()
    choose_release = task(tasks.choose_release)()
    stage_bundle = task(tasks.stage_bundle)()
    apply_canary = ApplyOperator(task_id="apply_canary", manifests=tasks.canary)
    wait_for_canary = RolloutOperator(task_id="wait_for_canary", deployment=CANARY)
    verify_canary = ClusterJobOperator(task_id="verify_canary", manifest=tasks.canary_verification)
    shift_traffic = task(tasks.shift_traffic)()
    bake = ClusterJobOperator(task_id="bake", manifest=tasks.bake)
    after_bake = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS  # a bake may be skipped
    promote = ApplyOperator(task_id="promote", manifests=tasks.stable, trigger_rule=after_bake)
    wait_for_rollout = RolloutOperator(task_id="wait_for_rollout", deployment=API_NAME)
    verify = ClusterJobOperator(task_id="verify", manifest=tasks.verification)
    record_release = task(tasks.record_release)()
    remove_canary = task(tasks.remove_canary)()
    rollout = [apply_canary, wait_for_canary, verify_canary, shift_traffic, bake, promote, wait_for_rollout, verify]
    chain(scaled_up, update_endpoint, choose_release, stage_bundle, *rollout, record_release, remove_canary)
    shift_traffic >> promote
    rollout >> task(tasks.roll_back, trigger_rule=TriggerRule.ONE_FAILED)()


deploy()
