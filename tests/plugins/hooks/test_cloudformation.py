"""Change sets: create, update, nothing to do, refused, replaced, failed. AWS answers by botocore's Stubber, or, where
botocore's own retries matter, in place of its HTTP client."""

import datetime as dt

import boto3
import pytest
from airflow.sdk.exceptions import AirflowException, TaskAwaitingInput, TaskDeferred
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from include.settings import settings
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.change_sets import Change
from retail_mlops.hooks.cloudformation import ChangeSet, Stack, StackHook
from retail_mlops.operators import cloudformation as module
from retail_mlops.operators.cloudformation import DeployStackOperator
from tests.plugins.text import squeezed

STACK = Stack("mlops-retail-dev-lake", "Resources: {}", {"Environment": "dev"}, {"Project": "RetailMLOps"})
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


class LocalStack:
    def __init__(self, monkeypatch):
        client = boto3.client(
            "cloudformation", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        self.stub = Stubber(client)
        monkeypatch.setattr(StackHook, "conn", client)
        monkeypatch.setattr(StackHook, "get_conn", lambda _self: client)
        self.hook = StackHook()
        self.stub.activate()

    def status(self, status):
        if status is None:
            self.stub.add_client_error(
                "describe_stacks", "ValidationError", f"Stack with id {STACK.name} does not exist"
            )
            return
        stack = {"StackName": STACK.name, "CreationTime": NOW, "StackStatus": status}
        self.stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": STACK.name})

    def no_old_change_set(self):
        self.stub.add_client_error("delete_change_set", "ChangeSetNotFound")

    def operation(self, method, ends_as):
        self.stub.add_response(method, {}, {"StackName": STACK.name})
        self.status(ends_as)

    def forgotten(self):
        self.stub.add_response("delete_change_set", {}, ANY_CHANGE_SET)

    def events(self, *events):
        self.stub.add_response("describe_stack_events", {"StackEvents": list(events)}, {"StackName": STACK.name})

    def no_drift(self):
        self.status("REVIEW_IN_PROGRESS")  # where there is nothing to compare

    def change_set(self, kind, status="CREATE_COMPLETE", reason="", changes=()):
        self.no_old_change_set()
        self.stub.add_response("create_change_set", {"Id": "i", "StackId": "s"}, STACK.request("c", kind))
        for _ in range(1 if status == "FAILED" else 2):  # until it is made, and for its content
            self.stub.add_response(
                "describe_change_set",
                {"Status": status, "StatusReason": reason, "Changes": list(changes)},
                {"StackName": STACK.name, "ChangeSetName": "c"},
            )

    def open(self):
        found = self.hook.open_change_set(STACK, "c", poll=0)
        return found and found.kind


def event(name, status, reason="", kind="AWS::S3::Bucket"):
    return {
        "StackId": "s",
        "EventId": f"{name}-{status}",
        "StackName": STACK.name,
        "LogicalResourceId": name,
        "ResourceType": kind,
        "Timestamp": NOW,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


ANY_CHANGE_SET = {"StackName": ANY, "ChangeSetName": ANY}


@pytest.fixture
def stack(monkeypatch):
    made = LocalStack(monkeypatch)
    yield made
    made.stub.assert_no_pending_responses()


def test_absent_stack_is_created(stack):
    stack.status(None)
    stack.change_set("CREATE")
    assert stack.open() == "CREATE"


def test_present_stack_is_updated(stack):
    stack.status("UPDATE_COMPLETE")
    stack.change_set("UPDATE")
    assert stack.open() == "UPDATE"


def test_stack_that_was_only_reviewed_is_created(stack):
    stack.status("REVIEW_IN_PROGRESS")
    stack.change_set("CREATE")
    assert stack.open() == "CREATE"


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information",
        "No updates are to be performed.",
    ],
)
def test_nothing_to_change_is_no_error_and_leaves_no_change_set(stack, reason):
    stack.status("CREATE_COMPLETE")
    stack.change_set("UPDATE", "FAILED", reason)
    stack.stub.add_response("delete_change_set", {}, {"StackName": STACK.name, "ChangeSetName": "c"})
    assert stack.open() is None


def test_refused_template_says_why(stack):
    stack.status(None)
    stack.change_set("CREATE", "FAILED", "Parameters: [Owner] must have values")
    stack.forgotten()
    stack.status("REVIEW_IN_PROGRESS")
    stack.stub.add_response("delete_stack", {}, {"StackName": STACK.name})  # the empty stack that it had made
    with pytest.raises(RetailError, match=r"refuses mlops-retail-dev-lake: Parameters: \[Owner\]"):
        stack.open()


def test_name_that_aws_finds_taken_before_it_makes_anything_is_told(stack):
    stack.status(None)
    stack.change_set("CREATE", "FAILED", "validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. Use the …")
    refused = {"LogicalResourceId": "Bucket", "ResourceType": "AWS::S3::Bucket", "ValidationStatusReason": "it exists"}
    stack.stub.add_response(
        "describe_events", {"OperationEvents": [refused, {}]}, {"ChangeSetName": "i", "Filters": {"FailedEvents": True}}
    )
    stack.forgotten()
    stack.status(None)
    with pytest.raises(RetailError, match=r"lake: Bucket \(AWS::S3::Bucket\): it exists$"):
        stack.open()


def test_stack_that_was_never_created_is_removed_first(stack):
    stack.status("ROLLBACK_COMPLETE")
    stack.operation("delete_stack", "DELETE_COMPLETE")
    stack.change_set("CREATE")
    assert stack.open() == "CREATE"


@pytest.mark.parametrize("asks", [lambda stack: stack.open(), lambda stack: stack.hook.plan(STACK, "c", poll=0)])
def test_deletion_that_stopped_half_way_is_not_finished_unasked(stack, asks):
    stack.status("DELETE_FAILED")
    stack.events(
        event("Bucket", "DELETE_FAILED", "it is not empty"),
        event("Role", "DELETE_COMPLETE"),
        event(STACK.name, "DELETE_IN_PROGRESS"),
    )
    with pytest.raises(
        RetailError, match=r"DELETE_FAILED.*\nBucket \(AWS::S3::Bucket\): it is not empty\n.*run teardown"
    ):
        asks(stack)


@pytest.mark.parametrize(
    ("left_as", "method"),
    [("UPDATE_FAILED", "rollback_stack"), ("UPDATE_ROLLBACK_FAILED", "continue_update_rollback")],
)
def test_stack_of_a_half_done_update_is_rolled_back_first(stack, left_as, method):
    stack.status(left_as)
    stack.operation(method, "UPDATE_ROLLBACK_COMPLETE")
    stack.change_set("UPDATE")
    assert stack.open() == "UPDATE"


def test_stack_that_cannot_roll_back_is_a_persons(stack):
    stack.status("UPDATE_ROLLBACK_FAILED")
    stack.operation("continue_update_rollback", "UPDATE_ROLLBACK_FAILED")
    stack.events(event("Role", "UPDATE_FAILED", "it is gone"), event(STACK.name, "UPDATE_IN_PROGRESS"))
    with pytest.raises(RetailError, match=r"UPDATE_ROLLBACK_FAILED.*\nRole \(AWS::S3::Bucket\): it is gone\n.*skip"):
        stack.open()


# --- the operator ---
@pytest.fixture
def operator(stack, monkeypatch):
    made = DeployStackOperator(task_id="lake", component="lake")
    monkeypatch.setattr(module, "stack_of", lambda component, admin: STACK)
    monkeypatch.setattr(module, "principal", lambda connection: "arn")
    made.changes = []
    monkeypatch.setattr(StackHook, "open_change_set", lambda *_: made.kind and ChangeSet(made.kind, made.changes))
    monkeypatch.setattr(module, "upsert_hitl_detail", lambda **question: made.__dict__.update(question=question))
    return made


TI = type("Ti", (), {"id": "7", "dag_id": "provision", "run_id": "r", "try_number": 1})
CONTEXT = {"ti": TI, "params": {"dry_run": False}}
REPLACED = Change("Modify", "Bucket", "AWS::S3::Bucket", "True", "ReplaceAndRetain", ("BucketName",))


def test_change_is_executed_and_waited_for_deferred(stack, operator):
    operator.kind = "CREATE"
    stack.status(None)
    stack.no_drift()
    stack.stub.add_response("execute_change_set", {}, ANY_CHANGE_SET)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    path, fields = deferred.value.trigger.serialize()
    assert path == "retail_mlops.triggers.cloudformation.StackTrigger"
    assert (fields["stack_name"], fields["kind"]) == (STACK.name, "CREATE")
    assert deferred.value.trigger.waiter_name == "stack_create_complete"


def executed(stack, operator, kind):
    operator.kind = kind
    stack.status(None if kind == "CREATE" else "CREATE_COMPLETE")
    stack.no_drift()
    stack.stub.add_response("execute_change_set", {}, ANY_CHANGE_SET)


@pytest.mark.parametrize("kind", ["CREATE", "UPDATE"])
def test_stack_that_is_done_at_once_needs_no_trigger(stack, operator, waits_in_task, kind):
    executed(stack, operator, kind)
    stack.status(f"{kind}_IN_PROGRESS")
    stack.status(f"{kind}_COMPLETE")
    operator.execute(CONTEXT)
    stack.stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("kind", "ended"),
    [("CREATE", "ROLLBACK_COMPLETE"), ("UPDATE", "UPDATE_ROLLBACK_COMPLETE"), ("CREATE", None)],
)
def test_stack_that_fails_while_its_task_waits_lists_what_failed(stack, operator, waits_in_task, kind, ended):
    executed(stack, operator, kind)
    stack.status(f"{kind}_IN_PROGRESS")
    stack.status(ended)
    stack.events(event("Bucket", "CREATE_FAILED", "it exists"), event(STACK.name, f"{kind}_IN_PROGRESS"))
    with pytest.raises(RetailError, match=r"(?s)is (\w*ROLLBACK_COMPLETE|gone).*Bucket .*it exists"):
        operator.execute(CONTEXT)


def test_stack_that_takes_longer_is_waited_for_deferred(stack, operator, waits_in_task, monkeypatch):
    executed(stack, operator, "CREATE")
    stack.status("CREATE_IN_PROGRESS")
    moments = iter([0, 4.9, 5.1])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(moments))
    with pytest.raises(TaskDeferred):
        operator.execute(CONTEXT)


def test_unchanged_stack_is_left_alone(stack, operator):
    operator.kind = None
    stack.status("CREATE_COMPLETE")
    stack.no_drift()
    operator.execute(CONTEXT)  # neither a change set nor a wait


@pytest.mark.parametrize(
    ("status", "waiter"),
    [
        ("UPDATE_IN_PROGRESS", "stack_update_complete"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "stack_update_complete"),
        ("ROLLBACK_IN_PROGRESS", "stack_create_complete"),
        ("DELETE_IN_PROGRESS", "stack_delete_complete"),
    ],
)
def test_stack_in_progress_is_waited_for_first(stack, operator, status, waiter):
    stack.status(status)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    assert deferred.value.method_name == "execute_again"
    assert deferred.value.trigger.waiter_name == waiter


def test_failed_stack_lists_what_failed_first_in_its_latest_operation(stack, operator):
    stack.status("ROLLBACK_COMPLETE")
    stack.events(
        event("Policy", "CREATE_FAILED", "Resource creation cancelled"),
        event("Bucket", "CREATE_FAILED", "the name is taken"),
        event("Role", "CREATE_COMPLETE"),
        event(STACK.name, "CREATE_IN_PROGRESS", kind="AWS::CloudFormation::Stack"),
        event("Old", "CREATE_FAILED", "of another day"),
    )

    with pytest.raises(RetailError) as failed:
        operator.execute_complete(CONTEXT, {"status": "error", "stack_name": STACK.name})

    lines = str(failed.value).splitlines()
    assert lines[1:] == [
        "Bucket (AWS::S3::Bucket): the name is taken",
        "Policy (AWS::S3::Bucket): Resource creation cancelled",
    ]


def test_waiting_that_ended_early_is_retried(stack, operator):
    stack.status("CREATE_IN_PROGRESS")
    with pytest.raises(AirflowException) as failed:
        operator.execute_complete(CONTEXT, {"status": "error", "stack_name": STACK.name})
    assert not isinstance(failed.value, RetailError)


# --- replacements ---
def asked(stack, operator):
    operator.kind, operator.changes = "UPDATE", [REPLACED]
    stack.status("UPDATE_COMPLETE")
    stack.no_drift()
    with pytest.raises(TaskAwaitingInput) as waiting:
        operator.execute(CONTEXT)
    return waiting.value


def test_person_is_asked_before_a_bucket_is_replaced(stack, operator):
    waiting = asked(stack, operator)
    assert operator.question["options"] == ["Approve", "Reject"]
    assert operator.question["defaults"] == ["Reject"]
    assert "Bucket (AWS::S3::Bucket)" in operator.question["subject"]
    assert "| Modify | Bucket | AWS::S3::Bucket | True " in squeezed(operator.question["body"])
    assert waiting.timeout == dt.timedelta(days=1)
    assert (waiting.method_name, waiting.kwargs) == ("execute_answer", {"kind": "UPDATE"})


def test_approved_replacement_is_the_change_set_that_was_shown(stack, operator):
    stack.stub.add_response(
        "execute_change_set", {}, {"StackName": STACK.name, "ChangeSetName": operator._change_set(CONTEXT)}
    )
    answer = {"chosen_options": ["Approve"], "responded_by_user": {"name": "ada"}, "params_input": {"reason": "empty"}}
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute_answer(CONTEXT, answer, "UPDATE")
    assert deferred.value.method_name == "execute_complete"


@pytest.mark.parametrize(
    "answer",
    [
        {"chosen_options": ["Reject"], "responded_by_user": {"name": "ada"}, "params_input": {"reason": "no"}},
        {"chosen_options": ["Reject"], "responded_by_user": None, "params_input": {}},
        {"error": "the answer could not be read", "error_type": "unknown"},
    ],
)
def test_everything_but_approve_executes_nothing_and_leaves_no_change_set(stack, operator, answer):
    stack.forgotten()
    with pytest.raises(RetailError, match="was not approved"):
        operator.execute_answer(CONTEXT, answer, "UPDATE")


# --- faults of the account ---
def test_deleted_by_hand_is_no_up_to_date_stack(stack, operator, monkeypatch):
    pauses = []
    monkeypatch.setattr("retail_mlops.common.polling.time.sleep", pauses.append)
    operator.kind = None
    for _ in range(2):
        stack.status("CREATE_COMPLETE")
    stack.stub.add_response("detect_stack_drift", {"StackDriftDetectionId": "d"})
    found = {"StackId": "s", "StackDriftDetectionId": "d", "Timestamp": NOW}
    for status in ("DETECTION_IN_PROGRESS", "DETECTION_COMPLETE"):
        stack.stub.add_response("describe_stack_drift_detection_status", found | {"DetectionStatus": status})
    drift = {
        "StackId": "s",
        "LogicalResourceId": "Bucket",
        "ResourceType": "AWS::S3::Bucket",
        "StackResourceDriftStatus": "DELETED",
        "Timestamp": NOW,
    }
    stack.stub.add_response("describe_stack_resource_drifts", {"StackResourceDrifts": [drift]})
    with pytest.raises(RetailError, match=r"Bucket \(AWS::S3::Bucket\) was deleted by hand"):
        operator.execute(CONTEXT)
    assert pauses == [settings().poll_seconds]


def test_credentials_that_expired_half_way_say_what_to_do(stack, operator):
    stack.stub.add_client_error("describe_stacks", "ExpiredToken", "The security token included is expired")
    with pytest.raises(RetailError, match=r"connection aws_default.*Renew.*clear this task"):
        operator.execute(CONTEXT)


def test_credentials_that_expired_while_it_waited_say_what_to_do(stack, operator):
    stack.stub.add_client_error("describe_stacks", "ExpiredToken", "The security token included is expired")
    with pytest.raises(RetailError, match="Renew"):
        operator.execute_complete(CONTEXT, {"status": "error", "stack_name": STACK.name})


def throttled(monkeypatch, times):
    """A hook whose first calls AWS answers with Throttling; the pauses are counted, not waited for."""
    pauses, answers = [], [400] * times
    monkeypatch.setattr("botocore.endpoint.time.sleep", pauses.append)
    no = b"<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
    yes = (
        b"<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>s</StackName>"
        b"<CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus></member></Stacks>"
        b"</DescribeStacksResult></DescribeStacksResponse>"
    )
    hook = StackHook(aws_conn_id="aws_admin", region_name="ap-southeast-1")

    def answer(request, **_):
        code = answers.pop(0) if answers else 200
        response = AWSResponse(request.url, code, {}, None)
        response._content = yes if code == 200 else no
        return response

    hook.conn.meta.events.register("before-send.cloudformation", answer)
    return hook, pauses


def test_throttled_call_is_repeated_with_a_pause(monkeypatch):
    hook, pauses = throttled(monkeypatch, times=7)
    assert hook.status("s") == "CREATE_COMPLETE"
    assert len(pauses) == 7


def test_call_that_stays_throttled_fails_readably_and_is_left_to_the_tasks_own_retry(monkeypatch):
    hook, pauses = throttled(monkeypatch, times=99)
    with pytest.raises(ClientError, match=r"Throttling.*reached max retries: 9.*Rate exceeded") as failed:
        hook.status("s")
    assert not isinstance(failed.value, RetailError)
    assert len(pauses) == 9


def test_trigger_waits_as_waits_in_taskly():
    trigger = module.StackTrigger(
        stack_name="s", kind="UPDATE", waiter_delay=1, waiter_max_attempts=1, aws_conn_id="aws_admin"
    )
    assert trigger.hook().conn.meta.config.retries == {"mode": "standard", "total_max_attempts": 10}
