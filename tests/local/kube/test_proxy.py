from local.kube import proxy
from local.kube.proxy import Backend

BACKEND = Backend("mlops", "retail-api", "http")


def service(name, *ports, kind="ClusterIP", address="10.16.0.1", created="2026-01-01T00:00:00Z", namespace="mlops"):
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": name, "creationTimestamp": created},
        "spec": {"type": kind, "clusterIP": address, "ports": [{"name": "http", **port} for port in ports]},
    }


def endpoint(address, **conditions):
    return {"addresses": [address], "conditions": conditions}


def endpoint_slice(*endpoints, service="retail-api", namespace="mlops"):
    return {
        "metadata": {"namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8000}],
        "endpoints": list(endpoints),
    }


def test_only_ready_endpoints_get_connections():
    slices = [
        endpoint_slice(endpoint("10.17.0.1", ready=True), endpoint("10.17.0.2", ready=False)),
        endpoint_slice(endpoint("10.18.0.1", ready=True), endpoint("10.18.0.9", ready=False, serving=True)),
        endpoint_slice(endpoint("10.17.0.3", ready=True), service="another"),
        endpoint_slice(endpoint("10.17.0.4", ready=True), namespace="elsewhere"),
    ]
    assert proxy.targets(slices, BACKEND) == [("127.17.0.1", 8000), ("127.18.0.1", 8000)]


def test_an_endpoint_that_ends_but_serves_is_the_last_resort():
    ending = endpoint("10.17.0.1", ready=False, serving=True, terminating=True)
    gone = endpoint("10.17.0.2", ready=False, serving=False, terminating=True)
    assert proxy.targets([endpoint_slice(ending, gone)], BACKEND) == [("127.17.0.1", 8000)]
    fresh = endpoint("10.17.0.3", ready=True)
    assert proxy.targets([endpoint_slice(ending, gone, fresh)], BACKEND) == [("127.17.0.3", 8000)]


def test_a_port_that_no_slice_has_gets_nothing():
    assert proxy.targets([endpoint_slice(endpoint("10.17.0.1", ready=True))], Backend("mlops", "retail-api", "x")) == []


def test_a_load_balancer_listens_at_its_port_and_a_node_port_at_its_own():
    services = [
        service("public", {"port": 8088, "nodePort": 30001}, kind="LoadBalancer", address="10.16.0.2"),
        service("node-port", {"port": 8080, "nodePort": 30002}, kind="NodePort", address="10.16.0.3"),
        service("headless", {"port": 80}, address="None"),
        service("kubernetes", {"port": 443}, address="10.16.0.4", namespace="default"),
    ]
    wanted, refused = proxy.routes(services, lowest=0)
    assert sorted(wanted) == [
        ("127.0.0.1", 8088),
        ("127.0.0.1", 30002),
        ("127.16.0.2", 8088),
        ("127.16.0.3", 8080),
    ]
    assert refused == {}


def test_of_two_services_with_one_port_the_older_one_keeps_it():
    first = service("a", {"port": 8088}, kind="LoadBalancer", address="10.16.0.2", created="2026-01-02T00:00:00Z")
    older = service("b", {"port": 8088}, kind="LoadBalancer", address="10.16.0.3", created="2026-01-01T00:00:00Z")
    wanted, refused = proxy.routes([first, older], lowest=0)
    assert wanted["127.0.0.1", 8088].service == "b"
    assert refused == {"a": [("127.0.0.1", 8088)]}


def test_an_ordinary_user_gets_cluster_addresses_above_the_ports_of_root():
    wanted, _ = proxy.routes([service("api", {"port": 80}, address="10.16.0.2")], lowest=1024)
    assert list(wanted) == [("127.16.0.2", 10080)]
    assert proxy.listen_port(8080, lowest=1024) == 8080
    assert proxy.listen_port(80, lowest=0) == 80
