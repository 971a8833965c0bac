"""Deploys a stack of infra/: creates or updates it by change set, or finds that nothing has to change."""

import datetime as dt
from typing import Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from include.settings import settings
from retail_mlops.errors import RetailError
from retail_mlops.hooks.cloudformation import Stack, StackHook
from retail_mlops.names import run_digest
from retail_mlops.stacks import principal, stack
from retail_mlops.triggers.cloudformation import StackTrigger

LONGEST_WAIT = 3600
"""Seconds; a cluster with its node group takes about fifteen minutes."""


class DeployStackOperator(AwsBaseOperator[StackHook]):
    """The provider creates and deletes stacks, without waiting, and cannot update one.

    component: name of infra/<component>.yaml. Returns the stack's outputs. A failure lists the resources that failed.
    """

    aws_hook_class = StackHook
    template_fields = aws_template_fields()
    ui_color = "#f6e7d2"

    def __init__(self, *, component: str, **options: Any) -> None:
        super().__init__(region_name=settings().region, **options)
        self.component = component

    def execute(self, context: Context) -> dict[str, str]:
        wanted, poll = self._stack(), settings().poll_seconds
        change_set = f"run-{run_digest(context['ti'].dag_id, context['ti'].run_id)}-{context['ti'].try_number}"
        status = self.hook.status(wanted.name) or ""
        if status.startswith(("CREATE_", "UPDATE_")) and status.endswith("_IN_PROGRESS"):
            self.log.info("%s is %s: waiting for that first", wanted.name, status)
            self._defer(status.partition("_")[0], wanted.name, "execute_again")
        kind = self.hook.open_change_set(wanted, change_set, poll)
        if kind is None:
            self.log.info("%s is up to date", wanted.name)
            return self.hook.outputs(wanted.name)
        self.log.info("%s: %s", wanted.name, kind.lower())
        self.hook.execute_change_set(wanted.name, change_set)
        self._defer(kind, wanted.name, "execute_complete")

    def execute_again(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, str]:
        """What another run had begun is over: now this run's own."""
        return self.execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any], since: str) -> dict[str, str]:
        name = event["stack_name"]
        if event["status"] == "success":
            return self.hook.outputs(name)
        status = self.hook.status(name)
        if status and status.endswith("_IN_PROGRESS"):
            raise AirflowException(f"stack {name} is still {status}: {event.get('message')}")
        raise RetailError(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name, since)))

    def _stack(self) -> Stack:
        return stack(self.component, admin=principal(self.aws_conn_id))

    def _defer(self, kind: str, name: str, method: str) -> None:
        poll = settings().poll_seconds
        self.defer(
            trigger=StackTrigger(
                stack_name=name,
                kind=kind,
                waiter_delay=poll,
                waiter_max_attempts=LONGEST_WAIT // poll,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
            ),
            method_name=method,
            kwargs={"since": dt.datetime.now(dt.UTC).isoformat()} if method == "execute_complete" else None,
        )
