"""Access policies of EKS as RBAC objects of the cluster, without a kubectl for each round."""

import logging
from typing import Any, Final

from ministack.services import eks

from local.aws.eks.api_client import ApiServerError
from local.aws.eks.control_planes import Plane
from local.aws.eks.running_planes import plane_of
from local.aws.patch import replace

log = logging.getLogger(__name__)

Object = dict[str, Any]

_PATHS: Final = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
}
_applied: dict[str, list[Object]] = {}
"""Issuer of a control plane → the objects of the last round."""


def _path(rbac_object: Object) -> str:
    metadata = rbac_object["metadata"]
    return f"{_PATHS[rbac_object['kind']].format(**metadata)}/{metadata['name']}"


def _apply(plane: Plane, wanted: list[Object]) -> None:
    """Apply these objects, and delete bindings of access policies that are not among them."""
    for rbac_object in wanted:
        plane.api.call("PATCH", _path(rbac_object), rbac_object, "apply", fieldManager="eks", force="true")
    wanted_paths = {_path(rbac_object) for rbac_object in wanted}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        everywhere = _PATHS[kind].replace("/namespaces/{namespace}", "")
        for binding in plane.api.items(everywhere, labelSelector=f"{eks._ACCESS_POLICY_BINDING_LABEL}=true"):
            path = _path(binding | {"kind": kind})
            if path not in wanted_paths:
                plane.api.call("DELETE", path)


def _reconcile(cluster: str, account: str, region: str) -> bool:
    """Bring the cluster's RBAC in line with its access policies; return whether that worked."""
    plane = plane_of(cluster)
    if not plane:
        return False
    try:
        namespaces = [item["metadata"]["name"] for item in plane.api.items("/api/v1/namespaces")]
        wanted = eks._access_policy_rbac_objects(cluster, account, region, namespaces)
        if _applied.get(plane.issuer) != wanted:
            _apply(plane, wanted)
            _applied[plane.issuer] = wanted
    except ApiServerError as error:
        log.info("access policies of %s are not applied yet: %s", cluster, error)
        return False
    return True


PATCHES: Final = (
    replace(eks, "_reconcile_access_policy_rbac", _reconcile, "RBAC is applied by a kubectl in the k3s container"),
)
