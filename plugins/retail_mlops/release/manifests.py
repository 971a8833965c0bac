"""The manifests of a release: its Deployment, its canary, and the public endpoint. Pure."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from include.settings import API_NAME, API_SERVICE_ACCOUNT, HTTPS_PORT, settings
from retail_mlops.common.api_manifests import (
    ALB,
    CANARY,
    Manifest,
    configure_container,
    is_public,
    kind_and_name,
    overlay,
    service_account,
)
from retail_mlops.common.errors import RetailError
from retail_mlops.common.releases import Release

TRACK: Final = "retail-mlops/track"
"""Label that tells the canary's pod from the stable ones."""
IN_SERVICE: Final = {"retail-mlops/in-service": "true"}
"""Label of the pods that get users' traffic."""
CANARY_KINDS: Final = ("ServiceAccount", "NetworkPolicy", "Service", "Deployment")
LOAD_BALANCER_TAGS: Final = "service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags"
TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 with forward secrecy, and 1.3: AWS's recommendation."""


def release_manifests(manifests: list[Manifest], release: Release) -> list[Manifest]:
    """Return the manifests of a release: image by digest, environment, annotations, role; not the public endpoint.

    RetailError when an object that has to be changed is not among them.
    """
    result = copy.deepcopy(manifests)
    by_identity = {kind_and_name(manifest): manifest for manifest in result}
    required = (("Deployment", API_NAME), ("ServiceAccount", API_SERVICE_ACCOUNT))
    if missing := [" ".join(identity) for identity in required if identity not in by_identity]:
        raise RetailError(f"k8s/rendered/{overlay()}.yaml has no {', '.join(missing)}")
    service_account(result)
    deployment = by_identity["Deployment", API_NAME]
    template = deployment["spec"]["template"]
    for metadata in (deployment["metadata"], template["metadata"]):
        metadata.setdefault("annotations", {}).update(release.annotations())
    configure_container(template["spec"]["containers"][0], release.image, release.environment())
    return [manifest for manifest in result if not is_public(manifest)]


def canary_manifests(manifests: list[Manifest], release: Release) -> list[Manifest]:
    """Return one pod of the release that gets no traffic yet, and what it needs and the stable pods share.

    The stable pods themselves stay as they are.
    """
    needed = [manifest for manifest in release_manifests(manifests, release) if manifest["kind"] in CANARY_KINDS]
    deployment = next(manifest for manifest in needed if manifest["kind"] == "Deployment")
    deployment["metadata"]["name"] = CANARY
    spec = deployment["spec"]
    spec |= {"replicas": 1, "strategy": {"type": "Recreate"}}
    spec["selector"]["matchLabels"][TRACK] = "canary"
    labels = spec["template"]["metadata"]["labels"]
    labels[TRACK] = "canary"
    for label in IN_SERVICE:
        del labels[label]
    return needed


def endpoint_manifests(manifests: list[Manifest]) -> list[Manifest]:
    """Return what makes the API public, with the settings' port, tags, certificate and host.

    A Service of type LoadBalancer, or an Ingress.
    """
    endpoints = copy.deepcopy([manifest for manifest in manifests if is_public(manifest)])
    tags = ",".join(f"{key}={text}" for key, text in (settings().tags | {"Component": "endpoint"}).items())
    for endpoint in endpoints:
        if endpoint["kind"] == "Ingress":
            _configure_ingress(endpoint, tags)
        else:
            endpoint["spec"]["ports"][0]["port"] = settings().endpoint_port
            endpoint["metadata"]["annotations"][LOAD_BALANCER_TAGS] = tags
    return endpoints


def _configure_ingress(ingress: Manifest, tags: str) -> None:
    ingress["metadata"]["annotations"] |= _alb_annotations(tags)
    if settings().endpoint_host:
        for rule in ingress["spec"]["rules"]:
            rule["host"] = settings().endpoint_host


def _alb_annotations(tags: str) -> dict[str, str]:
    """Return the annotations of an Ingress that follow from the settings."""
    ports: list[dict[str, Any]] = [{"HTTP": settings().endpoint_port}]
    annotations = {"load-balancer-name": settings().prefix.strip("-"), "tags": tags}
    if settings().endpoint_certificate_arn:
        ports.append({"HTTPS": HTTPS_PORT})
        annotations["certificate-arn"] = settings().endpoint_certificate_arn
        annotations["ssl-policy"] = TLS_POLICY
        annotations["ssl-redirect"] = str(HTTPS_PORT)
    annotations["listen-ports"] = json.dumps(ports)
    return {f"{ALB}{key}": value for key, value in annotations.items()}
