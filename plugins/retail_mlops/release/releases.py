"""A release: which approved model runs in which image, and the manifests and records that follow from it."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from include import lake
from include.settings import API_NAME, API_SERVICE_ACCOUNT, HTTPS_PORT, settings
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.common.job_requests import url
from retail_mlops.training.approval_text import table

ANNOTATION: Final = "retail-mlops/"
CANARY: Final = f"{API_NAME}-canary"
"""Name of the canary's Deployment, and of the Service that leads to it alone."""
STABLE: Final = f"{API_NAME}-stable"
"""Name of the Service that leads to every pod but the canary's."""
TRACK: Final = "retail-mlops/track"
IN_SERVICE: Final = {"retail-mlops/in-service": "true"}
"""Label of the pods that get users' traffic."""
RELEASED, ROLLED_BACK, FAILED = "released", "rolled back", "failed"


@dataclass(frozen=True)
class Release:
    id: str
    model_package_arn: str
    version: int
    bundle_digest: str
    image: str
    source_url: str
    """s3:// URL of the training's model.tar.gz"""
    evidence_url: str
    """s3:// URL of the evaluation's evaluation.json; held_out.jsonl lies beside it"""
    previous: str | None = None
    """id of the release that ran before"""

    @property
    def model_key(self) -> str:
        return lake.release_model(self.id)

    @property
    def held_out_key(self) -> str:
        """The release's own copy of the held-out baskets that its verification replays."""
        return str(PurePosixPath(self.model_key).with_name("held_out.jsonl"))

    @property
    def held_out_source(self) -> str:
        return self.evidence_url.rpartition("/")[0] + "/held_out.jsonl"

    def annotations(self) -> dict[str, str]:
        return {
            f"{ANNOTATION}release": self.id,
            f"{ANNOTATION}model-package-arn": self.model_package_arn,
            f"{ANNOTATION}bundle-digest": self.bundle_digest,
            f"{ANNOTATION}image": self.image,
        }

    def environment(self) -> dict[str, str]:
        return {
            "MODEL_PACKAGE_ARN": self.model_package_arn,
            "BUNDLE_DIGEST": self.bundle_digest,
            "MODEL_DATA_URL": url(self.model_key),
            "RELEASE_ID": self.id,
            "AWS_REGION": settings().region,
        }

    def is_same(self, other: Release) -> bool:
        """Whether users would meet the same model in the same image."""
        return (self.bundle_digest, self.image) == (other.bundle_digest, other.image)

    def is_live(self, deployment: dict[str, Any] | None) -> bool:
        """Whether the live Deployment was applied by this very release."""
        live = (deployment or {}).get("metadata", {}).get("annotations", {})
        return live.get(f"{ANNOTATION}release") == self.id

    def runs_as(self, deployment: dict[str, Any] | None) -> bool:
        """Whether the live Deployment already runs this model in this image."""
        live = (deployment or {}).get("metadata", {}).get("annotations", {})
        mine = self.annotations()
        return all(live.get(key) == mine[key] for key in mine if key != f"{ANNOTATION}release")


LOAD_BALANCER_TAGS: Final = "service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags"
ALB: Final = "alb.ingress.kubernetes.io/"
"""Beginning of an Ingress's annotations that its controller reads."""
TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 with forward secrecy, and 1.3: AWS's recommendation."""


def overlay() -> str:
    """Name of the rendered manifests in force."""
    return settings().overlay + ("-alb" if settings().endpoint_kind == "alb" else "")


def rendered() -> list[dict[str, Any]]:
    """The manifests of the overlay in force, as `make manifests` rendered them."""
    path = ROOT / "k8s" / "rendered" / f"{overlay()}.yaml"
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def patched(manifests: list[dict[str, Any]], release: Release) -> list[dict[str, Any]]:
    """The manifests of a release: image by digest, what the pods are told, annotations, role; not the endpoint.

    RetailError when an object that has to be patched is not among them.
    """
    result = copy.deepcopy(manifests)
    find = {(item["kind"], item["metadata"]["name"]): item for item in result}
    wanted = ("Deployment", API_NAME), ("ServiceAccount", API_SERVICE_ACCOUNT)
    if missing := [f"{kind} {name}" for kind, name in wanted if (kind, name) not in find]:
        raise RetailError(f"k8s/rendered/{overlay()}.yaml has no {', '.join(missing)}")
    deployment = find[wanted[0]]
    service_account(result)
    template = deployment["spec"]["template"]
    for metadata in (deployment["metadata"], template["metadata"]):
        metadata.setdefault("annotations", {}).update(release.annotations())
    tell(template["spec"]["containers"][0], release.image, release.environment())
    return [item for item in result if not is_public(item)]


def endpoint(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What makes the API public, with the settings' port, tags, certificate and host: a Service of type LoadBalancer,
    or an Ingress."""
    found = copy.deepcopy([item for item in manifests if is_public(item)])
    tags = settings().tags | {"Component": "endpoint"}
    text = ",".join(f"{key}={text}" for key, text in tags.items())
    for item in found:
        if item["kind"] == "Ingress":
            item["metadata"]["annotations"] |= _of_alb(text)
            for rule in item["spec"]["rules"] if settings().endpoint_host else ():
                rule["host"] = settings().endpoint_host
        else:
            item["spec"]["ports"][0]["port"] = settings().endpoint_port
            item["metadata"]["annotations"][LOAD_BALANCER_TAGS] = text
    return found


def _of_alb(tags: str) -> dict[str, str]:
    """The annotations of an Ingress that follow from the settings."""
    ours, ports = settings(), [{"HTTP": settings().endpoint_port}]
    said = {"load-balancer-name": ours.prefix.strip("-"), "tags": tags}
    if ours.endpoint_certificate_arn:
        ports.append({"HTTPS": HTTPS_PORT})
        said |= {"certificate-arn": ours.endpoint_certificate_arn, "ssl-policy": TLS_POLICY}
        said["ssl-redirect"] = str(HTTPS_PORT)
    said["listen-ports"] = json.dumps(ports)
    return {f"{ALB}{key}": value for key, value in said.items()}


def is_public(item: dict[str, Any]) -> bool:
    """Whether a load balancer is made of it."""
    return item["kind"] == "Ingress" or (item["kind"] == "Service" and item["spec"].get("type") == "LoadBalancer")


def address(item: dict[str, Any]) -> str:
    """URL of a live endpoint (camelCase), with the load balancer's own name where users ask for another; "" while its
    load balancer is not there."""
    (found, *_) = item.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    name = found.get("hostname") or found.get("ip") or ""
    if not name or item["kind"] == "Service":
        return f"http://{name}:{item['spec']['ports'][0]['port']}" if name else ""
    (scheme, port) = next(iter(json.loads(item["metadata"]["annotations"][f"{ALB}listen-ports"])[-1].items()))
    host = item["spec"]["rules"][0].get("host", "")
    return f"{scheme.lower()}://{host or name}:{port}" + (f" (point {host} at {name})" if host else "")


def service_account(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The API's service account, found among the manifests and told its role in place."""
    account = next(item for item in manifests if item["kind"] == "ServiceAccount")
    account["metadata"].setdefault("annotations", {})["eks.amazonaws.com/role-arn"] = settings().role("api")
    return account


def canary(manifests: list[dict[str, Any]], release: Release) -> list[dict[str, Any]]:
    """One pod of the release that gets no traffic yet, and the account, network rules and Services that it needs, which
    the stable pods share; these themselves stay as they are."""
    needed = [
        item
        for item in patched(manifests, release)
        if item["kind"] in ("ServiceAccount", "NetworkPolicy", "Service", "Deployment")
    ]
    deployment = next(item for item in needed if item["kind"] == "Deployment")
    deployment["metadata"]["name"] = CANARY
    spec = deployment["spec"]
    spec |= {"replicas": 1, "strategy": {"type": "Recreate"}}
    spec["selector"]["matchLabels"][TRACK] = "canary"
    labels = spec["template"]["metadata"]["labels"]
    labels[TRACK] = "canary"
    for label in IN_SERVICE:
        del labels[label]
    return needed


def verification(release: Release, service: str = STABLE) -> dict[str, Any]:
    """The Job that replays the release's held-out baskets against a Service: not the users' own, in which a canary
    may answer for the pods that are to be verified."""
    told = {"VERIFY_URL": in_cluster_url(service), "VERIFY_MODEL_VERSION": str(release.version)}
    return _job(release, "verify" if service == STABLE else "verify-canary", "api.checks.verify", told)


def bake(release: Release, seconds: int) -> dict[str, Any]:
    """The Job that watches the canary beside the stable pods."""
    told = {
        "BAKE_CANARY": in_cluster_url(CANARY),
        "BAKE_STABLE": in_cluster_url(STABLE),
        "BAKE_SECONDS": str(seconds),
    }
    job = _job(release, "bake", "api.checks.bake", told)
    job["spec"]["activeDeadlineSeconds"] += seconds
    return job


def _job(release: Release, what: str, module: str, told: dict[str, str]) -> dict[str, Any]:
    """k8s/verify-job.yaml with another program: the image is the release's, so the program is, too."""
    job = yaml.safe_load((ROOT / "k8s" / "verify-job.yaml").read_text())
    job["metadata"]["name"] = f"{API_NAME}-{what}-{release.id}"
    job["metadata"]["annotations"][f"{ANNOTATION}release"] = release.id
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python", "-m", module]
    told = told | {"VERIFY_BASKETS": url(release.held_out_key), "AWS_REGION": settings().region}
    tell(container, release.image, told)
    return job


def in_cluster_url(service: str) -> str:
    """Where a pod of the namespace finds a Service: Kubernetes fills both variables, with or without a DNS add-on."""
    name = service.replace("-", "_").upper()
    return f"http://$({name}_SERVICE_HOST):$({name}_SERVICE_PORT)"


def tell(container: dict[str, Any], image: str, told: dict[str, str]) -> None:
    """Sets a container's image and environment variables, in place; its other variables stay."""
    container["image"] = image
    kept = [variable for variable in container.get("env", []) if variable["name"] not in told]
    container["env"] = [{"name": name, "value": value} for name, value in told.items()] + kept


def record(
    release: Release, outcome: str, at: str, run: str, reason: str = "", checks: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What is kept of a release at logs/deployments/<release>.json.

    at: ISO time; run: `dag/run id`; checks: what the Jobs found, by task.
    """
    return {
        "release": asdict(release),
        "outcome": outcome,
        "at": at,
        "run": run,
        "reason": reason,
        "checks": checks or {},
    }


def report(document: dict[str, Any]) -> str:
    """A record as two Markdown tables that are readable as plain text: the release, and its checks."""
    release = document["release"]
    facts = [
        ("release", release["id"]),
        ("model", f"version {release['version']}, {release['model_package_arn']}"),
        ("image", release["image"]),
        ("release before", release["previous"] or "none"),
        ("outcome", " ".join(filter(None, (document["outcome"], document["reason"] and f"({document['reason']})")))),
    ]
    checks = [
        (task, found.get("result", "?"), _side(found, "canary"), _side(found, "stable"), found.get("reason", ""))
        for task, found in document["checks"].items()
    ]
    tables = [table(("what", "value"), facts, numbers=False)]
    if checks:
        tables.append(table(("check", "result", "canary or Service", "stable pods", "why"), checks, numbers=False))
    return "\n\n".join(tables)


def _side(found: dict[str, Any], side: str) -> str:
    """What a check saw of one side: a bake saw both, a verification one."""
    if seen := found.get(side):
        return f"{seen['requests']} requests, {seen['error_rate']:.2%} failed, p95 {seen['p95_ms']} ms"
    if side == "stable" or "checked" not in found:
        return ""
    return f"{found['checked']} answers, {found['wrong']} wrong, p95 {found['p95_ms']} ms"


def newest_good(records: list[dict[str, Any]]) -> Release | None:
    """The release that should be running: the newest that was released."""
    return next(iter(_good(records)), None)


def copies(records: list[dict[str, Any]], bundle_digest: str) -> list[Release]:
    """Releases of this bundle, newest first: the copy that each has stays readable when training's is archived."""
    return [release for release in _good(records) if release.bundle_digest == bundle_digest]


def _good(records: list[dict[str, Any]]) -> list[Release]:
    """What was released, newest first."""
    good = [item for item in records if item["outcome"] == RELEASED]
    return [Release(**item["release"]) for item in sorted(good, key=lambda item: item["at"], reverse=True)]
