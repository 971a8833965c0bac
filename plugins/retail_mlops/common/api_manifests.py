"""The Kubernetes manifests of the API as `make manifests` rendered them, and what they have in common. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from include.settings import API_NAME, settings
from retail_mlops.common.dag_defaults import ROOT

Manifest = dict[str, Any]
ANNOTATION: Final = "retail-mlops/"
"""Prefix of the project's own annotations."""
CANARY: Final = f"{API_NAME}-canary"
"""Name of the canary's Deployment, and of the Service that leads to it alone."""
STABLE: Final = f"{API_NAME}-stable"
"""Name of the Service that leads to every pod but the canary's."""
ALB: Final = "alb.ingress.kubernetes.io/"
"""Prefix of the annotations of an Ingress that its controller reads."""


def kind_and_name(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Return what identifies an object of the project's namespace."""
    return manifest["kind"], manifest["metadata"]["name"]


def overlay() -> str:
    """Return the name of the rendered manifests in force."""
    return settings().overlay + ("-alb" if settings().endpoint_kind == "alb" else "")


def rendered() -> list[Manifest]:
    """Return the manifests of the overlay in force."""
    path = ROOT / "k8s" / "rendered" / f"{overlay()}.yaml"
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def is_public(manifest: Mapping[str, Any]) -> bool:
    """Return whether a load balancer is made for the object."""
    if manifest["kind"] == "Ingress":
        return True
    return bool(manifest["kind"] == "Service" and manifest["spec"].get("type") == "LoadBalancer")


def public_address(endpoint: Mapping[str, Any]) -> str:
    """Return the URL of a live endpoint (camelCase); "" while it has no load balancer.

    Where users ask for another host name, the load balancer's own name is added.
    """
    (ingress, *_) = endpoint.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    name = ingress.get("hostname") or ingress.get("ip") or ""
    if not name:
        return ""
    if endpoint["kind"] == "Service":
        return f"http://{name}:{endpoint['spec']['ports'][0]['port']}"
    ports = json.loads(endpoint["metadata"]["annotations"][f"{ALB}listen-ports"])
    scheme, port = next(iter(ports[-1].items()))
    host = endpoint["spec"]["rules"][0].get("host", "")
    return f"{scheme.lower()}://{host or name}:{port}" + (f" (point {host} at {name})" if host else "")


def service_account(manifests: list[Manifest]) -> Manifest:
    """Return the API's service account from the manifests, after setting its role in place."""
    account = next(manifest for manifest in manifests if manifest["kind"] == "ServiceAccount")
    account["metadata"].setdefault("annotations", {})["eks.amazonaws.com/role-arn"] = settings().role("api")
    return account


def configure_container(container: dict[str, Any], image: str, environment: Mapping[str, str]) -> None:
    """Set a container's image and these environment variables, in place; its other variables stay."""
    container["image"] = image
    others = [variable for variable in container.get("env", []) if variable["name"] not in environment]
    container["env"] = [{"name": name, "value": value} for name, value in environment.items()] + others
