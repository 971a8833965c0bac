"""# train

From gold to a model that a person approved or rejected:
**plan** → **fit** → **evaluate** → **gate** → **register** → **approve** (a person) → **set_status** →
`approved_model`.

Mondays 02:00 in Ho Chi Minh City, or by hand.

- Skipped when the newest model was trained on the same gold with the same hyperparameters; `force` trains all the same.
- A failed gate fails the run and names the rule that failed and by how much; nothing is registered.
- Approve or reject in *Browse → Required Actions*; no answer within `approval_timeout` minutes is a rejection. Either
  answer is kept with the model package: who, when, why, on which evidence.
- Only an approval starts `deploy`.
- Killing a task stops its job.
"""

import datetime as dt

from airflow.sdk import CronTriggerTimetable, Param, chain, task

from include.settings import TIMEZONE, settings
from include.train.hyperparameters import Hyperparameters
from retail_mlops.common.dag_defaults import APPROVED_MODEL, Tag, retail_dag
from retail_mlops.operators.approval import DecisionOperator
from retail_mlops.operators.sagemaker import ProcessingJobOperator, TrainingJobOperator
from retail_mlops.training import tasks


@retail_dag(
    # no start date, and at most ten minutes late: a new Airflow does not catch up on the Monday before its installation
    schedule=CronTriggerTimetable("0 2 * * 1", timezone=TIMEZONE, run_immediately=dt.timedelta(minutes=10)),
    tags=[Tag.MODEL],
    max_active_runs=1,
    params={
        "weeks": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^20\d{4}$"},
            title="Shop weeks",
            description="weeks to train on, for example 200607; empty: all weeks that have gold",
        ),
        "hyperparameters": Param(
            {},
            type="object",
            title="Hyperparameters",
            description=f"values to change, of {', '.join(Hyperparameters.model_fields)}",
        ),
        "force": Param(False, type="boolean", title="Force", description="train although gold has not changed"),
        "approval_timeout": Param(
            settings().approval_timeout_minutes,
            type="integer",
            minimum=1,
            maximum=7 * 24 * 60,
            title="Minutes to decide",
            description="without an answer within this time the model is rejected",
        ),
    },
    doc_md=__doc__,
)
def train() -> None:
    plan = task(tasks.plan)()
    fit = TrainingJobOperator(task_id=tasks.FIT_JOB.task_id, config=tasks.fit_request)
    evaluate = ProcessingJobOperator(task_id="evaluate", config=tasks.evaluate_request)
    judged = task(tasks.gate)(evaluate.output)
    package = task(tasks.register)(fit.output, evaluate.output)
    evidence = task(tasks.evidence)(package, evaluate.output)
    approve = DecisionOperator(
        task_id=tasks.ANSWER.task_id,
        subject=f"Approve version {tasks.PACKAGE.template('version')} of the price sensitivity model?",
        body=tasks.EVIDENCE.template(),
        timeout_param="approval_timeout",
        retries=0,  # a question that was answered is not asked again
    )
    decided = task.short_circuit(tasks.set_status)(package, approve.output)
    announced = task(tasks.announce, outlets=[APPROVED_MODEL])(package)
    chain(plan, fit, evaluate, judged, package, evidence, approve, decided, announced)


train()
