"""provision on an environment that is there: idempotent, planning, and with a smoke Job that can fail."""

import json

import pytest

from include.settings import settings

pytestmark = pytest.mark.timeout(1500)


def provision(live, **conf):
    """The run's states by task; asserts nothing about them."""
    run = live.airflow.trigger("provision", conf=conf)
    state = live.airflow.wait("provision", run, timeout=300)["state"]
    return run, state, live.airflow.states("provision", run)


def log(live, run, task):
    return live.airflow.log("provision", run, task)


def stacks(live):
    found = live.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: (stack["StackStatus"], stack.get("LastUpdatedTime")) for stack in found}


@pytest.fixture
def too_much(live):
    """The API's role with one right too many."""
    iam, role = live.client("iam"), settings().role("api").rpartition("/")[2]
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{settings().bucket}/tmp/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="too-much", PolicyDocument=policy)
    yield
    iam.delete_role_policy(RoleName=role, PolicyName="too-much")


def smoke_buckets(live):
    return [b["Name"] for b in live.client("s3").list_buckets()["Buckets"] if "-smoke-" in b["Name"]]


@pytest.mark.integration
def test_provision_again_changes_no_stack_and_ends_with_the_smoke_job(live):
    before = stacks(live)
    run, state, tasks = provision(live)
    assert state == "success"
    of_an_alb = {"copy_controller_image": "skipped", "install_controller": "skipped"}
    assert {task: one for task, one in tasks.items() if one != "success"} == of_an_alb
    assert "is up to date" in log(live, run, "cluster")
    assert '"result": "passed"' in log(live, run, "smoke_test")
    assert stacks(live) == before
    assert smoke_buckets(live) == []


@pytest.mark.faults
def test_role_that_may_do_more_fails_the_smoke_job_and_is_named(live, too_much):
    run, state, tasks = provision(live)
    assert (state, tasks["smoke_test"], tasks["clean_up_smoke_test"]) == ("failed", "failed", "success")
    assert f"s3://{settings().bucket}/tmp/.smoke: allowed, and must not be" in log(live, run, "smoke_test")
    assert smoke_buckets(live) == []


@pytest.mark.faults
def test_dry_run_shows_what_was_changed_by_hand_and_touches_nothing(live):
    s3, before = live.client("s3"), stacks(live)
    s3.put_bucket_versioning(Bucket=settings().bucket, VersioningConfiguration={"Status": "Suspended"})
    try:
        run, state, tasks = provision(live, dry_run=True)
    finally:
        s3.put_bucket_versioning(Bucket=settings().bucket, VersioningConfiguration={"Status": "Enabled"})
    assert (state, tasks["smoke_test"]) == ("success", "skipped")
    assert "Bucket (AWS::S3::Bucket) was modified: /VersioningConfiguration/Status" in log(live, run, "lake")
    assert stacks(live) == before
