"""Waits until CloudFormation has finished with a stack."""

from typing import Any

from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger

from retail_mlops.hooks.cloudformation import StackHook


class StackTrigger(AwsBaseWaiterTrigger):
    """Fires when an operation on the stack has ended; the operator reads the outcome.

    kind: CREATE, UPDATE, DELETE or IMPORT. When the task is killed, CloudFormation finishes: the stack is complete,
    rolled back or gone then, and the next run waits for it.
    """

    aws_hook_class = StackHook

    def __init__(self, stack_name: str, kind: str, **options: Any) -> None:
        super().__init__(
            serialized_fields={"stack_name": stack_name, "kind": kind},
            waiter_name=f"stack_{kind.lower()}_complete",
            waiter_args={"StackName": stack_name},
            failure_message=f"stack {stack_name} failed",
            status_message=f"stack {stack_name}",
            status_queries=["Stacks[0].StackStatus"],
            return_key="stack_name",
            return_value=stack_name,
            **options,
        )
