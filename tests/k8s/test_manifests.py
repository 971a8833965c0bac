"""What deploy applies: rendered from the overlays, restricted, by digest, and gentle to users."""

import ipaddress
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from include import templates
from include.settings import API_NAME, API_SERVICE_ACCOUNT, NAMESPACE
from tools import render_manifests as render

K8S = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS = ("eks", "eks-alb", "embedded")

USERS = ("retail-api", "retail-api-public")
"""Services that users' requests come by."""

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
"""The securityContext of every container."""


def documents(path: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there
    return [document for document in yaml.load_all(path.read_text(), loader) if document]


@pytest.fixture(params=OVERLAYS)
def manifests(request) -> list[dict[str, Any]]:
    return documents(K8S / "rendered" / f"{request.param}.yaml")


def one(manifests: list[dict[str, Any]], kind: str, name: str = API_NAME) -> dict[str, Any]:
    (found,) = [item for item in manifests if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def workloads() -> list[Any]:
    found = [documents(K8S / f"{name}-job.yaml")[0] for name in ("verify", "smoke")]
    found += [one(documents(K8S / "rendered" / f"{overlay}.yaml"), "Deployment") for overlay in OVERLAYS]
    return [pytest.param(item, id=f"{item['kind']}-{number}") for number, item in enumerate(found)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Environment of render_manifests.py: kubectl from $KUBE_ASSETS, PATH or the cache; a cache in HOME."""
    return {"KUBECTL": render.kubectl(), "PATH": "", "HOME": str(tmp_path_factory.mktemp("home"))}


def test_rendered_manifests_are_those_of_the_overlays(environment):
    done = subprocess.run(
        [sys.executable, K8S.parent / "tools" / "render_manifests.py", "--check"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("overlay", "kind"), [("eks", "Service"), ("eks-alb", "Ingress"), ("embedded", "Service")])
def test_exactly_these_objects_are_applied(overlay, kind):
    manifests = documents(K8S / "rendered" / f"{overlay}.yaml")
    assert sorted((item["kind"], item["metadata"]["name"]) for item in manifests) == sorted(
        [
            ("Deployment", "retail-api"),
            ("HorizontalPodAutoscaler", "retail-api"),
            ("NetworkPolicy", "retail-api"),
            ("NetworkPolicy", "retail-api-verify"),
            ("PodDisruptionBudget", "retail-api"),
            ("Service", "retail-api"),
            ("Service", "retail-api-canary"),
            ("Service", "retail-api-stable"),
            ("ServiceAccount", "retail-api-sa"),
            (kind, "retail-api-public"),
        ]
    )
    assert {item["metadata"]["namespace"] for item in manifests} == {NAMESPACE}


@pytest.mark.parametrize("workload", workloads())
def test_pods_meet_the_restricted_standard(workload):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == API_SERVICE_ACCOUNT
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert {kind for volume in pod["volumes"] for kind in set(volume) - {"name"}} <= {"emptyDir", "secret"}
    for container in pod["containers"]:
        assert container["securityContext"] == RESTRICTED
        assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize("workload", workloads())
def test_images_are_named_by_digest(workload):
    for container in workload["spec"]["template"]["spec"]["containers"]:
        assert re.fullmatch(r"[^@:]+/mlops/retail-api@sha256:[0-9a-f]{64}", container["image"])


@pytest.mark.parametrize("workload", workloads())
def test_no_secret_stands_in_a_manifest(workload):
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    pod = workload["spec"]["template"]["spec"]
    keys = [variable["valueFrom"] for variable in container["env"] if variable["name"] == "API_KEY"]
    mounted = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert (keys, mounted) in (
        ([], []),
        ([{"secretKeyRef": {"name": "retail-api-key", "key": "API_KEY", "optional": True}}], []),
        ([], [{"secretName": "retail-api-key", "optional": True}]),
    )


def test_namespace_enforces_the_restricted_standard():
    labels = one(documents(K8S / "bootstrap.yaml"), "Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_namespace_denies_traffic_that_nobody_allowed():
    rule = one(documents(K8S / "bootstrap.yaml"), "NetworkPolicy", "default-deny")["spec"]
    assert rule == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_namespace_is_bounded_in_number_and_in_size():
    quota = one(documents(K8S / "bootstrap.yaml"), "ResourceQuota", NAMESPACE)["spec"]["hard"]
    (limit,) = one(documents(K8S / "bootstrap.yaml"), "LimitRange", NAMESPACE)["spec"]["limits"]
    assert {"pods", "requests.cpu", "requests.memory", "services.loadbalancers"} <= set(quota)
    assert {"defaultRequest", "default", "max"} <= set(limit)


def test_smoke_job_gets_out_to_names_and_aws_only():
    rule = one(documents(K8S / "bootstrap.yaml"), "NetworkPolicy", "retail-smoke")["spec"]
    job = documents(K8S / "smoke-job.yaml")[0]
    assert rule["podSelector"]["matchLabels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert "ingress" not in rule
    assert {port["port"] for entry in rule["egress"] for port in entry["ports"]} == {53, 443}


def test_airflow_gets_no_wildcard():
    rules = [rule for item in documents(K8S / "bootstrap.yaml") for rule in item.get("rules", [])]
    assert rules
    assert not any("*" in rule[field] for rule in rules for field in ("apiGroups", "resources", "verbs"))


def test_a_rollout_takes_no_pod_away_before_its_successor_serves(manifests):
    spec = one(manifests, "Deployment")["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["minReadySeconds"] > 0
    assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"]


def test_probes_tell_alive_from_ready(manifests):
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}


def test_a_pod_has_time_to_drain(manifests):
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pre_stop >= 5
    assert pod["terminationGracePeriodSeconds"] > pre_stop + 30  # the most that DRAIN_SECONDS allows


def test_autoscaler_and_budget_are_of_the_deployment(manifests):
    scaler = one(manifests, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    selected = one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    labels = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert selected.items() <= labels.items()


def test_services_of_users_select_only_pods_in_service(manifests):
    named = [item for item in manifests if item["kind"] == "Service" and item["metadata"]["name"] in USERS]
    assert named
    for service in (item["spec"] for item in named):
        assert service["selector"]["retail-mlops/in-service"] == "true"
        assert {port["targetPort"] for port in service["ports"]} == {"http"}


def test_ingress_leads_to_the_users_service_and_asks_pods_themselves_whether_they_are_ready():
    manifests = documents(K8S / "rendered" / "eks-alb.yaml")
    ingress = one(manifests, "Ingress", "retail-api-public")
    said = {key.partition("/")[2]: text for key, text in ingress["metadata"]["annotations"].items()}
    assert (said["scheme"], said["target-type"]) == ("internet-facing", "ip")
    ((path,),) = [rule["http"]["paths"] for rule in ingress["spec"]["rules"]]
    backend = path["backend"]["service"]
    service = one(manifests, "Service", backend["name"])
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["spec"]["selector"]["retail-mlops/in-service"] == "true"
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert said["healthcheck-path"] == container["readinessProbe"]["httpGet"]["path"]


def test_load_balancer_may_reach_the_pods():
    """Its addresses are those of the public subnets, which the rule's range has to hold."""
    rule = one(documents(K8S / "rendered" / "eks-alb.yaml"), "NetworkPolicy")["spec"]["ingress"][0]
    allowed = ipaddress.ip_network(rule["from"][0]["ipBlock"]["cidr"])
    network = templates.read((K8S.parent / "infra" / "network.yaml").read_text())["Resources"]
    public = [ipaddress.ip_network(network[f"PublicSubnet{zone}"]["Properties"]["CidrBlock"]) for zone in "AB"]
    assert all(subnet.subnet_of(allowed) for subnet in public)


# --- the load balancer controller ---
CONTROLLER = documents(K8S / "alb-controller" / "controller.yaml")


def test_controller_meets_the_restricted_standard_in_a_namespace_that_enforces_it():
    (namespace,) = [item for item in CONTROLLER if item["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = one(CONTROLLER, "Deployment", namespace["metadata"]["name"])["spec"]["template"]["spec"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == RESTRICTED


def test_controller_gets_no_wildcard_and_changes_nothing_outside_two_namespaces():
    rules = [(item["kind"], rule) for item in CONTROLLER for rule in item.get("rules", []) if "Role" in item["kind"]]
    assert len(rules) > 10
    for _, rule in rules:
        assert not any("*" in rule[field] for field in ("apiGroups", "resources", "verbs"))
        assert "secrets" not in rule["resources"]
    verbs = {verb for kind, rule in rules if kind == "ClusterRole" for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}


def test_controller_is_for_ingresses_of_one_namespace():
    (container,) = one(CONTROLLER, "Deployment", "aws-load-balancer-controller")["spec"]["template"]["spec"][
        "containers"
    ]
    assert {f"--watch-namespace={NAMESPACE}", "--ingress-class=alb"} <= set(container["args"])
    off = next(text for text in container["args"] if text.startswith("--feature-gates=")).partition("=")[2]
    assert dict(pair.split("=") for pair in off.split(",")) == {
        "EnableServiceController": "false",
        "NLBGatewayAPI": "false",
        "ALBGatewayAPI": "false",
        "LBCapacityReservation": "false",
    }


def test_pods_are_made_also_while_the_controller_is_away():
    (hook,) = one(CONTROLLER, "MutatingWebhookConfiguration", "aws-load-balancer-controller")["webhooks"]
    assert hook["failurePolicy"] == "Ignore"
    assert hook["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}


def test_network_rules_let_in_the_api_port_only(manifests):
    rule = one(manifests, "NetworkPolicy")["spec"]
    assert [port["port"] for entry in rule["ingress"] for port in entry["ports"]] == [8000]
    assert {port["port"] for entry in rule["egress"] for port in entry["ports"]} == {53, 443}
    verify = one(manifests, "NetworkPolicy", "retail-api-verify")["spec"]
    assert "ingress" not in verify


def test_an_overlay_that_does_not_build_is_reported(environment, tmp_path):
    broken = tmp_path / "k8s"
    (broken / "overlays" / "eks").mkdir(parents=True)
    (broken / "overlays" / "eks" / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    tool = tmp_path / "tools" / "render_manifests.py"
    tool.parent.mkdir()
    tool.write_text((K8S.parent / "tools" / "render_manifests.py").read_text())
    done = subprocess.run(
        [sys.executable, tool],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "k8s/overlays/eks does not build" in done.stderr
