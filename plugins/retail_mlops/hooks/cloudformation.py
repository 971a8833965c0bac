"""Stacks by change set: what the provider's hook, which only creates and deletes, lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.cloud_formation import CloudFormationHook
from botocore.exceptions import ClientError, WaiterError

from retail_mlops.errors import RetailError

NEVER_CREATED: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
"""A stack in these states cannot be updated: it is removed and created again."""
GOOD: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
NOTHING_TO_DO: Final = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class Stack:
    name: str
    template: str
    parameters: dict[str, str]
    tags: dict[str, str]

    def request(self, change_set: str, kind: str) -> dict[str, Any]:
        """CreateChangeSet; kind: CREATE or UPDATE."""
        return {
            "StackName": self.name,
            "ChangeSetName": change_set,
            "ChangeSetType": kind,
            "TemplateBody": self.template,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }


class StackHook(CloudFormationHook):
    def status(self, name: str) -> str | None:
        """The stack's status; None if there is no such stack (or it was deleted)."""
        status = self.get_stack_status(name)
        return None if status == "DELETE_COMPLETE" else status

    def open_change_set(self, stack: Stack, change_set: str, poll: int) -> str | None:
        """Prepares what has to change. Returns CREATE or UPDATE, or None when nothing has to.

        RetailError when CloudFormation refuses the template or the parameters, with its reason.
        """
        status = self.status(stack.name)
        if status in NEVER_CREATED:
            self.log.info("%s is %s and cannot be updated: removing it first", stack.name, status)
            self.conn.delete_stack(StackName=stack.name)
            self.conn.get_waiter("stack_delete_complete").wait(StackName=stack.name, WaiterConfig={"Delay": poll})
            status = None
        if status and status != "REVIEW_IN_PROGRESS" and status not in GOOD:
            raise RetailError(f"stack {stack.name} is {status}: wait until that ends, or mend it in CloudFormation")
        kind = "UPDATE" if status in GOOD else "CREATE"
        try:
            self._forget(stack.name, change_set)
            self.conn.create_change_set(**stack.request(change_set, kind))
            self.conn.get_waiter("change_set_create_complete").wait(
                StackName=stack.name, ChangeSetName=change_set, WaiterConfig={"Delay": poll}
            )
        except WaiterError as error:
            reason = error.last_response.get("StatusReason", str(error))
            self._forget(stack.name, change_set)
            if any(text in reason for text in NOTHING_TO_DO):
                return None
            raise RetailError(f"CloudFormation refuses {stack.name}: {reason}") from error
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            if any(text in str(error) for text in NOTHING_TO_DO):
                return None
            raise RetailError(f"CloudFormation refuses {stack.name}: {error.response['Error']['Message']}") from error
        return kind

    def execute_change_set(self, name: str, change_set: str) -> None:
        self.conn.execute_change_set(StackName=name, ChangeSetName=change_set)

    def failures(self, name: str, since: str) -> list[str]:
        """What failed first since an ISO time, oldest first: `logical id (type): reason`."""
        pages = self.conn.get_paginator("describe_stack_events").paginate(StackName=name)
        events = [event for page in pages for event in page["StackEvents"]]
        failed = [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
            for event in sorted(events, key=lambda event: event["Timestamp"])
            if event["ResourceStatus"].endswith("FAILED") and event["Timestamp"].isoformat() >= since
        ]
        return failed or [f"no event says why: see the events of {name} in CloudFormation"]

    def outputs(self, name: str) -> dict[str, str]:
        stack = self.conn.describe_stacks(StackName=name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def _forget(self, name: str, change_set: str) -> None:
        """Removes a change set of an earlier try; there need not be one."""
        try:
            self.conn.delete_change_set(StackName=name, ChangeSetName=change_set)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ChangeSetNotFound", "ValidationError"):
                raise
