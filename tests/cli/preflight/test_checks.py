"""What the checks of an account find in quotas, versions, clocks; answers are checked against botocore's models.

The same against the AWS emulation: tests/cli/preflight/test_checks_on_local_aws.py.
"""

import datetime as dt
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cli.__main__ import main
from cli.preflight import caller, command, limits, project
from cli.preflight.finding import Account, Check, Finding
from include.settings import PARALLEL_WEEKS, REGION, Settings
from local.stack import config

KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


class Aws:
    """Gives these answers, in this order: (service, operation, answer or error code)."""

    def __init__(self, *answers: tuple[str, str, Any]) -> None:
        self.clients, self.stubs = {}, {}
        for service, operation, answer in answers:
            if service not in self.clients:
                self.clients[service] = boto3.client(service, REGION, **KEYS)
                self.stubs[service] = Stubber(self.clients[service])
                self.stubs[service].activate()
            if isinstance(answer, str):
                self.stubs[service].add_client_error(operation, answer)
            else:
                self.stubs[service].add_response(operation, answer)

    def __call__(self, service: str) -> Any:
        return self.clients[service]


def findings(check: Check, *answers: tuple[str, str, Any], **fields: Any) -> list[Finding]:
    """Return what a check finds in an account that gives these answers, with the settings `fields`."""
    return [finding for _, finding in command.run_checks(Account(Aws(*answers), Settings(**fields)), [check])]


def identity_at(date: dt.datetime) -> dict[str, Any]:
    headers = {"date": f"{date:%a, %d %b %Y %H:%M:%S} GMT"}
    who = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/me", "UserId": "A"}
    return who | {"ResponseMetadata": {"HTTPHeaders": headers}}


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (-10, "ok"), (90, "note"), (-3600, "missing")])
def test_clock_that_is_wrong_is_told_before_signatures_are_refused(seconds: int, state: str) -> None:
    aws_time = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    (finding,) = findings(caller.clock, ("sts", "get_caller_identity", identity_at(aws_time)))
    assert finding.state == state


def test_clock_is_told_too_when_its_signature_has_been_refused() -> None:
    sts = boto3.client("sts", REGION, **KEYS)
    old = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    with Stubber(sts) as stub:
        stub.add_client_error(
            "get_caller_identity", "SignatureDoesNotMatch", response_meta=identity_at(old)["ResponseMetadata"]
        )
        (finding,) = caller.clock(Account(lambda _: sts, Settings()))
    assert (finding.state, finding.remedy) == ("missing", "set the clock (NTP)")


@pytest.mark.parametrize(
    ("versions", "state"),
    [
        ([("1.36", "STANDARD_SUPPORT")], "ok"),
        ([("1.36", "EXTENDED_SUPPORT")], "missing"),
        ([("1.36", "UNSUPPORTED")], "missing"),
        ([], "missing"),
    ],
)
def test_kubernetes_must_be_in_standard_support(versions: list[tuple[str, str]], state: str) -> None:
    answer = [
        {"clusterVersion": version, "versionStatus": status, "endOfStandardSupportDate": dt.datetime(2027, 8, 2)}
        for version, status in versions
    ]
    (finding,) = findings(limits.kubernetes, ("eks", "describe_cluster_versions", {"clusterVersions": answer}))
    assert finding.state == state


@pytest.mark.parametrize(
    ("there", "state"), [(["t3.medium", "t3a.medium"], "ok"), (["t3.medium"], "note"), ([], "missing")]
)
def test_instance_types_must_be_offered(there: list[str], state: str) -> None:
    offers = {"InstanceTypeOfferings": [{"InstanceType": name} for name in there]}
    answer = ("ec2", "describe_instance_type_offerings", offers)
    (finding,) = findings(limits.instances, answer, node_instance_types="t3.medium,t3a.medium")
    assert finding.state == state


@pytest.mark.parametrize(("limit", "state"), [(8.0, "ok"), (7.0, "missing")])
def test_nodes_need_their_processors_twice(limit: float, state: str) -> None:
    kinds = {"InstanceTypes": [{"InstanceType": "t3.medium", "VCpuInfo": {"DefaultVCpus": 2}}]}
    (finding,) = findings(
        limits.node_quota,
        ("ec2", "describe_instance_types", kinds),
        ("service-quotas", "get_service_quota", {"Quota": {"Value": limit}}),
        node_instance_types="t3.medium",
        node_count=2,
        node_capacity="ON_DEMAND",
    )
    assert finding.state == state
    assert ("--quota-code L-1216C47A --desired-value 8" in finding.remedy) is (state == "missing")


@pytest.mark.parametrize(("mine", "state"), [(1, "ok"), (0, "missing")])
def test_one_more_vpc_must_have_room_unless_it_is_there(mine: int, state: str) -> None:
    five = {"Vpcs": [{"VpcId": f"vpc-{number}"} for number in range(5)]}
    (finding,) = findings(
        limits.vpc_quota,
        ("ec2", "describe_vpcs", five),
        ("ec2", "describe_vpcs", {"Vpcs": five["Vpcs"][:mine]}),
        ("service-quotas", "get_service_quota", {"Quota": {"Value": 5.0}}),
    )
    assert finding.state == state


@pytest.mark.parametrize(
    ("status", "states"),
    [
        ("CREATE_COMPLETE", ["ok"]),
        ("UPDATE_ROLLBACK_FAILED", ["note", "ok"]),
        ("ROLLBACK_COMPLETE", ["ok"]),
        ("DELETE_FAILED", ["missing", "ok"]),
    ],
)
def test_only_a_stack_whose_deletion_failed_is_in_the_way_of_provision(status: str, states: list[str]) -> None:
    templates = len(list((config.ROOT / "infra").glob("*.yaml")))
    answers = [
        {"Stacks": [{"StackName": "one", "CreationTime": dt.datetime.now(dt.UTC), "StackStatus": one}]}
        for one in [status] + ["UPDATE_COMPLETE"] * (templates - 1)
    ]
    results = findings(project.stacks, *(("cloudformation", "describe_stacks", answer) for answer in answers))
    assert [finding.state for finding in results] == states
    assert all(status in finding.what for finding in results[:-1])


def test_sagemaker_refuses_new_accounts_until_their_quotas_are_raised() -> None:
    quotas = [
        {"QuotaName": "ml.m5.large for training job usage", "QuotaCode": "L-1", "Value": 0.0},
        {"QuotaName": "ml.t3.large for processing job usage", "QuotaCode": "L-2", "Value": PARALLEL_WEEKS + 1.0},
    ]
    answer = ("service-quotas", "list_service_quotas", {"Quotas": quotas})
    training, processing = findings(
        limits.job_quotas, answer, training_instance="ml.m5.large", processing_instance="ml.t3.large"
    )
    assert (training.state, processing.state) == ("missing", "ok")
    assert "--service-code sagemaker --quota-code L-1 --desired-value 1" in training.remedy


def test_quota_that_there_is_not_is_not_taken_for_granted() -> None:
    results = findings(limits.job_quotas, ("service-quotas", "list_service_quotas", {"Quotas": []}))
    assert [finding.state for finding in results] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        ([("Project", "Active")], "ok"),
        ([("Project", "Inactive")], "note"),
        ([], "note"),
    ],
)
def test_tag_must_be_active_for_the_budget_to_count(tags: list[tuple[str, str]], state: str) -> None:
    answer = [{"TagKey": key, "Type": "UserDefined", "Status": status} for key, status in tags]
    (finding,) = findings(limits.cost_tag, ("ce", "list_cost_allocation_tags", {"CostAllocationTags": answer}))
    assert finding.state == state


@pytest.mark.parametrize(
    ("fields", "states"),
    [
        ({}, ["missing", "note", "note"]),
        ({"cluster_cidrs": "203.0.113.7/32", "alert_email": "a@example.com", "backstop": True}, []),
    ],
)
def test_settings_that_leave_one_outside_or_uninformed_are_named(fields: dict[str, Any], states: list[str]) -> None:
    assert [finding.state for finding in findings(project.access, **fields)] == states


def test_another_region_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    (finding,) = findings(caller.regions)
    assert (finding.state, "AWS_REGION says us-east-1" in finding.what) == ("missing", True)


def test_without_docker_no_image_reaches_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (finding,) = findings(project.tools)
    assert finding.state == "note"


def test_what_may_not_be_asked_is_unknown_with_the_reason_and_the_rest_goes_on() -> None:
    refused = ("ce", "list_cost_allocation_tags", "AccessDeniedException")
    account = Account(Aws(refused), Settings())
    results = [finding for _, finding in command.run_checks(account, [limits.cost_tag, project.access])]
    assert results[0].state == "unknown"
    assert "AccessDeniedException" in results[0].what
    assert len(results) > 1


def test_login_that_has_expired_is_missing() -> None:
    (finding,) = findings(caller.identity, ("sts", "get_caller_identity", "ExpiredToken"))
    assert (finding.state, "ExpiredToken" in finding.what) == ("missing", True)


@pytest.mark.parametrize(("missing", "code"), [([], 0), ([Finding("missing", "x")], 1), ([Finding("note", "x")], 0)])
def test_only_what_is_missing_fails(monkeypatch: pytest.MonkeyPatch, missing: list[Finding], code: int) -> None:
    monkeypatch.setattr(command, "run_checks", lambda _account: [("check", finding) for finding in missing])
    for name, key in KEYS.items():
        monkeypatch.setenv(name.upper(), key)
    assert main(["preflight"]) == code


def test_without_credentials_it_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boto3.Session, "get_credentials", lambda _session: None)
    assert main(["preflight"]) == 1
    assert "aws sso login" in capsys.readouterr().err
