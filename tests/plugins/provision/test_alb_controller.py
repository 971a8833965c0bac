"""What is applied of the load balancer controller: pinned, told what it cannot find out, with its own certificate."""

import base64
import datetime as dt
import hashlib
import shutil

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from include.settings import Settings
from retail_mlops.common.errors import RetailError
from retail_mlops.provision import alb_controller as controller
from retail_mlops.provision.alb_controller import Certificate

IMAGE = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/mlops/aws-load-balancer-controller@sha256:" + "a" * 64
NOW = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
CRDS = "---\n".join(f"kind: CustomResourceDefinition\nmetadata: {{name: {name}}}\n" for name in ("one", "two"))


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """k8s/alb-controller, with CRDS fetched; the path of them."""
    shutil.copy(controller.FOLDER / "controller.yaml", tmp_path)
    (tmp_path / "crds.yaml").write_text(CRDS)
    (tmp_path / "crds.sha256").write_text(f"{hashlib.sha256(CRDS.encode()).hexdigest()}  crds.yaml\n")
    monkeypatch.setattr(controller, "FOLDER", tmp_path)
    return tmp_path / "crds.yaml"


@pytest.fixture
def applied(monkeypatch, fetched):
    """What is applied for an environment, in order, and its certificate."""
    monkeypatch.setattr(controller, "settings", lambda: Settings(environment="blue", endpoint_kind="alb"))
    made = Certificate.make(NOW)
    return controller.manifests(IMAGE, "vpc-1", made), made


def one(manifests, kind):
    (found,) = [item for item in manifests if item["kind"] == kind]
    return found


def test_fetched_crds_are_those_that_were_pinned(fetched):
    assert [item["metadata"]["name"] for item in controller.crds()] == ["one", "two"]


def test_crds_that_were_not_fetched_say_what_to_do(fetched):
    fetched.unlink()
    with pytest.raises(RetailError, match=r"crds\.yaml is missing: run `make alb-controller`"):
        controller.crds()


def test_crds_of_another_version_are_refused(fetched):
    fetched.write_text(CRDS + "---\nkind: ClusterRole\n")
    with pytest.raises(RetailError, match=r"has SHA-256 \w+, not "):
        controller.crds()


def test_upstreams_image_is_named_by_registry_repository_and_version():
    assert controller.upstream() == "public.ecr.aws/eks/aws-load-balancer-controller:v3.2.2"


def test_controller_runs_our_copy_and_is_told_what_a_pod_cannot_ask_the_nodes_metadata(applied):
    (container,) = one(applied[0], "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    told = dict(text.removeprefix("--").partition("=")[::2] for text in container["args"])
    assert (told["cluster-name"], told["aws-region"], told["aws-vpc-id"]) == (
        "mlops-retail-cluster",
        "ap-southeast-1",
        "vpc-1",
    )
    tags = dict(pair.split("=") for pair in told["default-tags"].split(","))
    assert (tags["Project"], tags["Environment"], tags["Component"]) == ("RetailMLOps", "blue", "endpoint")


def test_its_account_becomes_the_role_of_the_cluster_stack(applied):
    account = one(applied[0], "ServiceAccount")["metadata"]
    role = "arn:aws:iam::123456789012:role/mlops-retail-blue-alb-controller"
    assert account["annotations"]["eks.amazonaws.com/role-arn"] == role
    assert (account["namespace"], account["name"]) == (controller.NAME, controller.NAME)


def test_api_server_trusts_the_certificate_that_the_controller_shows(applied):
    manifests, made = applied
    (hook,) = one(manifests, "MutatingWebhookConfiguration")["webhooks"]
    secret = one(manifests, "Secret")
    assert hook["clientConfig"]["caBundle"] == secret["data"]["tls.crt"]
    shown = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    names = shown.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    service = hook["clientConfig"]["service"]
    assert names.get_values_for_type(x509.DNSName) == [f"{service['name']}.{service['namespace']}.svc"]
    assert shown.not_valid_before_utc < NOW < NOW + dt.timedelta(days=3000) < shown.not_valid_after_utc
    assert Certificate.from_secret(secret["data"]) == made


def test_what_others_need_comes_before_them(applied):
    kinds = [item["kind"] for item in applied[0]]
    assert kinds[:3] == ["CustomResourceDefinition", "CustomResourceDefinition", "Namespace"]
    assert kinds.index("Secret") < kinds.index("Deployment")


def test_files_of_the_repository_stay_as_they_are(applied):
    assert yaml.safe_dump_all(controller.documents()).count(IMAGE) == 0
