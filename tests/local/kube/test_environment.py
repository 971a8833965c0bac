import pytest

from local.kube import environment
from local.kube.api import loopback

MOUNTS = {"/tmp": "/pods/p/volumes/tmp", "/var/run/secrets/token": "/tmp/state/volumes/token"}
POD = {
    "metadata": {
        "name": "api-1",
        "namespace": "mlops",
        "labels": {"app": "api", "retail/track": "stable"},
        "annotations": {"note": "x"},
    },
    "spec": {"nodeName": "i-1", "serviceAccountName": "api-sa"},
    "status": {"podIP": "10.17.0.9"},
}


def test_the_api_shows_10_and_processes_listen_at_127():
    assert loopback("10.17.3.9") == "127.17.3.9"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/tmp", "/pods/p/volumes/tmp"),
        ("--dir=/tmp/a:/tmp", "--dir=/pods/p/volumes/tmp/a:/pods/p/volumes/tmp"),
        ("/tmpfile /var/tmp ./tmp", "/tmpfile /var/tmp ./tmp"),
        ("http://0.0.0.0:80", "http://127.17.0.9:80"),
        ("10.0.0.0 and 0.0.0.0.1", "10.0.0.0 and 0.0.0.0.1"),
    ],
)
def test_mount_paths_and_the_any_address_become_those_of_the_pod(text, expected):
    assert environment.localize(text, MOUNTS, "127.17.0.9") == expected


def test_a_directory_that_was_put_in_is_not_rewritten_again():
    path = environment.localize("/var/run/secrets/token/token", MOUNTS, "127.17.0.9")
    assert path == "/tmp/state/volumes/token/token"


def test_the_longest_mount_path_wins():
    mounts = {"/data": "/short", "/data/models": "/long"}
    assert environment.localize("/data/models/a /data/b", mounts, "") == "/long/a /short/b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(HOST):$(PORT)", "h:1"), ("$(NONE)", "$(NONE)"), ("$$(HOST)", "$(HOST)"), ("$HOST", "$HOST")],
)
def test_references_to_variables_are_expanded_as_kubernetes_does(text, expected):
    assert environment.expand(text, {"HOST": "h", "PORT": "1"}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "api-1"),
        ("metadata.namespace", "mlops"),
        ("metadata.labels['retail/track']", "stable"),
        ("metadata.annotations['absent']", ""),
        ("metadata.labels", 'app="api"\nretail/track="stable"'),
        ("spec.nodeName", "i-1"),
        ("spec.serviceAccountName", "api-sa"),
        ("status.podIP", "127.17.0.9"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_field_references(path, expected):
    assert environment.field(POD, path, loopback(POD["status"]["podIP"])) == expected


def test_a_resource_field_is_the_containers_or_else_the_nodes():
    container = {"resources": {"limits": {"memory": "384Mi"}}}
    capacity = {"cpu": "2", "memory": "8Gi"}
    memory = {"resource": "limits.memory", "divisor": "1Mi"}
    assert environment.resource(memory, container, capacity) == "384"
    assert environment.resource({"resource": "limits.cpu"}, container, capacity) == "2"


def test_services_of_the_same_namespace_are_linked_where_they_really_listen():
    def service(name, namespace, address):
        spec = {"clusterIP": address, "ports": [{"port": 80}]}
        return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}

    services = [
        service("retail-api", "mlops", "10.16.1.2"),
        service("other", "elsewhere", "10.16.1.3"),
        service("headless", "mlops", "None"),
    ]
    assert environment.service_links(services, "mlops", lambda port: port + 10000) == {
        "RETAIL_API_SERVICE_HOST": "127.16.1.2",
        "RETAIL_API_SERVICE_PORT": "10080",
        "RETAIL_API_PORT": "tcp://127.16.1.2:10080",
    }
