"""Deletes a stack and waits for it; deletes the cluster with its node groups. What is gone already is fine."""

from typing import Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.operators.eks import EksDeleteClusterOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from include.settings import CLUSTER_NAME, settings
from retail_mlops.hooks.cloudformation import StackHook, readable
from retail_mlops.operators.cloudformation import LONGEST_WAIT
from retail_mlops.teardown.deletion import TeardownHook
from retail_mlops.triggers.cloudformation import StackTrigger


class DeleteClusterOperator(EksDeleteClusterOperator):
    """The provider's fails when the cluster is gone already, and knows no other environment's cluster of that name."""

    def __init__(self, **options: Any) -> None:
        poll = settings().poll_seconds
        super().__init__(
            cluster_name=CLUSTER_NAME,
            force_delete_compute=True,
            deferrable=True,
            waiter_delay=poll,
            waiter_max_attempts=LONGEST_WAIT // poll,
            region_name=settings().region,
            **options,
        )

    def execute(self, context: Context) -> None:
        with readable(self.aws_conn_id):
            status = TeardownHook(self.aws_conn_id).cluster_status()
        if not status:
            self.log.info("this environment has no cluster: nothing to delete")
            return
        self.log.info("cluster %s is %s: deleting its node groups, then it", CLUSTER_NAME, status)
        super().execute(context)


class DeleteStackOperator(AwsBaseOperator[StackHook]):
    """The provider's does not wait, cannot be repeated while a deletion is under way, and does not say what failed.

    component: name of infra/<component>.yaml; kept_by: DAG Param that, when true, leaves the stack alone. Buckets of
    the stack are emptied first, and its VPC is freed of interfaces that nothing uses.
    """

    aws_hook_class = StackHook
    template_fields = aws_template_fields()
    ui_color = "#f6d9d2"

    def __init__(self, *, component: str, kept_by: str | None = None, **options: Any) -> None:
        super().__init__(region_name=settings().region, **options)
        self.component = component
        self.kept_by = kept_by

    def execute(self, context: Context) -> None:
        name = settings().stack(self.component)
        if self.kept_by and context["params"][self.kept_by]:
            self.log.info("%s stays: %s", name, self.kept_by)
            return
        with readable(self.aws_conn_id):
            status = self.hook.status(name)
            if status is None:
                self.log.info("%s is gone already", name)
                return
            if status != "DELETE_IN_PROGRESS":
                self._prepare()
                self.log.info("%s is %s: deleting it", name, status)
                self.hook.conn.delete_stack(StackName=name)
        poll = settings().poll_seconds
        self.defer(
            trigger=StackTrigger(
                stack_name=name,
                kind="DELETE",
                waiter_delay=poll,
                waiter_max_attempts=LONGEST_WAIT // poll,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        name = event["stack_name"]
        with readable(self.aws_conn_id):
            status = self.hook.status(name)
            if status is None:
                self.log.info("%s is gone", name)
                return
            if status.endswith("_IN_PROGRESS"):
                raise AirflowException(f"stack {name} is still {status}: {event.get('message')}")
            # not final: the next try empties and frees again, which is what most failures wait for
            raise AirflowException(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name)))

    def _prepare(self) -> None:
        """Takes away what CloudFormation would stumble over."""
        teardown = TeardownHook(self.aws_conn_id)
        if went := teardown.empty_buckets(self.component):
            self.log.info("%s object versions and delete markers went", went)
        for blocking in teardown.free_network(self.component):
            self.log.warning("may block the deletion: %s", blocking)
