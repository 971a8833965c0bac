"""The public endpoint in deploy, teardown and the cost schedule's look at what runs: a Service or an Ingress alike."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from include.settings import CLUSTER_NAME, Settings
from retail_mlops.common import api_manifests
from retail_mlops.common.ownership import INGRESS_TAG
from retail_mlops.release import manifests
from retail_mlops.release import tasks as deploy
from retail_mlops.schedule import running_resources
from retail_mlops.teardown import tasks as teardown

INGRESS = {"kind": "Ingress", "metadata": {"name": "retail-api-public"}}
SERVICE = {"kind": "Service", "metadata": {"name": "retail-api-public"}}


@pytest.fixture(params=["nlb", "alb"])
def kind(request, monkeypatch):
    told = Settings(endpoint_kind=request.param)
    for module in (api_manifests, manifests, teardown):
        monkeypatch.setattr(module, "settings", lambda: told)
    return {"nlb": "Service", "alb": "Ingress"}[request.param]


@pytest.fixture
def cluster(monkeypatch):
    """Of deploy; done: what it was asked to do, in order."""
    done = []
    there = SimpleNamespace(done=done, endpoints=[], released=None)

    @contextmanager
    def login(_hook):
        yield SimpleNamespace(
            apply=lambda manifests: done.append(("apply", [one["kind"] for one in manifests])),
            deployment=lambda _name: there.released,
        )

    public = SimpleNamespace(
        live=lambda: there.endpoints,
        remove=lambda except_for=(): done.append(("remove all but", [one["kind"] for one in except_for])),
    )
    monkeypatch.setattr(deploy.ClusterHook, "login", login)
    monkeypatch.setattr(deploy, "PublicEndpoint", lambda _cluster: public)
    return there


def run(wanted):
    deploy.update_endpoint({"public_endpoint": wanted})


def test_on_makes_the_endpoint_of_the_settings_and_then_removes_one_of_the_other_kind(cluster, kind):
    run(deploy.ON)
    assert cluster.done == [("apply", [kind]), ("remove all but", [kind])]


def test_off_removes_whatever_there_is(cluster, kind):
    cluster.endpoints = [INGRESS, SERVICE]
    run(deploy.OFF)
    assert cluster.done == [("remove all but", [])]


def test_keep_keeps_it_on_and_off_and_makes_it_for_the_first_release(cluster, kind):
    run(deploy.KEEP)
    cluster.released = {"kind": "Deployment"}
    run(deploy.KEEP)
    cluster.endpoints = [INGRESS]
    run(deploy.KEEP)
    assert cluster.done == [("apply", [kind]), ("remove all but", [kind])], "only the first time"


# --- teardown ---
@pytest.mark.parametrize(("stopped", "orphans"), [(True, ["mlops-retail-dev"]), (False, [])])
def test_alb_whose_controller_has_no_node_is_deleted_directly(monkeypatch, kind, stopped, orphans):
    there = ["mlops-retail-dev"]
    hook = SimpleNamespace(
        cluster_status=lambda: "ACTIVE",
        balancers=lambda: [],
        delete_orphaned_balancers=lambda: [there.pop()],
    )

    @contextmanager
    def login(_hook):
        yield None

    monkeypatch.setattr(teardown, "TeardownHook", lambda _connection: hook)
    monkeypatch.setattr(teardown.ClusterHook, "login", login)
    monkeypatch.setattr(teardown, "delete_cluster_endpoints", lambda _cluster: ["mlops/retail-api-public"])
    monkeypatch.setattr(teardown, "is_stopped", lambda _connection: stopped)
    directly = orphans if kind == "Ingress" else []
    assert teardown.remove_endpoint() == ["mlops/retail-api-public", *directly]


# --- what runs and costs ---
@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({f"kubernetes.io/cluster/{CLUSTER_NAME}": "owned", "kubernetes.io/service-name": "mlops/a"}, "mlops/a"),
        ({"elbv2.k8s.aws/cluster": CLUSTER_NAME, INGRESS_TAG: "mlops/b"}, "mlops/b"),
        ({"Project": "RetailMLOps", "Environment": "dev"}, ""),
    ],
)
def test_load_balancer_says_what_it_was_made_for(monkeypatch, tags, named):
    one = {"LoadBalancerName": "x", "AvailabilityZones": [{}, {}], "Scheme": "internet-facing"}
    monkeypatch.setattr(
        running_resources, "Clients", lambda _connection: SimpleNamespace(load_balancers=lambda: [(one, tags)])
    )
    (found,) = running_resources.RunningResourcesHook().balancers()
    assert (found.name, found.addresses, found.service) == ("x", 2, named)
