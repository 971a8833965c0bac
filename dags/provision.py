"""# provision

Creates or updates the environment: **check_account** → the stacks, in order, each by a change set →
**bootstrap_cluster** (what a new cluster needs: namespace `mlops` with Pod Security *restricted*, quotas, network
rules, Airflow's permissions) → **smoke_test**, a Job in the cluster. Running it again changes only what has changed.

Runs as the connection `aws_admin` (you), because the role that every other DAG uses is created here.

- `dry_run` shows the change sets of all stacks in the tasks' logs, and what was changed by hand, and ends there.
- Before a bucket, cluster, image repository or the model package group is replaced or removed, a person is asked
  (*Required Actions*); without an answer it stays.
- A stack that CloudFormation refuses or rolls back fails its task, with the resources that failed and why.
- When a task is killed, CloudFormation finishes its operation; the next run waits for that and continues.
- **create_github_login** creates GitHub's OIDC provider if the account has none; **activate_cost_tag** lets the budget
  see the project's tag.
- **copy_controller_image** and **install_controller**, where `RETAIL_ENDPOINT_KIND` is alb: the AWS Load Balancer
  Controller's image is copied into the environment's registry by digest, and its manifests are applied.
- **smoke_test** pulls the API's image by digest, reads the lake through the API's role, and must be denied a key
  outside that role's prefixes, any write, and another bucket. It is skipped while there is no image (`make image`).

If it fails: `docs/runbooks/provision.md`.
"""

from airflow.sdk import Param, chain, setup, task, teardown

from include.settings import settings
from retail_mlops.common.dag_defaults import ADMIN, Tag, retail_dag
from retail_mlops.common.stacks import components
from retail_mlops.operators.cloudformation import DeployStackOperator
from retail_mlops.operators.kubernetes import ApplyOperator, ClusterJobOperator
from retail_mlops.provision import smoke_test, tasks


@retail_dag(
    schedule=None,
    tags=[Tag.PLATFORM],
    max_active_runs=1,
    params={
        "environment": Param(
            settings().environment,
            enum=[settings().environment],
            title="Environment",
            description="RETAIL_ENVIRONMENT in .env; it is part of the name of every resource",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="show the change sets in the logs and change nothing"
        ),
    },
    doc_md=__doc__,
)
def provision() -> None:
    check_account = task(tasks.check_account)()
    create_github_login = task(tasks.create_github_login)()
    stacks = [DeployStackOperator(task_id=name, component=name, aws_conn_id=ADMIN) for name in components()]
    stop_after_dry_run = task.short_circuit(tasks.stop_after_dry_run)()
    activate_cost_tag = task(tasks.activate_cost_tag)()
    bootstrap = ApplyOperator(task_id="bootstrap_cluster", manifests=tasks.cluster_basics, aws_conn_id=ADMIN)
    copy_controller_image = task(tasks.copy_controller_image)()
    install_controller = task(tasks.install_controller)()
    prepare = setup(task(smoke_test.prepare_smoke_test))()
    test = ClusterJobOperator(task_id="smoke_test", manifest=smoke_test.smoke_test, aws_conn_id=ADMIN)
    clean_up = teardown(task(smoke_test.clean_up_smoke_test))()
    chain(check_account, create_github_login, *stacks, stop_after_dry_run, bootstrap, prepare, test, clean_up)
    stop_after_dry_run >> activate_cost_tag
    chain(bootstrap, copy_controller_image, install_controller)
    prepare >> clean_up


provision()
