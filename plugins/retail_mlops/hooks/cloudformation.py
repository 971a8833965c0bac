"""Stacks by change set: what the provider's hook, which only creates and deletes, lacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.cloud_formation import CloudFormationHook
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
    WaiterError,
)

from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.change_sets import Change, additions, imports, table

NEVER_CREATED: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")
"""A stack in these states cannot be updated: it is removed and created again."""
HALF_DELETED: Final = "DELETE_FAILED"
"""Somebody wanted such a stack gone; whether it shall be there again is a person's to say."""
GOOD: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
REVIEWED: Final = "REVIEW_IN_PROGRESS"
"""A stack that is nothing but a change set to create it."""
NOTHING_TO_DO: Final = ("didn't contain changes", "No updates are to be performed")
VALIDATED_EARLY: Final = "EarlyValidation"
"""AWS checks names and properties before it makes the change set, and tells what is wrong by DescribeEvents only."""
BEGINS: Final = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "IMPORT_IN_PROGRESS")
"""The stack's own event with which an operation begins."""
CAN_DRIFT: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
"""Where CloudFormation can compare a stack with what is really there."""
DELETED: Final = "was deleted"
LONGEST_DRIFT_CHECK: Final = 300
"""Seconds; a stack of some dozen resources takes about one minute."""
PATIENT: Final = Config(retries={"mode": "standard", "total_max_attempts": 10})
"""CloudFormation throttles early (a few describing calls a second, for the whole account): ask again for a minute or
two, with a growing, random pause. Then Airflow's own retry of the task follows."""
OUTDATED: Final = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId")
OUTDATED_IS: Final = (CredentialRetrievalError, NoCredentialsError, SSOError, TokenRetrievalError)


@contextmanager
def readable(connection: str) -> Iterator[None]:
    """RetailError, with what to do, instead of AWS's errors about credentials that are no longer good."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in OUTDATED:
            raise
        raise _outdated(connection, error) from error
    except OUTDATED_IS as error:
        raise _outdated(connection, error) from error


def _outdated(connection: str, error: Exception) -> RetailError:
    return RetailError(
        f"AWS does not accept the credentials of connection {connection} (any more): {error}. Renew them (`aws sso "
        "login`, or new keys in the connection), then clear this task. CloudFormation goes on meanwhile by itself; "
        "the cleared task waits for it"
    )


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


@dataclass(frozen=True)
class ChangeSet:
    """A change set that could be executed; kind: CREATE or UPDATE."""

    kind: str
    changes: list[Change]


class StackHook(CloudFormationHook):
    def __init__(self, *args: Any, config: Config | None = None, **options: Any) -> None:
        super().__init__(*args, config=config or PATIENT, **options)

    def status(self, name: str) -> str | None:
        """The stack's status; None if there is no such stack (or it was deleted)."""
        status = self.get_stack_status(name)
        return None if status == "DELETE_COMPLETE" else status

    # --- change sets ---
    def open_change_set(self, stack: Stack, change_set: str, poll: float) -> ChangeSet | None:
        """Prepares what has to change, or None when nothing has to; poll: seconds between two looks.

        A stack that an earlier attempt left behind is mended first. RetailError when CloudFormation refuses the
        template or the parameters, with its reason.
        """
        status = self._mended(stack.name, poll)
        kind = "UPDATE" if status in GOOD else "CREATE"
        try:
            self.forget(stack.name, change_set)
            made = self.conn.create_change_set(**stack.request(change_set, kind))["Id"]
            self.conn.get_waiter("change_set_create_complete").wait(
                StackName=stack.name, ChangeSetName=change_set, WaiterConfig={"Delay": poll}
            )
        except WaiterError as error:
            reason = error.last_response.get("StatusReason", str(error))
            if VALIDATED_EARLY in reason:
                reason = "; ".join(self._refusals(ChangeSetName=made)) or reason
            self.forget(stack.name, change_set, with_stack=status is None)
            if any(text in reason for text in NOTHING_TO_DO):
                return None
            raise RetailError(f"CloudFormation refuses {stack.name}: {reason}") from error
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            if any(text in str(error) for text in NOTHING_TO_DO):
                return None
            raise RetailError(f"CloudFormation refuses {stack.name}: {error.response['Error']['Message']}") from error
        pages = self.conn.get_paginator("describe_change_set").paginate(StackName=stack.name, ChangeSetName=change_set)
        return ChangeSet(kind, [Change.of(change) for page in pages for change in page.get("Changes", [])])

    def _refusals(self, **of: str) -> list[str]:
        """What did not pass AWS's check before deployment (a name that is taken, for instance): of the latest
        operation on a StackName, or of a ChangeSetName, which must be an ARN.
        """
        pages = self.conn.get_paginator("describe_events").paginate(**of, Filters={"FailedEvents": True})
        events = [event for page in pages for event in page["OperationEvents"]]
        return [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event['ValidationStatusReason']}"
            for event in events
            if event.get("ValidationStatusReason") and event.get("OperationId") == events[0].get("OperationId")
        ]

    def execute_change_set(self, name: str, change_set: str) -> None:
        self.conn.execute_change_set(StackName=name, ChangeSetName=change_set)

    def forget(self, name: str, change_set: str, *, with_stack: bool = False) -> None:
        """Removes a change set; there need not be one. with_stack: and the empty stack that it made, if it made one."""
        try:
            self.conn.delete_change_set(StackName=name, ChangeSetName=change_set)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ChangeSetNotFound", "ValidationError"):
                raise
        if with_stack and self.status(name) == REVIEWED:
            self.conn.delete_stack(StackName=name)

    def plan(self, stack: Stack, change_set: str, poll: float) -> str:
        """What a run would do to a stack, in words and as a table. Leaves neither a change set nor a stack behind."""
        status = self.status(stack.name)
        self._refuse_half_deleted(stack.name, status)
        if status and status != REVIEWED and status not in GOOD:
            will = "removed and created again" if status in NEVER_CREATED else "waited for or rolled back, then updated"
            return f"{stack.name} is {status}: it will be {will}. Its template:\n{table(additions(stack.template))}"
        if missing := sorted(imports(stack.template, stack.parameters) - self.exports()):
            return (
                f"{stack.name} {'will be updated' if status in GOOD else 'will be created'}. Details follow when the "
                f"stacks before it are there: it imports {', '.join(missing)}, which nothing exports yet. "
                f"Its template:\n{table(additions(stack.template))}"
            )
        try:
            found = self.open_change_set(stack, change_set, poll)
        finally:
            self.forget(stack.name, change_set, with_stack=status is None)
        if found is None:
            return f"{stack.name} is up to date"
        return (
            f"{stack.name} {'would be created' if found.kind == 'CREATE' else 'would change'}:\n{table(found.changes)}"
        )

    def exports(self) -> set[str]:
        pages = self.conn.get_paginator("list_exports").paginate()
        return {export["Name"] for page in pages for export in page["Exports"]}

    # --- what an earlier attempt left behind ---
    def _mended(self, name: str, poll: float) -> str | None:
        """Brings a stack to where a change set can start from; its status then. RetailError when only a person can."""
        status = self.status(name)
        if status in NEVER_CREATED:
            self.log.warning("%s is %s and cannot be updated: removing it first", name, status)
            status = self._after(name, poll, lambda: self.conn.delete_stack(StackName=name))
        elif status == "UPDATE_FAILED":
            self.log.warning("%s is %s: rolling it back first", name, status)
            status = self._after(name, poll, lambda: self.conn.rollback_stack(StackName=name))
        elif status == "UPDATE_ROLLBACK_FAILED":
            self.log.warning("%s is %s: rolling back again", name, status)
            status = self._after(name, poll, lambda: self.conn.continue_update_rollback(StackName=name))
        self._refuse_half_deleted(name, status)
        if status is None or status == REVIEWED or status in GOOD:
            return status
        raise RetailError(
            f"stack {name} is {status}, and stays so:\n" + "\n".join(self.failures(name)) + "\nRemove what stands in "
            "the way (for UPDATE_ROLLBACK_FAILED, CloudFormation's `Continue update rollback` can skip a resource), "
            "then run provision again"
        )

    def _refuse_half_deleted(self, name: str, status: str | None) -> None:
        if status == HALF_DELETED:
            raise RetailError(
                f"stack {name} is {status}: its deletion stopped half-way, these did not go:\n"
                + "\n".join(self.failures(name))
                + "\nFinish the deletion: run teardown again or, to make only this stack anew, delete it in "
                "CloudFormation. Then run provision again"
            )

    def _after(self, name: str, poll: float, start: Callable[[], Any]) -> str | None:
        """Starts an operation and waits for its end; the stack's status then."""
        start()
        while True:  # an operation of CloudFormation ends: it has time limits of its own
            time.sleep(poll)
            status = self.status(name)
            if not status or not status.endswith("_IN_PROGRESS"):
                return status

    # --- what is there ---
    def failures(self, name: str) -> list[str]:
        """What failed in the stack's latest operation, oldest first: `logical id (type): reason`."""
        failed: list[str] = []
        for event in self._latest_operation(name):
            if event.get("DetailedStatus") == "VALIDATION_FAILED":
                failed += self._refusals(StackName=name)[::-1]
            elif event["ResourceStatus"].endswith("FAILED"):
                reason = event.get("ResourceStatusReason") or "no reason"
                failed.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
        return failed[::-1] or [f"no event says why: see the events of {name} in CloudFormation"]

    def _latest_operation(self, name: str) -> Iterator[dict[str, Any]]:
        """Its events, newest first. Found by its first event, not by time: AWS's clock is not this machine's."""
        for page in self.conn.get_paginator("describe_stack_events").paginate(StackName=name):
            for event in page["StackEvents"]:
                if event["LogicalResourceId"] == name and event["ResourceStatus"] in BEGINS:
                    return
                yield event

    def drift(self, name: str, poll: float) -> list[str]:
        """What was changed by hand since CloudFormation made it: `logical id (type) was modified: properties`.

        A type without drift detection is never named. Empty for a stack in a state that cannot be compared.
        """
        if self.status(name) not in CAN_DRIFT:
            return []
        check = self.conn.detect_stack_drift(StackName=name)["StackDriftDetectionId"]
        until = time.monotonic() + LONGEST_DRIFT_CHECK
        while (found := self.conn.describe_stack_drift_detection_status(StackDriftDetectionId=check))[
            "DetectionStatus"
        ] == "DETECTION_IN_PROGRESS":
            if time.monotonic() > until:
                return [f"not known: CloudFormation compares for more than {LONGEST_DRIFT_CHECK} s"]
            time.sleep(poll)
        drifted = [_drifted(item) for item in self._drifts(name)]
        if found["DetectionStatus"] == "DETECTION_FAILED":
            drifted.append(f"not known of all: {found.get('DetectionStatusReason', 'no reason')}")
        return drifted

    def _drifts(self, name: str) -> Iterator[dict[str, Any]]:
        """Resources that differ, of the newest comparison; botocore has no paginator for them."""
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
