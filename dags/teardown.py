"""# teardown

Deletes the environment, in order, and then verifies that nothing is left:
**plan_deletion** → **confirm_deletion** (a person, once more) → **stop_jobs** → **remove_endpoint** →
**remove_workloads** → **delete_cluster** → **delete_images** → **delete_model_packages** → **delete_logs** → the stacks
in reverse order → **delete_retained** → **verify_deleted**.

- `confirm` must be the environment's name; otherwise the run is refused and nothing is touched.
- `keep_data` keeps the lake with all its object versions; everything else is deleted.
- `confirm_twice` shows what will be deleted and what it costs a month, and asks again; no answer is a no.
- Refused while a run of another DAG is under way.
- Every step can be repeated: after a failure, run the DAG again.
- **verify_deleted** searches by tag and in every service; anything left fails the run with a table of ARN,
  why and cost.

Runs as the connection `aws_admin` (you). If something is left: docs/runbooks/teardown.md.
"""

from airflow.sdk import Param, TriggerRule, chain, task

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
            True,
            type="boolean",
            title="Ask once more",
            description="after a table of what goes and what it costs",
        ),
        "approval_timeout": Param(
            60,
            type="integer",
            minimum=1,
            maximum=24 * 60,
            title="Minutes to answer",
            description="no answer: no",
        ),
    },
    doc_md=__doc__,
)
def teardown() -> None:
    plan_deletion = task(tasks.plan_deletion)()
    choose_path = task.branch(tasks.choose_path)()
    confirm_deletion = DecisionOperator(
        task_id=tasks.ANSWER.task_id,
        subject="Delete the environment for good?",
        body=tasks.PLAN.template(),
        timeout_param="approval_timeout",
        reason_help="kept in the task's log",
        retries=0,  # a question that was answered is not asked again
    )
    after_answer = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS  # the question may be skipped
    check_confirmation = task(task_id=tasks.CHECK_CONFIRMATION, trigger_rule=after_answer)(tasks.check_confirmation)()
    steps = [
        task(tasks.stop_jobs)(),
        task(tasks.remove_endpoint)(),
        task(tasks.remove_workloads)(),
        DeleteClusterOperator(task_id="delete_cluster", aws_conn_id=ADMIN),
        task(tasks.delete_images)(),
        task(tasks.delete_model_packages)(),
        task(tasks.delete_logs)(),
        *(
            DeleteStackOperator(
                task_id=f"delete_stack_{name}",
                component=name,
                keep_param="keep_data" if name == "lake" else None,
                aws_conn_id=ADMIN,
            )
            for name in reversed((*ORDER, AUDIT))  # audit also when it is no longer asked for
        ),
        task(tasks.delete_retained)(),
    ]
    # also when a step failed, but not when the run was refused
    verify_deleted = task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)(tasks.verify_deleted)()
    chain(plan_deletion, choose_path, confirm_deletion, check_confirmation, *steps, verify_deleted)
    choose_path >> check_confirmation
    [check_confirmation, *steps] >> verify_deleted


teardown()
