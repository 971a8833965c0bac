"""Applying a Deployment whose predecessor of the same name still drains."""

from types import SimpleNamespace

import pytest
from kubernetes.client.exceptions import ApiException

from retail_mlops.hooks import eks_cluster as module
from retail_mlops.hooks.eks_cluster import Cluster

CANARY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "canary"}, "spec": {"replicas": 1}}


class Draining(Cluster):
    """A cluster whose Deployment is as `states` says, one a look; `done` are the calls, in order."""

    def __init__(self, *states):
        self.api, self.states, self.done = None, list(states), []
        self.apps = SimpleNamespace(delete_namespaced_deployment=self._delete_call)

    def deployment(self, name):
        return self.states.pop(0)

    def _delete_call(self, name, namespace, propagation_policy):
        self.done.append(("delete", name, propagation_policy))
        if not self.states or self.states.pop(0) is None:
            raise ApiException(status=404)


@pytest.fixture
def applied(monkeypatch):
    """What is applied, with the number of calls before it."""
    objects = []
    resource = SimpleNamespace(server_side_apply=lambda **options: objects.append(options["body"]))
    client = SimpleNamespace(resources=SimpleNamespace(get=lambda **_: resource))
    monkeypatch.setattr(module, "DynamicClient", lambda _api: client)
    monkeypatch.setattr("retail_mlops.common.polling.time.sleep", lambda _seconds: None)
    return objects


def live(replicas, **metadata):
    return {"metadata": {"name": "canary", **metadata}, "spec": {"replicas": replicas}}


def test_deployment_that_is_being_deleted_is_waited_for(applied):
    ending = live(3, deletionTimestamp="2026-01-01T00:00:00Z")
    cluster = Draining(ending, ending, ending, None)
    cluster.apply([CANARY])
    assert [call[:2] for call in cluster.done] == [("delete", "canary")] * 3, "asked until it was gone"
    assert applied == [CANARY], "the new one has its own size"


def test_deployment_that_stays_keeps_its_size(applied):
    cluster = Draining(live(3))
    cluster.apply([CANARY])
    assert cluster.done == []
    assert [one["spec"]["replicas"] for one in applied] == [3]


def test_deletion_is_started_and_not_waited_for():
    cluster = Draining(live(1), live(1))
    cluster.start_deletion("canary")
    assert cluster.done == [("delete", "canary", "Foreground")]


def test_deletion_of_what_is_gone_is_none():
    Draining().start_deletion("canary")


def test_refused_deletion_is_an_error():
    cluster = Draining()

    def refuse(*_args, **_options):
        raise ApiException(status=403)

    cluster.apps.delete_namespaced_deployment = refuse
    with pytest.raises(ApiException):
        cluster.start_deletion("canary")
