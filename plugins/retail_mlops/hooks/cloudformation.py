"""Stacks by change set: what the provider's hook, which only creates and deletes, lacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.cloud_formation import CloudFormationHook
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import wait_until
from retail_mlops.hooks.aws_errors import RETRY_CONFIG, error_code
from retail_mlops.hooks.change_sets import Change, additions, imports, table

NEVER_CREATED: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")
"""A stack in these states cannot be updated: it is deleted and created again."""
HALF_DELETED: Final = "DELETE_FAILED"
"""A deletion that stopped half-way; a person decides whether the stack shall exist again."""
GOOD: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
REVIEWED: Final = "REVIEW_IN_PROGRESS"
"""A stack that consists only of a change set to create it."""
NO_CHANGES: Final = ("didn't contain changes", "No updates are to be performed")
EARLY_VALIDATION: Final = "EarlyValidation"
"""AWS checks names and properties before it makes the change set; what is wrong is in DescribeEvents only."""
FIRST_STATUSES: Final = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "IMPORT_IN_PROGRESS")
"""Status of the stack's own event with which an operation begins."""
CAN_DRIFT: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
"""Statuses in which CloudFormation can compare a stack with its real resources."""
DELETED: Final = "was deleted"
DRIFT_TIMEOUT: Final = 300
"""Seconds; a stack of some dozen resources takes about one minute."""


@dataclass(frozen=True)
class Stack:
    name: str
    template: str
    parameters: dict[str, str]
    tags: dict[str, str]

    def request(self, change_set: str, kind: str) -> dict[str, Any]:
        """Return the request of CreateChangeSet; kind: CREATE or UPDATE."""
        return {
            "StackName": self.name,
            "ChangeSetName": change_set,
            "ChangeSetType": kind,
            "TemplateBody": self.template,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }


@dataclass(frozen=True)
class ChangeSet:
    """A change set that could be executed; kind: CREATE or UPDATE."""

    kind: str
    changes: list[Change]


class StackHook(CloudFormationHook):
    def __init__(self, *args: Any, config: Config | None = None, **options: Any) -> None:
        super().__init__(*args, config=config or RETRY_CONFIG, **options)

    def status(self, name: str) -> str | None:
        """Return the stack's status; None if there is no such stack (or it was deleted)."""
        status: Any = self.get_stack_status(name)  # the provider says that it returns a dict
        return None if status in (None, "DELETE_COMPLETE") else str(status)

    # --- change sets ---
    def open_change_set(self, stack: Stack, change_set: str, poll: float) -> ChangeSet | None:
        """Prepare the changes and return them; None when nothing changes. poll: seconds between two requests.

        A stack that an earlier attempt left behind is repaired first. RetailError when CloudFormation refuses the
        template or the parameters, with its reason.
        """
        status = self._repair(stack.name, poll)
        kind = "UPDATE" if status in GOOD else "CREATE"
        try:
            self.delete_change_set(stack.name, change_set)
            change_set_id = self.conn.create_change_set(**stack.request(change_set, kind))["Id"]
            self.conn.get_waiter("change_set_create_complete").wait(
                StackName=stack.name, ChangeSetName=change_set, WaiterConfig={"Delay": poll}
            )
        except WaiterError as error:
            reason = error.last_response.get("StatusReason", str(error))
            if EARLY_VALIDATION in reason:
                reason = "; ".join(self._refusals(ChangeSetName=change_set_id)) or reason
            self.delete_change_set(stack.name, change_set, with_stack=status is None)
            if any(text in reason for text in NO_CHANGES):
                return None
            raise RetailError(f"CloudFormation refuses {stack.name}: {reason}") from error
        except ClientError as error:
            if error_code(error) != "ValidationError":
                raise
            if any(text in str(error) for text in NO_CHANGES):
                return None
            raise RetailError(f"CloudFormation refuses {stack.name}: {error.response['Error']['Message']}") from error
        pages = self.conn.get_paginator("describe_change_set").paginate(StackName=stack.name, ChangeSetName=change_set)
        return ChangeSet(
            kind, [Change.from_description(change) for page in pages for change in page.get("Changes", [])]
        )

    def _refusals(self, **target: str) -> list[str]:
        """Return what failed AWS's check before deployment (a name that exists already, for instance).

        target: StackName, for its latest operation; or ChangeSetName, which must be an ARN.
        """
        pages = self.conn.get_paginator("describe_events").paginate(**target, Filters={"FailedEvents": True})
        events = [event for page in pages for event in page["OperationEvents"]]
        return [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event['ValidationStatusReason']}"
            for event in events
            if event.get("ValidationStatusReason") and event.get("OperationId") == events[0].get("OperationId")
        ]

    def execute_change_set(self, name: str, change_set: str) -> None:
        self.conn.execute_change_set(StackName=name, ChangeSetName=change_set)

    def delete_change_set(self, name: str, change_set: str, *, with_stack: bool = False) -> None:
        """Delete a change set, if there is one; with_stack: also the empty stack that it may have made."""
        try:
            self.conn.delete_change_set(StackName=name, ChangeSetName=change_set)
        except ClientError as error:
            if error_code(error) not in ("ChangeSetNotFound", "ValidationError"):
                raise
        if with_stack and self.status(name) == REVIEWED:
            self.conn.delete_stack(StackName=name)

    def plan(self, stack: Stack, change_set: str, poll: float) -> str:
        """Return what a run would change in a stack, as text and table; leave no change set and no stack behind."""
        status = self.status(stack.name)
        self._refuse_half_deleted(stack.name, status)
        if status and status != REVIEWED and status not in GOOD:
            will = "deleted and created again" if status in NEVER_CREATED else "waited for or rolled back, then updated"
            return f"{stack.name} is {status}: it will be {will}. Its template:\n{table(additions(stack.template))}"
        if missing := sorted(imports(stack.template, stack.parameters) - self.exports()):
            return (
                f"{stack.name} {'will be updated' if status in GOOD else 'will be created'}. Details are known when "
                f"the stacks before it exist: it imports {', '.join(missing)}, which no stack exports yet. "
                f"Its template:\n{table(additions(stack.template))}"
            )
        try:
            prepared = self.open_change_set(stack, change_set, poll)
        finally:
            self.delete_change_set(stack.name, change_set, with_stack=status is None)
        if prepared is None:
            return f"{stack.name} is up to date"
        return (
            f"{stack.name} {'would be created' if prepared.kind == 'CREATE' else 'would change'}:\n"
            f"{table(prepared.changes)}"
        )

    def exports(self) -> set[str]:
        """Return the names of all exports of the account and region."""
        pages = self.conn.get_paginator("list_exports").paginate()
        return {export["Name"] for page in pages for export in page["Exports"]}

    # --- what an earlier attempt left behind ---
    def _repair(self, name: str, poll: float) -> str | None:
        """Bring a stack to a status from which it can be updated; return that. RetailError when only a person can."""
        status = self.status(name)
        if status in NEVER_CREATED:
            self.log.warning("%s is %s and cannot be updated: deleting it first", name, status)
            status = self._run(name, poll, lambda: self.conn.delete_stack(StackName=name))
        elif status == "UPDATE_FAILED":
            self.log.warning("%s is %s: rolling it back first", name, status)
            status = self._run(name, poll, lambda: self.conn.rollback_stack(StackName=name))
        elif status == "UPDATE_ROLLBACK_FAILED":
            self.log.warning("%s is %s: rolling back again", name, status)
            status = self._run(name, poll, lambda: self.conn.continue_update_rollback(StackName=name))
        self._refuse_half_deleted(name, status)
        if status is None or status == REVIEWED or status in GOOD:
            return status
        raise RetailError(
            f"stack {name} is {status} and cannot be updated:\n" + "\n".join(self.failures(name)) + "\nRemove the "
            "cause (for UPDATE_ROLLBACK_FAILED, CloudFormation's `Continue update rollback` can skip a resource), "
            "then run provision again"
        )

    def _refuse_half_deleted(self, name: str, status: str | None) -> None:
        if status == HALF_DELETED:
            raise RetailError(
                f"stack {name} is {status}: its deletion stopped half-way, these are left:\n"
                + "\n".join(self.failures(name))
                + "\nFinish the deletion: run teardown again or, to create only this stack again, delete it in "
                "CloudFormation. Then run provision again"
            )

    def _run(self, name: str, poll: float, start: Callable[[], Any]) -> str | None:
        """Start an operation and wait for its end, which CloudFormation's own timeouts guarantee; return the status."""
        start()
        time.sleep(poll)  # the status changes a moment after the request
        return wait_until(
            lambda: self.status(name),
            lambda status: f"{name} is {status}" if status and status.endswith("_IN_PROGRESS") else "",
            timeout=math.inf,
            poll=poll,
            timeout_error=lambda status: RetailError(f"stack {name} is still {status}"),
            log=self.log,
        )

    # --- diagnosis ---
    def failures(self, name: str) -> list[str]:
        """Return what failed in the stack's latest operation, oldest first: `logical id (type): reason`."""
        failed: list[str] = []
        for event in self._latest_operation(name):
            if event.get("DetailedStatus") == "VALIDATION_FAILED":
                failed += self._refusals(StackName=name)[::-1]
            elif event["ResourceStatus"].endswith("FAILED"):
                reason = event.get("ResourceStatusReason") or "no reason"
                failed.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
        return failed[::-1] or [f"no event names a reason: see the events of {name} in CloudFormation"]

    def _latest_operation(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield its events, newest first. Ends at its first event, not by time: AWS's clock may differ from ours."""
        for page in self.conn.get_paginator("describe_stack_events").paginate(StackName=name):
            for event in page["StackEvents"]:
                if event["LogicalResourceId"] == name and event["ResourceStatus"] in FIRST_STATUSES:
                    return
                yield event

    def drift(self, name: str, poll: float) -> list[str]:
        """Return what was changed by hand since CloudFormation made it: `logical id (type) was modified: properties`.

        A type without drift detection is never named. Empty for a stack in a state that cannot be compared.
        """
        if self.status(name) not in CAN_DRIFT:
            return []
        check = self.conn.detect_stack_drift(StackName=name)["StackDriftDetectionId"]
        try:
            result = self._wait_for_drift(name, check, poll)
        except TimeoutError as error:
            return [str(error)]
        drifted = [_drifted(item) for item in self._drifts(name)]
        if result["DetectionStatus"] == "DETECTION_FAILED":
            drifted.append(f"not known of all: {result.get('DetectionStatusReason', 'no reason')}")
        return drifted

    def _wait_for_drift(self, name: str, check: str, poll: float) -> dict[str, Any]:
        """Return the end of a drift detection; TimeoutError when it does not end."""
        return wait_until(
            lambda: self.conn.describe_stack_drift_detection_status(StackDriftDetectionId=check),
            lambda status: f"drift of {name}" if status["DetectionStatus"] == "DETECTION_IN_PROGRESS" else "",
            timeout=DRIFT_TIMEOUT,
            poll=poll,
            timeout_error=lambda _: TimeoutError(f"not known: CloudFormation compares for more than {DRIFT_TIMEOUT} s"),
            log=self.log,
        )

    def _drifts(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the resources that differ in the newest comparison; botocore has no paginator for them."""
        request = {"StackName": name, "StackResourceDriftStatusFilters": ["MODIFIED", "DELETED"]}
        while True:
            page = self.conn.describe_stack_resource_drifts(**request)
            yield from page["StackResourceDrifts"]
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]


def _drifted(item: dict[str, Any]) -> str:
    what = f"{item['LogicalResourceId']} ({item['ResourceType']})"
    if item["StackResourceDriftStatus"] == "DELETED":
        return f"{what} {DELETED}"
    paths = sorted(difference["PropertyPath"] for difference in item.get("PropertyDifferences", []))
    return f"{what} was modified: {', '.join(paths)}"
