"""# scale_up

Switches the environment on again: **claim** → **start_nodes** → **restore** → **verify** → **finish**. Mondays to
Fridays at 07:00 in Ho Chi Minh City (settings `RETAIL_SCALE_UP_*`), or by hand. **Paused until you unpause it.**

- Restores exactly what `scale_down` recorded: sizes of node groups, replicas, autoscalers, the public endpoint. (On AWS
  a new load balancer has a new DNS name, which `restore` prints.)
- **verify** replays held-out baskets against the release that ran, from inside the cluster: a real prediction.
- Only then is the record removed, and `deploy` goes on if it waited.
- Skipped, with the reason, when nothing is down. A node group that EventBridge stopped while Airflow slept is started.
- **Airflow was down at 07:00:** the next start makes up for it, if the hours are still on; else the run is skipped.
- Run again after any failure: the record is still there.
"""

from airflow.sdk import CronTriggerTimetable, TriggerRule, chain, task

from include import hours
from include.settings import TIMEZONE
from retail_mlops.common.dag_defaults import Tag, retail_dag
from retail_mlops.operators.kubernetes import ClusterJobOperator
from retail_mlops.schedule import tasks


@retail_dag(
    schedule=CronTriggerTimetable(hours.up().cron, timezone=TIMEZONE, run_immediately=True),  # as scale_down's
    is_paused_upon_creation=True,
    tags=[Tag.COST],
    max_active_runs=1,
    doc_md=__doc__,
)
def scale_up() -> None:
    claim = task(tasks.claim)()
    start_nodes = task(tasks.start_nodes)()
    restore = task(tasks.restore)()
    verify = ClusterJobOperator(task_id="verify", manifest=tasks.prediction)
    # also when there was nothing to ask; not when nothing was restored
    finish = task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)(tasks.finish)()
    chain(claim, start_nodes, restore, verify, finish)
    restore >> finish


scale_up()
