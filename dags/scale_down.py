"""# scale_down

Switches the environment off for the night: **record** → **close_endpoint** → **drain** → **stop_nodes** → **prove** →
**publish**. Every day at 22:00 in Ho Chi Minh City (settings `RETAIL_SCALE_DOWN_*`), or by hand. **Paused until you
unpause it.**

- Before anything is changed, what there is goes to `logs/environment/scaled-down.json`: replicas, autoscalers, sizes of
  node groups, the public endpoint. `scale_up` restores exactly that. A record that is there is never replaced.
- Waits while a release is under way; `deploy` waits while the environment is down.
- Nodes are drained within the PodDisruptionBudgets; a budget that lets nothing go fails the run, nodes stay.
- **prove** fails with a table when a node, an EC2 instance or a load balancer of ours is left.
- SageMaker jobs that run are listed, not stopped.
- Hours off and money saved: `logs/cost/<day>.json` and CloudWatch, planned now, actual after `scale_up`.
- **Airflow was down at 22:00:** the next start makes up for it, if the hours are still off; else the run is skipped and
  says so (EventBridge stopped the nodes at 22:30).
- Run again after any failure: it takes up the record and finishes the job.
"""

from airflow.sdk import CronTriggerTimetable, chain, task

from include import hours
from include.settings import TIMEZONE
from retail_mlops.common.dag_defaults import Tag, retail_dag
from retail_mlops.schedule import tasks


@retail_dag(
    # run_immediately: a first night that Airflow missed is made up for as well; `record` knows when it is too late
    schedule=CronTriggerTimetable(hours.down().cron, timezone=TIMEZONE, run_immediately=True),
    is_paused_upon_creation=True,
    tags=[Tag.COST],
    max_active_runs=1,
    doc_md=__doc__,
)
def scale_down() -> None:
    record = task(tasks.record)()
    close_endpoint = task(tasks.close_endpoint)()
    drain = task(tasks.drain)()
    stop_nodes = task(tasks.stop_nodes)()
    prove = task(tasks.prove)()
    publish = task(task_id="publish")(tasks.publish_planned)()
    chain(record, close_endpoint, drain, stop_nodes, prove, publish)


scale_down()
