"""# deploy

Puts an approved model into the cluster: **resolve** → **stage** → **apply** → **rollout** → **verify** → **record**;
when one of them fails after the cluster was changed, **roll_back** puts the release before back, and the run fails.

Starts by itself when `train` announces an `approved_model`, or by hand.

- Refuses any model package that is not Approved, and an image whose scan is missing or not clean.
- The release gets its own copy of the bundle, and only if its digest is the approved one.
- The image runs by digest; the manifests are `k8s/rendered/`, patched and applied server-side.
- `verify` replays held-out baskets against the new pods, from inside the cluster.
- Nothing to do when the same model runs in the same image already; `force` releases it again.
- `rollback_to`: `previous`, or the id of a release that ran before. Its model must still be Approved.
"""

from airflow.sdk import Param, chain, task

from include.settings import API_NAME
from retail_mlops.dag_defaults import APPROVED_MODEL, Tag, retail_dag
from retail_mlops.operators.kubernetes import ApplyOperator, ClusterJobOperator, RolloutOperator
from retail_mlops.tasks import deploy as tasks


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
    resolve = task(tasks.resolve)()
    stage = task(tasks.stage)()
    apply = ApplyOperator(task_id="apply", manifests=tasks.manifests)
    rollout = RolloutOperator(task_id="rollout", deployment=API_NAME)
    verify = ClusterJobOperator(task_id="verify", manifest=tasks.verification)
    record = task(tasks.record)()
    chain(resolve, stage, apply, rollout, verify, record)
    [apply, rollout, verify] >> task(tasks.roll_back, trigger_rule="one_failed")()


deploy()
