"""# teardown

Deletes the environment, in order, and then proves that nothing is left:
**plan** → **ask** (a person, once more) → **jobs** → **endpoint** → **workloads** → **cluster** → **images** →
**packages** → **logs** → the stacks in reverse → **retained** → **inventory**.

- `confirm` must be the environment's name; otherwise the run is refused and nothing is touched.
- `keep_data` keeps the lake with all its object versions; everything else goes.
- `confirm_twice` shows what will go and what it costs a month, and asks again; no answer is a no.
- Refused while a run of another DAG is under way.
- Every step may be repeated: after a failure, run it again and it finishes the job.
- **inventory** looks by tag and in every service; anything left fails the run with a table of ARN, why and cost.

Runs as the connection `aws_admin` (you). What to do when something is left: docs/runbooks/teardown.md.
"""

from airflow.sdk import Param, chain, task

from retail_mlops.common.dag_defaults import ADMIN, Tag, retail_dag
from retail_mlops.common.stacks import AUDIT, ORDER
from retail_mlops.operators.approval import DecisionOperator
from retail_mlops.teardown import tasks
from retail_mlops.teardown.operators import DeleteClusterOperator, DeleteStackOperator


@retail_dag(
    schedule=None,
    tags=[Tag.PLATFORM, Tag.COST],
    max_active_runs=1,
    params={
        "confirm": Param("", type="string", title="Confirm", description="type the environment's name"),
        "keep_data": Param(False, type="boolean", title="Keep data", description="keep the lake's bucket and stack"),
        "confirm_twice": Param(
            True, type="boolean", title="Ask once more", description="after showing what will go and what it costs"
        ),
        "approval_timeout": Param(
            60, type="integer", minimum=1, maximum=24 * 60, title="Minutes to answer", description="after that: no"
        ),
    },
    doc_md=__doc__,
)
def teardown() -> None:
    planned = task(tasks.plan)()
    ways = task.branch(tasks.whether_to_ask)()
    ask = DecisionOperator(
        task_id="ask",
        subject="Delete the environment for good?",
        body="{{ ti.xcom_pull(task_ids='plan') }}",
        timeout_param="approval_timeout",
        kept="kept in the task's log",
        retries=0,  # a question that was answered is not asked again
    )
    begin = task(tasks.begin, trigger_rule="none_failed_min_one_success")()
    steps = [
        task(tasks.stop_jobs, task_id="jobs")(),
        task(tasks.remove_endpoint, task_id="endpoint")(),
        task(tasks.remove_workloads, task_id="workloads")(),
        DeleteClusterOperator(task_id="cluster", aws_conn_id=ADMIN),
        task(tasks.delete_images, task_id="images")(),
        task(tasks.delete_packages, task_id="packages")(),
        task(tasks.delete_logs, task_id="logs")(),
        *(
            DeleteStackOperator(
                task_id=f"stack_{name}",
                component=name,
                kept_by="keep_data" if name == "lake" else None,
                aws_conn_id=ADMIN,
            )
            for name in reversed((*ORDER, AUDIT))  # audit also when it is no longer asked for
        ),
        task(tasks.delete_retained, task_id="retained")(),
    ]
    inventory = task(tasks.take_inventory, task_id="inventory", trigger_rule="all_done_min_one_success")()
    chain(planned, ways, ask, begin, *steps, inventory)
    ways >> begin
    [begin, *steps] >> inventory  # it looks even when a step failed, but not when the run was refused


teardown()
