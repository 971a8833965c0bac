"""# provision

Makes or updates the environment: **check** → the stacks, in order, each by a change set → **bootstrap** (what a fresh
cluster needs: namespace `mlops` with Pod Security *restricted*, quotas, network rules, Airflow's rights) → **smoke**, a
Job in the cluster. Running it again changes nothing that has not changed.

Runs as the connection `aws_admin` (you), because the role that every other DAG uses is made here.

- `dry_run` shows the change sets of all stacks in the tasks' logs, and what was changed by hand, and ends there.
- Before a bucket, cluster, image repository or the model package group is replaced or removed, a person is asked
  (*Required Actions*); without an answer it stays.
- A stack that CloudFormation refuses or rolls back fails its task, with the resources that failed and why.
- A killed task leaves CloudFormation to finish; the next run waits for that and goes on.
- **github_login** makes GitHub's OIDC provider if the account has none; **cost_tag** lets the budget see the tag.
- **controller_image** and **controller**, where `RETAIL_ENDPOINT_KIND` is alb: the AWS Load Balancer Controller's image
  is copied into the environment's own registry by digest, and its manifests are applied.
- The smoke Job pulls the API's image by digest, reads the lake through the API's role, and must be denied a key outside
  that role's prefixes, any writing, and another bucket. It is skipped while there is no image (`make image`).

What to do when it fails: `docs/runbooks/provision.md`.
"""

from airflow.sdk import Param, chain, setup, task, teardown

from include.settings import settings
from retail_mlops.common.dag_defaults import ADMIN, Tag, retail_dag
from retail_mlops.common.stacks import components
from retail_mlops.operators.cloudformation import DeployStackOperator
from retail_mlops.operators.kubernetes import ApplyOperator, ClusterJobOperator
from retail_mlops.provision import tasks


@retail_dag(
    schedule=None,
    tags=[Tag.PLATFORM],
    max_active_runs=1,
    params={
        "environment": Param(
            settings().environment,
            enum=[settings().environment],
            title="Environment",
            description="the one of RETAIL_ENVIRONMENT in .env: its name is part of all that is made",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="show the change sets in the logs, change nothing"
        ),
    },
    doc_md=__doc__,
)
def provision() -> None:
    check = task(tasks.check)()
    github_login = task(task_id="github_login")(tasks.share_github_login)()
    stacks = [DeployStackOperator(task_id=name, component=name, aws_conn_id=ADMIN) for name in components()]
    goes_on = task.short_circuit(tasks.goes_on)()
    cost_tag = task(task_id="cost_tag")(tasks.activate_cost_tag)()
    bootstrap = ApplyOperator(task_id="bootstrap", manifests=tasks.bootstrap, aws_conn_id=ADMIN)
    controller_image = task(task_id="controller_image")(tasks.copy_controller)()
    controller = task(task_id="controller")(tasks.install_controller)()
    prepare_smoke = setup(task(tasks.prepare_smoke))()
    smoke = ClusterJobOperator(task_id="smoke", manifest=tasks.smoke, aws_conn_id=ADMIN)
    clean_up_smoke = teardown(task(tasks.clean_up_smoke))()
    chain(check, github_login, *stacks, goes_on, bootstrap, prepare_smoke, smoke, clean_up_smoke)
    goes_on >> cost_tag
    chain(bootstrap, controller_image, controller)
    prepare_smoke >> clean_up_smoke


provision()
