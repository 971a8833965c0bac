"""# scale_down

Scales the environment down for the night: **record_state** → **close_endpoint** → **drain_nodes** → **stop_nodes** →
**verify_stopped** → **publish_savings**. Every day at 22:00 in Ho Chi Minh City (settings `RETAIL_SCALE_DOWN_*`), or by
hand. **Paused until you unpause it.**

- Before anything is changed, the state is recorded at `logs/environment/scaled-down.json`: replicas, autoscalers, sizes
  of node groups, the public endpoint. `scale_up` restores exactly that. An existing record is never replaced.
- Waits while a release is under way; `deploy` waits while the environment is scaled down.
- Nodes are drained within the PodDisruptionBudgets. A budget that allows no eviction fails the run, and the nodes stay.
- **verify_stopped** fails with a table when a node, an EC2 instance or a load balancer of this environment is left.
- Running SageMaker jobs are listed, not stopped.
- Hours off and money saved: `logs/cost/<day>.json` and CloudWatch; planned figures now, actual ones after `scale_up`.
- **If Airflow was down at 22:00**, the run starts with Airflow, unless the hours off are over: then it is skipped, with
  the reason in its log (EventBridge stopped the nodes at 22:30).
- After any failure, run it again: it continues from the record.
"""

from airflow.sdk import CronTriggerTimetable, chain, task

from include import hours
from include.settings import TIMEZONE
from retail_mlops.common.dag_defaults import Tag, retail_dag
from retail_mlops.schedule import tasks


@retail_dag(
    # run_immediately: also a first night that Airflow missed; `record_state` skips a run that is too late
    schedule=CronTriggerTimetable(hours.scale_down_schedule().cron, timezone=TIMEZONE, run_immediately=True),
    is_paused_upon_creation=True,
    tags=[Tag.COST],
    max_active_runs=1,
    doc_md=__doc__,
)
def scale_down() -> None:
    chain(
        task(tasks.record_state)(),
        task(tasks.close_endpoint)(),
        task(tasks.drain_nodes)(),
        task(tasks.stop_nodes)(),
        task(tasks.verify_stopped)(),
        task(tasks.publish_savings)(),
    )


scale_down()
