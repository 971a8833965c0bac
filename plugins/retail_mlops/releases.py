"""A release: which approved model runs in which image, and the manifests and records that follow from it."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from include import lake
from include.settings import API_NAME, API_SERVICE_ACCOUNT, settings
from retail_mlops.dag_defaults import ROOT
from retail_mlops.errors import RetailError
from retail_mlops.requests import url

ANNOTATION: Final = "retail-mlops/"
PUBLIC_SERVICE: Final = f"{API_NAME}-public"
RELEASED, ROLLED_BACK, FAILED = "released", "rolled back", "failed"
IN_CLUSTER_URL: Final = "http://$(RETAIL_API_SERVICE_HOST):$(RETAIL_API_SERVICE_PORT)"
"""Where a pod of the namespace finds the Service: Kubernetes fills both variables, with or without a DNS add-on."""


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


def rendered() -> list[dict[str, Any]]:
    """The manifests of the overlay in force, as `make manifests` rendered them."""
    path = ROOT / "k8s" / "rendered" / f"{settings().overlay}.yaml"
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def verification_job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "k8s" / "verify-job.yaml").read_text())


def patched(manifests: list[dict[str, Any]], release: Release) -> list[dict[str, Any]]:
    """The manifests of a release: image by digest, what the pods are told, annotations, role, port of the endpoint.

    RetailError when an object that has to be patched is not among them.
    """
    result = copy.deepcopy(manifests)
    find = {(item["kind"], item["metadata"]["name"]): item for item in result}
    wanted = ("Deployment", API_NAME), ("ServiceAccount", API_SERVICE_ACCOUNT)
    if missing := [f"{kind} {name}" for kind, name in wanted if (kind, name) not in find]:
        raise RetailError(f"k8s/rendered/{settings().overlay}.yaml has no {', '.join(missing)}")
    deployment = find[wanted[0]]
    service_account(result)
    template = deployment["spec"]["template"]
    for metadata in (deployment["metadata"], template["metadata"]):
        metadata.setdefault("annotations", {}).update(release.annotations())
    tell(template["spec"]["containers"][0], release.image, release.environment())
    if public := find.get(("Service", PUBLIC_SERVICE)):
        public["spec"]["ports"][0]["port"] = settings().endpoint_port
        tags = settings().tags | {"Component": "endpoint"}
        public["metadata"]["annotations"][LOAD_BALANCER_TAGS] = ",".join(f"{key}={text}" for key, text in tags.items())
    return result


def service_account(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The API's service account, found among the manifests and told its role in place."""
    account = next(item for item in manifests if item["kind"] == "ServiceAccount")
    account["metadata"].setdefault("annotations", {})["eks.amazonaws.com/role-arn"] = settings().role("api")
    return account


def patched_job(manifest: dict[str, Any], release: Release) -> dict[str, Any]:
    """The Job that replays the release's held-out baskets against the Service."""
    result = copy.deepcopy(manifest)
    result["metadata"]["name"] = f"{manifest['metadata']['name']}-{release.id}"
    result["metadata"].setdefault("annotations", {})[f"{ANNOTATION}release"] = release.id
    told = {
        "VERIFY_URL": IN_CLUSTER_URL,
        "VERIFY_BASKETS": url(release.held_out_key),
        "VERIFY_MODEL_VERSION": str(release.version),
        "AWS_REGION": settings().region,
    }
    tell(result["spec"]["template"]["spec"]["containers"][0], release.image, told)
    return result


def tell(container: dict[str, Any], image: str, told: dict[str, str]) -> None:
    """Sets a container's image and environment variables, in place; its other variables stay."""
    container["image"] = image
    kept = [variable for variable in container.get("env", []) if variable["name"] not in told]
    container["env"] = [{"name": name, "value": value} for name, value in told.items()] + kept


def record(release: Release, outcome: str, at: str, run: str, reason: str = "") -> dict[str, Any]:
    """What is kept of a release at logs/deployments/<release>.json; at: ISO time; run: `dag/run id`."""
    return {"release": asdict(release), "outcome": outcome, "at": at, "run": run, "reason": reason}


def newest_good(records: list[dict[str, Any]]) -> Release | None:
    """The release that should be running: the newest that was released."""
    good = [item for item in records if item["outcome"] == RELEASED]
    return Release(**max(good, key=lambda item: item["at"])["release"]) if good else None
