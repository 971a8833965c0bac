"""# provision

Makes or updates the environment: the stacks **network, lake, registry, identity, cluster** in that order, each by a
change set, and then what a fresh cluster needs: namespace `mlops` with Pod Security *restricted*, quotas, network
rules, Airflow's rights. Running it again changes nothing that has not changed.

Runs as the connection `aws_admin` (you), because the role that every other DAG uses is made here.

- A stack that CloudFormation refuses or rolls back fails its task, with the resources that failed and why.
- A killed task leaves CloudFormation to finish; the next run waits for that and goes on.
- Images come by `make image` afterwards.
"""

from airflow.sdk import Param, chain

from include.settings import settings
from retail_mlops.dag_defaults import ADMIN, Tag, retail_dag
from retail_mlops.operators.cloudformation import DeployStackOperator
from retail_mlops.operators.kubernetes import ApplyOperator
from retail_mlops.stacks import ORDER
from retail_mlops.tasks import provision as tasks


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
        )
    },
    doc_md=__doc__,
)
def provision() -> None:
    stacks = [DeployStackOperator(task_id=name, component=name, aws_conn_id=ADMIN) for name in ORDER]
    bootstrap = ApplyOperator(task_id="bootstrap", manifests=tasks.bootstrap, aws_conn_id=ADMIN)
    chain(*stacks, bootstrap)


provision()
