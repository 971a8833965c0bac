"""# scale_up

Scales the environment up again: **acquire_lock** → **start_nodes** → **restore_workloads** → **verify** → **finish**.
Mondays to Fridays at 07:00 in Ho Chi Minh City (settings `RETAIL_SCALE_UP_*`), or by hand. **Paused until you unpause
it.**

- Restores exactly what `scale_down` recorded: sizes of node groups, replicas, autoscalers, the public endpoint. (On AWS
  a new load balancer has a new DNS name, which `restore_workloads` logs.)
- **verify** replays held-out baskets against the restored release, from inside the cluster: real predictions.
- Only then is the record removed, and a waiting `deploy` continues.
- Skipped, with the reason, when nothing is scaled down. A node group that EventBridge stopped while Airflow was down is
  started.
- **If Airflow was down at 07:00**, the run starts with Airflow, unless the hours on are over: then it is skipped.
- After any failure, run it again: the record still exists.
"""

from airflow.sdk import CronTriggerTimetable, TriggerRule, chain, task

from include import hours
from include.settings import TIMEZONE
from retail_mlops.common.dag_defaults import Tag, retail_dag
from retail_mlops.operators.kubernetes import ClusterJobOperator
from retail_mlops.schedule import tasks


@retail_dag(
    # run_immediately: as in scale_down
    schedule=CronTriggerTimetable(hours.scale_up_schedule().cron, timezone=TIMEZONE, run_immediately=True),
    is_paused_upon_creation=True,
    tags=[Tag.COST],
    max_active_runs=1,
    doc_md=__doc__,
)
def scale_up() -> None:
    acquire_lock = task(tasks.acquire_lock)()
    start_nodes = task(tasks.start_nodes)()
    restore_workloads = task(tasks.restore_workloads)()
    verify = ClusterJobOperator(task_id="verify", manifest=tasks.verification)
    # also when there was no prediction to verify; not when nothing was restored
    finish = task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)(tasks.finish)()
    chain(acquire_lock, start_nodes, restore_workloads, verify, finish)
    restore_workloads >> finish


scale_up()
