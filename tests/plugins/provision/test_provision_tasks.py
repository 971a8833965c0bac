"""Where provision refuses to work, and what the smoke Job is told."""

import json
from types import SimpleNamespace

import boto3
import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException
from botocore.stub import Stubber

from include.settings import CLUSTER_NAME, Settings, settings
from retail_mlops.common import smoke_buckets
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.common.ownership import INGRESS_TAG
from retail_mlops.provision import alb_controller as controller
from retail_mlops.provision import smoke_test, tasks

DIGEST = "sha256:" + "1" * 64


class Sts:
    account = "123456789012"

    def __init__(self, **_options):
        self.conn = self

    def get_caller_identity(self):
        return {"Arn": f"arn:aws:iam::{self.account}:user/me", "Account": self.account}


@pytest.fixture
def sts(monkeypatch):
    monkeypatch.setattr(tasks, "StsHook", Sts)
    monkeypatch.setenv("AWS_REGION", "ap-southeast-1")
    monkeypatch.setattr(tasks, "Clients", lambda _connection: SimpleNamespace(load_balancers=list))


def test_right_region_and_account_pass(sts):
    tasks.check_account()


@pytest.mark.parametrize("name", tasks.REGION_VARIABLES)
def test_variable_of_another_region_is_refused(sts, monkeypatch, name):
    monkeypatch.setenv(name, "us-east-1")
    with pytest.raises(RetailError, match=f"{name} says us-east-1"):
        tasks.check_account()


@pytest.mark.parametrize("name", ["aws_admin", "aws_default"])
def test_connection_of_another_region_is_refused(sts, monkeypatch, name):
    elsewhere = json.dumps({"conn_type": "aws", "extra": {"region_name": "eu-west-1"}})
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", elsewhere)
    with pytest.raises(RetailError, match=f"connection {name} says eu-west-1"):
        tasks.check_account()


def test_another_account_is_refused(sts, monkeypatch):
    monkeypatch.setattr(Sts, "account", "999999999999")
    with pytest.raises(RetailError, match="999999999999, but RETAIL_ACCOUNT_ID is 123456789012"):
        tasks.check_account()


# --- the load balancer controller ---
ALB = ({"LoadBalancerName": "mlops-retail-dev"}, {"elbv2.k8s.aws/cluster": CLUSTER_NAME, INGRESS_TAG: "mlops/x"})
OTHERS = (
    ({"LoadBalancerName": "a1"}, {f"kubernetes.io/cluster/{CLUSTER_NAME}": "owned"}),
    ({"LoadBalancerName": "b2"}, {"elbv2.k8s.aws/cluster": "another", INGRESS_TAG: "mlops/x"}),
)
PINNED = "sha256:" + "2" * 64
IMAGE = f"123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/mlops/aws-load-balancer-controller@{DIGEST}"


def balancers(monkeypatch, *found):
    monkeypatch.setattr(tasks, "Clients", lambda _connection: SimpleNamespace(load_balancers=lambda: found))


@pytest.fixture
def alb(monkeypatch):
    told = Settings(endpoint_kind="alb", controller_digest=PINNED)
    monkeypatch.setattr(tasks, "settings", lambda: told)


def test_nlb_is_refused_while_an_alb_would_lose_its_controller(sts, monkeypatch):
    balancers(monkeypatch, *OTHERS, ALB)
    with pytest.raises(RetailError, match=r"load balancer mlops-retail-dev is an alb.*public_endpoint off"):
        tasks.check_account()


def test_other_load_balancers_are_nobodys_orphans(sts, monkeypatch):
    balancers(monkeypatch, *OTHERS)
    tasks.check_account()


def test_alb_with_its_controller_is_no_orphan(monkeypatch, alb):
    balancers(monkeypatch, ALB)
    tasks._refuse_to_orphan_balancers()


def test_missing_crds_are_told_before_anything_is_made(sts, monkeypatch, alb, tmp_path):
    (tmp_path / "crds.sha256").write_text("0  crds.yaml")
    monkeypatch.setattr(controller, "FOLDER", tmp_path)
    with pytest.raises(RetailError, match=r"crds\.yaml is missing: run `make alb-controller`"):
        tasks.check_account()


@pytest.fixture
def images(monkeypatch):
    """Our registry without the image, and what was asked for to copy it."""
    asked = []
    there = SimpleNamespace(tagged=lambda *_: None, open=lambda repository: f"ours: {repository}")
    monkeypatch.setattr(tasks, "ImageHook", lambda _connection: there)
    monkeypatch.setattr(tasks, "copy_image", lambda source, *rest: asked.append((source, *rest)) or DIGEST)
    return SimpleNamespace(there=there, asked=asked)


def test_controllers_image_is_copied_from_its_makers_by_the_digest_that_was_pinned(alb, images):
    assert tasks.copy_controller_image() == IMAGE
    ((source, tag, target, pinned),) = images.asked
    assert (source.registry, source.name) == ("https://public.ecr.aws", "eks/aws-load-balancer-controller")
    assert (tag, target, pinned) == ("v3.2.2", "ours: mlops/aws-load-balancer-controller", PINNED)


def test_image_that_is_there_is_not_copied_again(alb, images):
    images.there.tagged = lambda repository, tag: f"{repository}:{tag}"
    assert tasks.copy_controller_image() == "mlops/aws-load-balancer-controller:v3.2.2"
    assert images.asked == []


def test_without_an_alb_no_image_is_copied(images, caplog):
    with pytest.raises(AirflowSkipException):
        tasks.copy_controller_image()
    assert "RETAIL_ENDPOINT_KIND is nlb" in caplog.text
    assert images.asked == []


# --- GitHub's login: one an account, whoever made it ---
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"


@pytest.fixture
def stub(monkeypatch):
    """Makes a Stubber in place of the client of one service."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}

    def of(service):
        client = boto3.client(service, region_name="ap-southeast-1", **keys)
        monkeypatch.setattr(
            tasks, "AwsBaseHook", lambda *_, client_type, **__: SimpleNamespace(conn={service: client}[client_type])
        )
        made.append(Stubber(client))
        made[-1].activate()
        return made[-1]

    made = []
    yield of
    for one in made:
        one.assert_no_pending_responses()


@pytest.fixture
def iam(stub, monkeypatch):
    """IAM with these providers, asked for the workflows of a repository."""

    def listed(*providers):
        iam = stub("iam")
        found = {"OpenIDConnectProviderList": [{"Arn": arn} for arn in providers]}
        iam.add_response("list_open_id_connect_providers", found, {})
        return iam

    monkeypatch.setenv("RETAIL_GITHUB_REPOSITORY", "octo/retail")
    settings.cache_clear()
    yield listed
    monkeypatch.undo()
    settings.cache_clear()


def test_github_login_is_made_once_and_for_no_environment_in_particular(iam):
    of_cluster = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.ap-southeast-1.amazonaws.com/id/1"
    iam(of_cluster).add_response(
        "create_open_id_connect_provider",
        {"OpenIDConnectProviderArn": PROVIDER},
        {
            "Url": "https://token.actions.githubusercontent.com",
            "ClientIDList": ["sts.amazonaws.com"],
            "Tags": [{"Key": "Project", "Value": "RetailMLOps"}],
        },
    )
    tasks.create_github_login({"dry_run": False})


@pytest.mark.parametrize(("there", "dry_run", "said"), [([PROVIDER], False, "exists"), ([], True, "would be created")])
def test_github_login_that_is_there_is_not_made_and_a_dry_run_makes_none(iam, caplog, there, dry_run, said):
    iam(*there)
    tasks.create_github_login({"dry_run": dry_run})
    assert said in "\n".join(caplog.messages)


def test_without_a_repository_nobody_logs_in_from_github(caplog):
    tasks.create_github_login({"dry_run": False})
    assert "names no repository" in "\n".join(caplog.messages)


# --- the tag that the budget counts by ---
ACTIVATE = {"CostAllocationTagsStatus": [{"TagKey": "Project", "Status": "Active"}]}
NOT_SEEN = {"TagKey": "Project", "Code": "TagKeysNotFoundException", "Message": "Tag keys not found: Project"}


@pytest.mark.parametrize(
    ("errors", "said"), [([], "is active"), ([NOT_SEEN], "not found: Project\nRun provision again")]
)
def test_cost_tag_is_activated_or_what_to_do_is_said(stub, caplog, errors, said):
    stub("ce").add_response("update_cost_allocation_tags_status", {"Errors": errors}, ACTIVATE)
    tasks.activate_cost_tag()
    assert said in "\n".join(caplog.messages)


def test_cost_tag_that_this_account_may_not_activate_fails_nothing(stub, caplog):
    stub("ce").add_client_error("update_cost_allocation_tags_status", "AccessDeniedException", "a linked account")
    tasks.activate_cost_tag()
    assert "a linked account\nRun provision again" in "\n".join(caplog.messages)


def test_dry_run_ends_after_the_change_sets():
    assert tasks.stop_after_dry_run({"dry_run": False})
    assert not tasks.stop_after_dry_run({"dry_run": True})


def test_bootstrap_makes_the_service_account_that_the_smoke_job_runs_as():
    made = {(item["kind"], item["metadata"]["name"]): item for item in tasks.cluster_basics({})}
    account = made["ServiceAccount", "retail-api-sa"]
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith("role/mlops-retail-dev-api")
    assert account["metadata"]["namespace"] == "mlops"


def test_smoke_job_runs_the_digest_and_is_told_what_to_read_and_what_not():
    manifest = yaml.safe_load((ROOT / "k8s" / "smoke-job.yaml").read_text())
    job = smoke_test.smoke_job(manifest, smoke_test.SmokeTest(f"r/mlops/retail-api@{DIGEST}", "7", "other"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable["value"] for variable in container["env"]}
    assert container["image"].endswith(DIGEST)
    assert told["SMOKE_READ"] == "s3://mlops-retail-prediction-dev-123456789012/artifacts/releases/.smoke"
    assert told["SMOKE_CONTENT"] == "7"
    assert told["SMOKE_DENIED"].split() == [
        "s3://mlops-retail-prediction-dev-123456789012/tmp/.smoke",
        "s3://other/artifacts/releases/.smoke",
    ]


def test_the_foreign_bucket_has_a_name_that_s3_accepts():
    assert len(smoke_buckets.prefix()) + 10 <= 63 - 9  # an environment's name may be nine letters longer
