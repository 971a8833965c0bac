"""What a release makes of the rendered manifests: its pods, its canary, its public endpoint."""

import copy

import pytest

from include.settings import Settings
from retail_mlops.common import api_manifests
from retail_mlops.common.api_manifests import ALB, public_address, rendered
from retail_mlops.common.errors import RetailError
from retail_mlops.release import manifests as release_module
from retail_mlops.release.manifests import (
    IN_SERVICE,
    LOAD_BALANCER_TAGS,
    canary_manifests,
    endpoint_manifests,
    release_manifests,
)
from tests.plugins.releases import BUCKET, IMAGE, RELEASE

KINDS = {
    "eks": {"overlay": "eks"},
    "eks-alb": {"overlay": "eks", "endpoint_kind": "alb"},
    "embedded": {"overlay": "embedded"},
}
CERTIFICATE = f"arn:aws:acm:ap-southeast-1:123456789012:certificate/{'0' * 8}-0000-0000-0000-{'0' * 12}"


def using(monkeypatch, **told):
    for module in (api_manifests, release_module):
        monkeypatch.setattr(module, "settings", lambda: Settings(endpoint_port=8088, **told))
    return rendered()


@pytest.fixture(params=KINDS)
def overlay(request, monkeypatch):
    return using(monkeypatch, **KINDS[request.param])


def one(manifests, kind, name):
    return next(item for item in manifests if (item["kind"], item["metadata"]["name"]) == (kind, name))


def environment(container):
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def test_pods_run_the_image_and_are_told_the_release(overlay):
    pod = one(release_manifests(overlay, RELEASE), "Deployment", "retail-api")["spec"]["template"]
    container = pod["spec"]["containers"][0]

    assert container["image"] == IMAGE
    told = environment(container)
    assert told["MODEL_PACKAGE_ARN"] == RELEASE.model_package_arn
    assert told["BUNDLE_DIGEST"] == "b" * 64
    assert told["MODEL_DATA_URL"] == f"s3://{BUCKET}/artifacts/releases/v3-0123456789/model.tar.gz"
    assert told["RELEASE_ID"] == "v3-0123456789"
    assert told["AWS_REGION"] == "ap-southeast-1"
    assert "PORT" in told  # what the manifest says itself stays
    assert len(told) == len(container["env"])


def test_annotations_say_what_runs(overlay):
    deployment = one(release_manifests(overlay, RELEASE), "Deployment", "retail-api")
    for metadata in (deployment["metadata"], deployment["spec"]["template"]["metadata"]):
        assert {
            key: metadata["annotations"][f"retail-mlops/{key}"] for key in ("release", "bundle-digest", "image")
        } == {
            "release": "v3-0123456789",
            "bundle-digest": "b" * 64,
            "image": IMAGE,
        }
    assert RELEASE.runs_as(deployment)
    assert RELEASE.is_live(deployment)


def test_role_comes_from_the_settings(overlay):
    manifests = release_manifests(overlay, RELEASE)
    account = one(manifests, "ServiceAccount", "retail-api-sa")
    role = "arn:aws:iam::123456789012:role/mlops-retail-dev-api"
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == role


TAGS = {"Project", "Environment", "Component", "Owner", "CostCenter"}


def names_of(tags):
    return {tag.partition("=")[0] for tag in tags.split(",")}


@pytest.mark.parametrize("kind", ["eks", "embedded"])
def test_endpoint_is_a_service_at_the_port_of_the_settings_with_their_tags(monkeypatch, kind):
    (public,) = endpoint_manifests(using(monkeypatch, **KINDS[kind]))
    assert (public["kind"], public["metadata"]["name"]) == ("Service", "retail-api-public")
    assert public["spec"]["ports"][0]["port"] == 8088
    assert names_of(public["metadata"]["annotations"][LOAD_BALANCER_TAGS]) == TAGS


def alb(monkeypatch, **told):
    """The Ingress, and what it says to its controller."""
    (public,) = endpoint_manifests(using(monkeypatch, overlay="eks", endpoint_kind="alb", **told))
    assert (public["kind"], public["metadata"]["name"]) == ("Ingress", "retail-api-public")
    return public, {key.removeprefix(ALB): text for key, text in public["metadata"]["annotations"].items()}


def test_endpoint_of_an_alb_is_an_ingress_at_the_port_of_the_settings_with_their_tags(monkeypatch):
    public, said = alb(monkeypatch)
    assert said["listen-ports"] == '[{"HTTP": 8088}]'
    assert said["load-balancer-name"] == "mlops-retail-dev"
    assert names_of(said["tags"]) == TAGS
    assert "host" not in public["spec"]["rules"][0]
    assert not {"certificate-arn", "ssl-redirect", "ssl-policy"} & set(said)


def test_certificate_makes_the_port_lead_to_https(monkeypatch):
    _, said = alb(monkeypatch, endpoint_certificate_arn=CERTIFICATE)
    assert said["listen-ports"] == '[{"HTTP": 8088}, {"HTTPS": 443}]'
    assert (said["certificate-arn"], said["ssl-redirect"]) == (CERTIFICATE, "443")
    assert "TLS13" in said["ssl-policy"]


def test_host_is_the_only_one_that_is_answered(monkeypatch):
    public, _ = alb(monkeypatch, endpoint_host="prices.example.com")
    assert [rule["host"] for rule in public["spec"]["rules"]] == ["prices.example.com"]


def live(public, **found):
    return public | {"status": {"loadBalancer": {"ingress": [found]} if found else {}}}


def test_address_of_a_service_is_its_load_balancers(monkeypatch):
    (public,) = endpoint_manifests(using(monkeypatch, overlay="eks"))
    assert public_address(live(public)) == ""
    assert public_address(live(public, hostname="a.elb")) == "http://a.elb:8088"
    assert public_address(live(public, ip="127.0.0.1")) == "http://127.0.0.1:8088"


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ({}, "http://a.elb:8088"),
        ({"endpoint_certificate_arn": CERTIFICATE}, "https://a.elb:443"),
        (
            {"endpoint_certificate_arn": CERTIFICATE, "endpoint_host": "prices.example.com"},
            "https://prices.example.com:443 (point prices.example.com at a.elb)",
        ),
    ],
)
def test_address_of_an_ingress_says_how_to_ask_and_where_a_name_of_ones_own_has_to_lead(monkeypatch, told, address):
    public, _ = alb(monkeypatch, **told)
    assert public_address(live(public)) == ""
    assert public_address(live(public, hostname="a.elb")) == address


def test_public_endpoint_is_not_part_of_a_release(overlay):
    for manifests in (release_manifests(overlay, RELEASE), canary_manifests(overlay, RELEASE)):
        assert not any(item["kind"] == "Ingress" for item in manifests)
        types = [item["spec"]["type"] for item in manifests if item["kind"] == "Service"]
        assert set(types) == {"ClusterIP"}


def test_rendered_manifests_stay_as_they_are(overlay):
    before = copy.deepcopy(overlay)
    release_manifests(overlay, RELEASE)
    assert overlay == before


def test_missing_object_is_named(overlay):
    without = [item for item in overlay if item["kind"] != "ServiceAccount"]
    with pytest.raises(RetailError, match="has no ServiceAccount retail-api-sa"):
        release_manifests(without, RELEASE)


def matches(selector, labels):
    return selector.items() <= labels.items()


def test_canary_is_the_very_pod_that_will_be_promoted_but_outside_the_services(overlay):
    stable = one(release_manifests(overlay, RELEASE), "Deployment", "retail-api")
    canary = one(canary_manifests(overlay, RELEASE), "Deployment", "retail-api-canary")
    assert canary["spec"]["replicas"] == 1
    assert canary["spec"]["template"]["spec"] == stable["spec"]["template"]["spec"]
    assert RELEASE.is_live(canary)

    labels = canary["spec"]["template"]["metadata"]["labels"]
    selectors = {item["metadata"]["name"]: item["spec"]["selector"] for item in overlay if item["kind"] == "Service"}
    reached = {name for name, selector in selectors.items() if matches(selector, labels)}
    assert reached == {"retail-api-canary"}
    joined = labels | IN_SERVICE
    users = {"retail-api", "retail-api-public"} & selectors.keys()  # an Ingress leads to the first
    assert {name for name, selector in selectors.items() if matches(selector, joined)} == reached | users
    assert matches(canary["spec"]["selector"]["matchLabels"], labels)
    assert not matches(stable["spec"]["selector"]["matchLabels"], joined)


def test_canary_leaves_what_serves_alone(overlay):
    touched = {(item["kind"], item["metadata"]["name"]) for item in canary_manifests(overlay, RELEASE)}
    assert touched.isdisjoint(
        {
            ("Deployment", "retail-api"),
            ("HorizontalPodAutoscaler", "retail-api"),
            ("PodDisruptionBudget", "retail-api"),
            ("Service", "retail-api-public"),
        }
    )
    assert ("ServiceAccount", "retail-api-sa") in touched  # the first release has none yet
