"""The observability, budget and audit stacks in the AWS emulation: made, listed, changed, gone; and who may look."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.aws.conftest import Service
from tests.local.aws.eks.test_clusters import change, stack_end

pytestmark = pytest.mark.integration

ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:ap-southeast-1:{ACCOUNT}:mlops-retail-dev-alerts"
STACKS = ("observability", "budget", "audit")


@pytest.fixture(scope="module")
def made(service: Service) -> Service:
    for component in STACKS:
        assert change(service, component, "CREATE") == ("CREATE_COMPLETE", ""), component
    return service


def listing(service: Service, name: str) -> list[Any]:
    """Names of what a service lists, as teardown's inventory asks for it."""
    client = service.client
    return {
        "topics": lambda: [topic["TopicArn"] for topic in client("sns").list_topics()["Topics"]],
        "subscriptions": lambda: [
            subscription["Endpoint"] for subscription in client("sns").list_subscriptions()["Subscriptions"]
        ],
        "alarms": lambda: [alarm["AlarmName"] for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "dashboards": lambda: [
            dashboard["DashboardName"] for dashboard in client("cloudwatch").list_dashboards()["DashboardEntries"]
        ],
        "queries": lambda: [query["name"] for query in client("logs").describe_query_definitions()["queryDefinitions"]],
        "rules": lambda: [rule["Name"] for rule in client("events").list_rules()["Rules"]],
        "budgets": lambda: [
            budget["BudgetName"] for budget in client("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets", [])
        ],
        "schedules": lambda: [schedule["Name"] for schedule in client("scheduler").list_schedules()["Schedules"]],
        "groups": lambda: [
            group["Name"]
            for group in client("scheduler").list_schedule_groups()["ScheduleGroups"]
            if group["Name"] != "default"
        ],
        "trails": lambda: [trail["Name"] for trail in client("cloudtrail").describe_trails()["trailList"]],
    }[name]()


EXPECTED = {
    "topics": {TOPIC},
    "subscriptions": {"team@example.org"},
    "alarms": {f"mlops-retail-dev-{name}" for name in ("api-errors", "api-latency", "api-silent", "still-on", "drift")},
    "dashboards": {"mlops-retail-dev"},
    "queries": {f"mlops-retail-dev/{name}" for name in ("api-errors", "api-latency", "job-errors", "cluster-refusals")},
    "rules": {"mlops-retail-dev-failed-jobs"},
    "budgets": {"mlops-retail-dev-monthly"},
    "schedules": {"mlops-retail-dev-backstop"},
    "groups": {"mlops-retail-dev"},
    "trails": {"mlops-retail-dev-audit"},
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_resource_is_listed_by_its_service(made: Service, kind: str) -> None:
    assert set(listing(made, kind)) == EXPECTED[kind]


@pytest.mark.parametrize("component", STACKS)
def test_a_stack_without_changes_is_not_updated(made: Service, component: str) -> None:
    status, why = change(made, component, "UPDATE")
    assert status == "FAILED"
    assert "didn't contain changes" in why


def test_the_budget_counts_the_projects_tag_and_tells_topic_and_address(made: Service) -> None:
    budgets, name = made.client("budgets"), "mlops-retail-dev-monthly"
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    assert budget["CostFilters"] == {"TagKeyValue": ["user:Project$RetailMLOps"]}
    assert budget["BudgetLimit"] == {"Amount": "50", "Unit": "USD"}
    notifications = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=name)["Notifications"]
    kinds = {(notification["NotificationType"], notification["Threshold"]) for notification in notifications}
    assert kinds == {("ACTUAL", 80.0), ("ACTUAL", 100.0), ("FORECASTED", 100.0)}
    for notification in notifications:
        answer = budgets.describe_subscribers_for_notification(
            AccountId=ACCOUNT, BudgetName=name, Notification=notification
        )
        assert {subscriber["Address"] for subscriber in answer["Subscribers"]} == {TOPIC, "team@example.org"}
    tags = budgets.list_tags_for_resource(ResourceARN=f"arn:aws:budgets::{ACCOUNT}:budget/{name}")["ResourceTags"]
    assert {"Key": "Deployed", "Value": "by-stack"} in tags


def test_another_address_needs_another_name_of_the_budget(made: Service) -> None:
    budgets, email = made.client("budgets"), "other@example.org"
    status, _why = change(made, "budget", "UPDATE", AlertEmail=email)
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    status, _why = change(made, "budget", "UPDATE", AlertEmail=email, BudgetName="mlops-retail-dev-other")
    assert status == "UPDATE_COMPLETE"
    assert listing(made, "budgets") == ["mlops-retail-dev-other"]
    assert change(made, "budget", "UPDATE", MonthlyBudget="60") == ("UPDATE_COMPLETE", "")
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName="mlops-retail-dev-monthly")["Budget"]
    assert budget["BudgetLimit"]["Amount"] == "60"


def test_the_backstop_is_at_half_past_ten_where_the_team_lives(made: Service) -> None:
    schedule = made.client("scheduler").get_schedule(Name="mlops-retail-dev-backstop", GroupName="mlops-retail-dev")
    assert (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"], schedule["State"]) == (
        "cron(30 22 * * ? *)",
        "Asia/Ho_Chi_Minh",
        "DISABLED",
    )
    assert json.loads(schedule["Target"]["Input"])["ScalingConfig"] == {"MinSize": 0, "DesiredSize": 0}


def test_server_errors_raise_the_alarm_and_it_tells_the_topic(made: Service) -> None:
    sqs, cloudwatch = made.client("sqs"), made.client("cloudwatch")
    arn = f"arn:aws:sqs:ap-southeast-1:{ACCOUNT}:alerts"
    sender = {"Service": "sns.amazonaws.com"}
    policy = {"Effect": "Allow", "Principal": sender, "Action": "sqs:SendMessage", "Resource": arn}
    attributes = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [policy]})}
    queue = sqs.create_queue(QueueName="alerts", Attributes=attributes)["QueueUrl"]
    heard = made.client("sns").subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    cloudwatch.put_metric_data(
        Namespace="RetailMLOps",
        MetricData=[
            {"MetricName": "Errors", "Value": 9, "Dimensions": [{"Name": "Service", "Value": "retail-api"}]},
        ],
    )
    [message] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    assert json.loads(json.loads(message["Body"])["Message"])["AlarmName"] == "mlops-retail-dev-api-errors"
    made.client("sns").unsubscribe(SubscriptionArn=heard["SubscriptionArn"])


def test_metric_math_is_kept_as_the_template_has_it(made: Service) -> None:
    [alarm] = made.client("cloudwatch").describe_alarms(AlarmNames=["mlops-retail-dev-still-on"])["MetricAlarms"]
    assert [metric["Id"] for metric in alarm["Metrics"]] == ["requests", "after_hours"]
    assert "MetricName" not in alarm
    assert alarm["ActionsEnabled"] is False


def test_the_trail_logs_into_its_own_closed_bucket(made: Service) -> None:
    cloudtrail = made.client("cloudtrail")
    [trail] = cloudtrail.describe_trails()["trailList"]
    assert trail["S3BucketName"] == f"mlops-retail-audit-dev-{ACCOUNT}"
    assert cloudtrail.get_trail_status(Name=trail["Name"])["IsLogging"]
    block = made.client("s3").get_public_access_block(Bucket=trail["S3BucketName"])
    assert set(block["PublicAccessBlockConfiguration"].values()) == {True}


@pytest.mark.parametrize(
    ("name", "method", "arguments"),
    [
        ("budgets", "describe_budgets", {"AccountId": ACCOUNT}),
        ("scheduler", "list_schedules", {}),
        ("cloudtrail", "describe_trails", {}),
        ("logs", "describe_query_definitions", {}),
        ("cloudwatch", "list_dashboards", {}),
        ("events", "list_rules", {}),
        ("sns", "list_topics", {}),
    ],
)
def test_who_has_no_right_sees_nothing(
    made: Service, nobody: dict[str, str], name: str, method: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(made.client_of(name, nobody), method)(**arguments)
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "AuthorizationError")


def test_github_may_push_and_become_airflow_only_while_a_repository_is_named(made: Service) -> None:
    iam = made.client("iam")
    for component in ("lake", "registry"):
        assert change(made, component, "CREATE") == ("CREATE_COMPLETE", "")
    assert change(made, "identity", "CREATE", GitHubRepository="octo/retail") == ("CREATE_COMPLETE", "")
    push, deploy = (iam.get_role(RoleName=f"mlops-retail-dev-{name}")["Role"] for name in ("push", "deploy"))
    subjects = {}
    for role in (push, deploy):
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
        assert trust["Principal"]["Federated"] == provider
        subjects[role["RoleName"]] = trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert subjects == {
        "mlops-retail-dev-push": "repo:octo/retail:ref:refs/heads/main",
        "mlops-retail-dev-deploy": ["repo:octo/retail:environment:dev", "repo:octo/retail:environment:dev-retrain"],
    }
    airflow = iam.get_role(RoleName="mlops-retail-dev-airflow")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert deploy["Arn"] in airflow["Principal"]["AWS"]
    assert push["Arn"] not in airflow["Principal"]["AWS"]
    assert change(made, "identity", "UPDATE", GitHubRepository="") == ("UPDATE_COMPLETE", "")
    left = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    assert not {"mlops-retail-dev-push", "mlops-retail-dev-deploy"} & left


def test_saved_queries_are_found_by_prefix_and_gone_when_deleted(made: Service) -> None:
    logs = made.client("logs")
    name = logs.put_query_definition(name="mine/one", queryString="limit 1")["queryDefinitionId"]
    logs.put_query_definition(queryDefinitionId=name, name="mine/one", queryString="limit 2")
    [found] = logs.describe_query_definitions(queryDefinitionNamePrefix="mine/")["queryDefinitions"]
    assert found["queryString"] == "limit 2"
    assert logs.delete_query_definition(queryDefinitionId=name)["success"]
    assert logs.describe_query_definitions(queryDefinitionNamePrefix="mine/")["queryDefinitions"] == []


def test_deleted_stacks_leave_nothing(made: Service) -> None:
    cloudformation = made.client("cloudformation")
    for component in reversed(STACKS):
        name = f"mlops-retail-dev-{component}"
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        cloudformation.delete_stack(StackName=name)
        assert stack_end(made, stack) == "DELETE_COMPLETE"
    assert {kind: listing(made, kind) for kind in EXPECTED} == {kind: [] for kind in EXPECTED}
