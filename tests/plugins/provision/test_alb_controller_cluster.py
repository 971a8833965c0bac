"""The load balancer controller's manifests and the Ingress on a real API server: admitted, removed, made again."""

import base64
import datetime as dt
import subprocess
import sys
import threading
import time

import pytest
import yaml
from kubernetes import client
from kubernetes import config as kubeconfig
from kubernetes.client.exceptions import ApiException

from include.settings import NAMESPACE, Settings
from local.kube.controlplane import ControlPlane
from local.stack import config, kube_cluster
from retail_mlops.common import api_manifests
from retail_mlops.common.api_manifests import kind_and_name, rendered, service_account
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.eks_cluster import Cluster
from retail_mlops.hooks.public_endpoint import PublicEndpoint
from retail_mlops.provision import alb_controller as controller
from retail_mlops.release import manifests
from retail_mlops.schedule.capacity import Capacity
from tests.waiting import until

pytestmark = pytest.mark.integration

IMAGE = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/mlops/aws-load-balancer-controller@sha256:" + "a" * 64
HOST = "mlops-retail-dev-1.ap-southeast-1.elb.amazonaws.com"
ME = f"system:serviceaccount:{controller.NAME}:{controller.NAME}"
FINALIZER = "ingress.k8s.aws/resources"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """What provision has applied: a fresh namespace and the controller, which has no node to run on."""
    subprocess.run([sys.executable, "-m", "tools.fetch_alb_crds"], cwd=ROOT, check=True)
    stack = config.load(tmp_path_factory.mktemp("local stack"))
    spec = kube_cluster.spec(stack, stack.state / "kube" / "alb")
    plane = ControlPlane(spec, kube_cluster.ensure_binaries())
    try:
        plane.start()
        made = Cluster(kubeconfig.new_client_from_config(str(plane.kubeconfig)))
        made.apply([one for one in yaml.safe_load_all((ROOT / "k8s" / "bootstrap.yaml").read_text()) if one])
        certificate = controller.Certificate.make(dt.datetime.now(dt.UTC))
        for _ in range(2):  # the second time, nothing changes
            made.apply(controller.manifests(IMAGE, "vpc-1", certificate))
        yield made
    finally:
        plane.stop()
        config.forget(stack)


def endpoint(monkeypatch, **settings):
    """The endpoint's manifests with these settings."""
    for module in (api_manifests, manifests):
        monkeypatch.setattr(module, "settings", lambda: Settings(**settings))
    return manifests.endpoint_manifests(rendered())


@pytest.fixture
def alb(monkeypatch):
    return endpoint(monkeypatch, endpoint_kind="alb", endpoint_host="prices.example.com")


@pytest.fixture
def service(monkeypatch):
    return endpoint(monkeypatch, endpoint_kind="nlb")


@pytest.fixture
def public(cluster):
    yield PublicEndpoint(cluster, timeout=20, poll=0.1)
    ingresses = client.NetworkingV1Api(cluster.api)
    for one in ingresses.list_namespaced_ingress(NAMESPACE).items:
        ingresses.patch_namespaced_ingress(one.metadata.name, NAMESPACE, {"metadata": {"finalizers": None}})
    PublicEndpoint(cluster, timeout=20, poll=0.1).remove()


# --- what the API server says to the manifests ---
def test_controllers_pod_is_admitted_by_the_restricted_standard(cluster):
    (pod,) = until(lambda: cluster.core.list_namespaced_pod(controller.NAME).items)
    assert pod.spec.containers[0].image == IMAGE
    assert pod.status.phase == "Pending"  # no node


def test_a_pod_that_asks_for_more_is_refused_there(cluster):
    (deployment,) = cluster.apps.list_namespaced_deployment(controller.NAME).items
    template = cluster.api.sanitize_for_serialization(deployment.spec.template)
    template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    pod = {"metadata": {"name": "more"}, "spec": template["spec"]}
    with pytest.raises(ApiException, match="allowPrivilegeEscalation"):
        cluster.core.create_namespaced_pod(controller.NAME, pod, dry_run="All")


def test_crds_are_established(cluster):
    api = client.ApiextensionsV1Api(cluster.api)
    names = {"ingressclassparams.elbv2.k8s.aws", "targetgroupbindings.elbv2.k8s.aws"}

    def established():
        there = [(one.metadata.name, one.status.conditions) for one in api.list_custom_resource_definition().items]
        return {name for name, said in there if ("Established", "True") in [(one.type, one.status) for one in said]}

    assert until(lambda: names <= established())


def test_webhooks_certificate_is_one_the_api_server_accepts_and_pods_come_while_nobody_answers_it(cluster):
    (hook,) = client.AdmissionregistrationV1Api(cluster.api).list_mutating_webhook_configuration().items
    assert base64.b64decode(hook.webhooks[0].client_config.ca_bundle).startswith(b"-----BEGIN CERTIFICATE-----")
    job = yaml.safe_load((ROOT / "k8s" / "smoke-job.yaml").read_text())["spec"]["template"]
    job["metadata"] |= {"name": "ungated", "labels": {"app.kubernetes.io/name": "retail-api"}}
    cluster.apply([service_account(rendered())])
    cluster.core.create_namespaced_pod(NAMESPACE, job)
    cluster.core.delete_namespaced_pod("ungated", NAMESPACE, grace_period_seconds=0)


@pytest.mark.parametrize(
    ("allowed", "verb", "group", "resource", "namespace"),
    [
        (True, "patch", "networking.k8s.io", "ingresses", NAMESPACE),
        (True, "create", "elbv2.k8s.aws", "targetgroupbindings", NAMESPACE),
        (True, "watch", "networking.k8s.io", "ingressclasses", None),
        (True, "create", "coordination.k8s.io", "leases", controller.NAME),
        (False, "get", "", "secrets", NAMESPACE),
        (False, "get", "", "secrets", controller.NAME),
        (False, "patch", "", "services", NAMESPACE),
        (False, "delete", "networking.k8s.io", "ingresses", NAMESPACE),
        (False, "create", "", "pods", NAMESPACE),
        (False, "list", "", "pods", "kube-system"),
        (False, "patch", "", "nodes", None),
    ],
)
def test_controller_may_do_its_work_and_no_more(cluster, allowed, verb, group, resource, namespace):
    asked = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    review = client.V1SubjectAccessReview(spec={"user": ME, "resourceAttributes": asked})
    answer = client.AuthorizationV1Api(cluster.api).create_subject_access_review(review)
    assert answer.status.allowed is allowed


# --- the Ingress is an endpoint like the Service ---
def test_ingress_is_accepted_recorded_removed_and_made_again_as_it_was(cluster, public, alb):
    cluster.apply(alb)
    state = Capacity(cluster).state([], public.live())
    assert [kind_and_name(service) for service in state.services] == [("Ingress", "retail-api-public")]
    public.remove()
    assert public.live() == []
    cluster.apply(list(state.services))
    assert Capacity(cluster).state([], public.live()).services == state.services


def test_address_is_waited_for_until_the_controller_says_it(cluster, public, alb):
    cluster.apply(alb)
    status = {"status": {"loadBalancer": {"ingress": [{"hostname": HOST}]}}}

    def controllers_work():
        client.NetworkingV1Api(cluster.api).patch_namespaced_ingress_status("retail-api-public", NAMESPACE, status)

    later = threading.Timer(1, controllers_work)
    later.start()
    began = time.monotonic()
    addresses = public.wait_for_addresses(alb)
    later.join()
    assert addresses == [f"http://prices.example.com:80 (point prices.example.com at {HOST})"]
    assert time.monotonic() - began > 0.9


def test_ingress_whose_load_balancer_does_not_go_is_named(cluster, public, alb):
    held = {"metadata": {"finalizers": [FINALIZER]}}
    cluster.apply(alb)
    client.NetworkingV1Api(cluster.api).patch_namespaced_ingress("retail-api-public", NAMESPACE, held)
    with pytest.raises(RetailError, match=r"(?s)Ingress retail-api-public.*its controller, which needs a node"):
        PublicEndpoint(cluster, timeout=1, poll=0.1).remove()


def test_endpoint_of_the_other_kind_goes_when_the_new_one_is_there(cluster, public, alb, service):
    cluster.apply(service)
    cluster.apply(alb)
    assert len(public.live()) == 2
    public.remove(except_for=alb)
    assert [item["kind"] for item in public.live()] == ["Ingress"]
