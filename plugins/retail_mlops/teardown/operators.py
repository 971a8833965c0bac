"""Deletes a stack, and the cluster with its node groups, and waits for the end. Gone already is no error."""

from typing import Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.operators.eks import EksDeleteClusterOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from include.settings import CLUSTER_NAME, settings
from retail_mlops.hooks.aws_errors import explain_expired_credentials
from retail_mlops.hooks.cloudformation import StackHook
from retail_mlops.operators.cloudformation import MAX_WAIT
from retail_mlops.teardown.deletion import TeardownHook
from retail_mlops.triggers.cloudformation import StackTrigger


class DeleteClusterOperator(EksDeleteClusterOperator):
    """Deletes this environment's cluster; the provider's operator fails when it is gone, and checks no owner."""

    def __init__(self, **options: Any) -> None:
        poll = settings().poll_seconds
        super().__init__(
            cluster_name=CLUSTER_NAME,
            force_delete_compute=True,
            deferrable=True,
            waiter_delay=poll,
            waiter_max_attempts=MAX_WAIT // poll,
            region_name=settings().region,
            **options,
        )

    def execute(self, context: Context) -> None:
        with explain_expired_credentials(self.aws_conn_id):
            status = TeardownHook(self.aws_conn_id).cluster_status()
        if not status:
            self.log.info("This environment has no cluster: nothing to delete")
            return
        self.log.info("Cluster %s is %s: deleting its node groups, then the cluster", CLUSTER_NAME, status)
        super().execute(context)


class DeleteStackOperator(AwsBaseOperator[StackHook]):
    """Deletes a stack and names what failed; the provider's operator does not wait and cannot be repeated.

    component: name of infra/<component>.yaml; keep_param: DAG Param that, when true, keeps the stack. Buckets of the
    stack are emptied first, and unused interfaces in its VPC are deleted.
    """

    aws_hook_class = StackHook
    template_fields = aws_template_fields()
    ui_color = "#f6d9d2"

    def __init__(self, *, component: str, keep_param: str | None = None, **options: Any) -> None:
        super().__init__(region_name=settings().region, **options)
        self.component = component
        self.keep_param = keep_param

    def execute(self, context: Context) -> None:
        name = settings().stack(self.component)
        if self.keep_param and context["params"][self.keep_param]:
            self.log.info("%s is kept: %s", name, self.keep_param)
            return
        with explain_expired_credentials(self.aws_conn_id):
            status = self.hook.status(name)
            if status is None:
                self.log.info("%s is gone already: nothing to delete", name)
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
                waiter_max_attempts=MAX_WAIT // poll,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Fail with the resources that failed, unless the stack is gone."""
        name = event["stack_name"]
        with explain_expired_credentials(self.aws_conn_id):
            status = self.hook.status(name)
            if status is None:
                self.log.info("%s is gone", name)
                return
            if status.endswith("_IN_PROGRESS"):
                raise AirflowException(f"stack {name} is still {status}: {event.get('message')}")
            # not a RetailError: the next try empties and frees again, which fixes most failures
            raise AirflowException(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name)))

    def _prepare(self) -> None:
        """Delete what would make CloudFormation fail."""
        teardown = TeardownHook(self.aws_conn_id)
        if count := teardown.empty_buckets(self.component):
            self.log.info("Deleted %s object versions and delete markers", count)
        for blocking in teardown.free_network(self.component):
            self.log.warning("May block the deletion: %s", blocking)
