"""The Jobs that check a release from inside the cluster: the replay of held-out baskets, and the bake. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from include.settings import API_NAME, settings
from retail_mlops.common.api_manifests import ANNOTATION, CANARY, STABLE, Manifest, configure_container
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.job_requests import url
from retail_mlops.common.releases import Release


def verification(release: Release, service: str = STABLE) -> Manifest:
    """Return the Job that replays the release's held-out baskets against a Service.

    Not against the users' own Service, in which a canary may answer for the pods that are to be verified.
    """
    environment = {"VERIFY_URL": in_cluster_url(service), "VERIFY_MODEL_VERSION": str(release.version)}
    return _job(release, "verify" if service == STABLE else "verify-canary", "api.checks.verify", environment)


def bake(release: Release, seconds: int) -> Manifest:
    """Return the Job that compares the canary with the stable pods for so many seconds."""
    environment = {
        "BAKE_CANARY": in_cluster_url(CANARY),
        "BAKE_STABLE": in_cluster_url(STABLE),
        "BAKE_SECONDS": str(seconds),
    }
    job = _job(release, "bake", "api.checks.bake", environment)
    job["spec"]["activeDeadlineSeconds"] += seconds
    return job


def _job(release: Release, purpose: str, module: str, environment: dict[str, str]) -> Manifest:
    """Return k8s/verify-job.yaml with another program, in the release's own image."""
    job: dict[str, Any] = yaml.safe_load((ROOT / "k8s" / "verify-job.yaml").read_text())
    job["metadata"]["name"] = f"{API_NAME}-{purpose}-{release.id}"
    job["metadata"]["annotations"][f"{ANNOTATION}release"] = release.id
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python", "-m", module]
    common = {"VERIFY_BASKETS": url(release.held_out_key), "AWS_REGION": settings().region}
    configure_container(container, release.image, environment | common)
    return job


def in_cluster_url(service: str) -> str:
    """Return the URL of a Service for a pod of the namespace.

    Kubernetes fills in both variables, with or without a DNS add-on.
    """
    name = service.replace("-", "_").upper()
    return f"http://$({name}_SERVICE_HOST):$({name}_SERVICE_PORT)"
