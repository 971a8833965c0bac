"""Change sets: create, update, nothing to do, refused, failed. AWS answers by botocore's Stubber."""

import datetime as dt

import boto3
import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from botocore.stub import ANY, Stubber

from retail_mlops.errors import RetailError
from retail_mlops.hooks.cloudformation import Stack, StackHook
from retail_mlops.operators import cloudformation as module
from retail_mlops.operators.cloudformation import DeployStackOperator

STACK = Stack("mlops-retail-dev-lake", "Resources: {}", {"Environment": "dev"}, {"Project": "RetailMLOps"})
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


class World:
    def __init__(self, monkeypatch):
        client = boto3.client(
            "cloudformation", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        self.stub = Stubber(client)
        monkeypatch.setattr(StackHook, "conn", client)
        monkeypatch.setattr(StackHook, "get_conn", lambda _self: client)
        self.hook = StackHook()
        self.stub.activate()

    def status(self, status, outputs=()):
        if status is None:
            self.stub.add_client_error(
                "describe_stacks", "ValidationError", f"Stack with id {STACK.name} does not exist"
            )
            return
        stack = {"StackName": STACK.name, "CreationTime": NOW, "StackStatus": status, "Outputs": list(outputs)}
        self.stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": STACK.name})

    def no_old_change_set(self):
        self.stub.add_client_error("delete_change_set", "ChangeSetNotFound")

    def change_set(self, kind, status="CREATE_COMPLETE", reason=""):
        self.no_old_change_set()
        self.stub.add_response("create_change_set", {"Id": "i", "StackId": "s"}, STACK.request("c", kind))
        self.stub.add_response(
            "describe_change_set",
            {"Status": status, "StatusReason": reason},
            {"StackName": STACK.name, "ChangeSetName": "c"},
        )

    def open(self):
        return self.hook.open_change_set(STACK, "c", poll=0)


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    yield made
    made.stub.assert_no_pending_responses()


def test_absent_stack_is_created(world):
    world.status(None)
    world.change_set("CREATE")
    assert world.open() == "CREATE"


def test_present_stack_is_updated(world):
    world.status("UPDATE_COMPLETE")
    world.change_set("UPDATE")
    assert world.open() == "UPDATE"


def test_stack_that_was_only_reviewed_is_created(world):
    world.status("REVIEW_IN_PROGRESS")
    world.change_set("CREATE")
    assert world.open() == "CREATE"


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information",
        "No updates are to be performed.",
    ],
)
def test_nothing_to_change_is_no_error_and_leaves_no_change_set(world, reason):
    world.status("CREATE_COMPLETE")
    world.change_set("UPDATE", "FAILED", reason)
    world.stub.add_response("delete_change_set", {}, {"StackName": STACK.name, "ChangeSetName": "c"})
    assert world.open() is None


def test_refused_template_says_why(world):
    world.status(None)
    world.change_set("CREATE", "FAILED", "Parameters: [Owner] must have values")
    world.stub.add_response("delete_change_set", {}, ANY_CHANGE_SET)
    with pytest.raises(RetailError, match=r"refuses mlops-retail-dev-lake: Parameters: \[Owner\]"):
        world.open()


ANY_CHANGE_SET = {"StackName": ANY, "ChangeSetName": ANY}


def test_stack_that_was_never_created_is_removed_first(world):
    world.status("ROLLBACK_COMPLETE")
    world.stub.add_response("delete_stack", {}, {"StackName": STACK.name})
    world.status("DELETE_COMPLETE")
    world.change_set("CREATE")
    assert world.open() == "CREATE"


def test_stack_that_needs_a_person_is_refused(world):
    world.status("UPDATE_ROLLBACK_FAILED")
    with pytest.raises(RetailError, match="UPDATE_ROLLBACK_FAILED"):
        world.open()


@pytest.fixture
def operator(world, monkeypatch):
    made = DeployStackOperator(task_id="lake", component="lake")
    monkeypatch.setattr(module, "stack", lambda component, admin: STACK)
    monkeypatch.setattr(module, "principal", lambda connection: "arn")
    monkeypatch.setattr(StackHook, "open_change_set", lambda *_args: made.kind)
    return made


CONTEXT = {"ti": type("Ti", (), {"dag_id": "provision", "run_id": "r", "try_number": 1})}


def test_change_is_executed_and_waited_for_deferred(world, operator):
    operator.kind = "CREATE"
    world.status(None)
    world.stub.add_response("execute_change_set", {}, ANY_CHANGE_SET)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    path, fields = deferred.value.trigger.serialize()
    assert path == "retail_mlops.triggers.cloudformation.StackTrigger"
    assert (fields["stack_name"], fields["kind"]) == (STACK.name, "CREATE")
    assert deferred.value.trigger.waiter_name == "stack_create_complete"


def test_unchanged_stack_gives_its_outputs(world, operator):
    operator.kind = None
    world.status("CREATE_COMPLETE")
    world.status("CREATE_COMPLETE", [{"OutputKey": "BucketName", "OutputValue": "b"}])
    assert operator.execute(CONTEXT) == {"BucketName": "b"}


def test_stack_in_progress_is_waited_for_first(world, operator):
    world.status("UPDATE_IN_PROGRESS")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    assert deferred.value.method_name == "execute_again"


def test_failed_stack_lists_what_failed_first(world, operator):
    def event(name, status, minute, reason=""):
        return {
            "StackId": "s",
            "EventId": name,
            "StackName": STACK.name,
            "LogicalResourceId": name,
            "ResourceType": "AWS::S3::Bucket",
            "Timestamp": NOW + dt.timedelta(minutes=minute),
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
        }

    events = [
        event("Policy", "CREATE_FAILED", 3, "Resource creation cancelled"),
        event("Bucket", "CREATE_FAILED", 2, "the name is taken"),
        event("Old", "CREATE_FAILED", -60, "of another day"),
        event("Role", "CREATE_COMPLETE", 1),
    ]
    world.status("ROLLBACK_COMPLETE")
    world.stub.add_response("describe_stack_events", {"StackEvents": events}, {"StackName": STACK.name})

    with pytest.raises(RetailError) as failed:
        operator.execute_complete(CONTEXT, {"status": "error", "stack_name": STACK.name}, NOW.isoformat())

    lines = str(failed.value).splitlines()
    assert lines[1:] == [
        "Bucket (AWS::S3::Bucket): the name is taken",
        "Policy (AWS::S3::Bucket): Resource creation cancelled",
    ]


def test_waiting_that_ended_early_is_retried(world, operator):
    world.status("CREATE_IN_PROGRESS")
    with pytest.raises(AirflowException) as failed:
        operator.execute_complete(CONTEXT, {"status": "error", "stack_name": STACK.name}, NOW.isoformat())
    assert not isinstance(failed.value, RetailError)
