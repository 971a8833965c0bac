"""What EKS adds to a node (a NodeRuntime of local.kube): images from ECR, logs to CloudWatch, service account roles."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3

from local.aws.eks.log_shipper import LogShipper
from local.kube.api import Api, Object
from local.kube.errors import ApiError, CannotStart
from local.kube.runtime import ContainerLog
from local.kube.spec import RunSpec
from local.stack import code_images as images
from local.stack import renewing

ANNOTATIONS = "eks.amazonaws.com/"
MOUNT_PATH = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
TOKEN_VOLUME = "aws-iam-token"  # noqa: S105 - a name
TOKEN_SECONDS = 86400
CREDENTIALS_PATH = "/_local/credentials"


@dataclass(frozen=True)
class NodeSettings:
    """The AWS emulation as nodes see it: its URL, region and cluster. images: the folder of unpacked images."""

    endpoint: str
    region: str
    cluster: str
    images: Path


def role_session(endpoint: str, region: str, secret: str) -> boto3.Session:
    """Return a session that fetches and renews credentials from the AWS emulation, as on EC2 from IMDS.

    The secret is the node role's: `Authorization: <secret>` answers {"AccessKeyId", "SecretAccessKey", "Token",
    "Expiration"} (RFC 3339).
    """

    def fetch() -> renewing.Credentials:
        request = urllib.request.Request(endpoint + CREDENTIALS_PATH, headers={"Authorization": secret})
        with urllib.request.urlopen(request, timeout=10) as reply:
            credentials: renewing.Credentials = json.loads(reply.read())
            return credentials

    return renewing.session(fetch, region, "node-role")


def inject_role(spec: Object, annotations: Mapping[str, str], region: str) -> None:
    """Add what EKS's pod identity webhook adds for a service account with a role: a token volume, variables for SDKs.

    Variables that a container sets itself are kept; a pod that has the volume already is not changed.
    """
    role = annotations.get(f"{ANNOTATIONS}role-arn")
    if not role or any(volume["name"] == TOKEN_VOLUME for volume in spec.get("volumes", [])):
        return
    token = {
        "audience": annotations.get(f"{ANNOTATIONS}audience", "sts.amazonaws.com"),
        "expirationSeconds": int(annotations.get(f"{ANNOTATIONS}token-expiration", TOKEN_SECONDS)),
        "path": "token",
    }
    volume = {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}
    spec.setdefault("volumes", []).append(volume)
    variables = {
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{MOUNT_PATH}/token",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    for container in spec.get("initContainers", []) + spec["containers"]:
        env = container.setdefault("env", [])
        names = {item["name"] for item in env}
        env += [{"name": name, "value": value} for name, value in variables.items() if name not in names]
        mount = {"name": TOKEN_VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)


class EksRuntime:
    """The NodeRuntime of a node of a node group; secret: with which it fetches the credentials of its role."""

    def __init__(self, api: Api, node: str, settings: NodeSettings, secret: str) -> None:
        self.env: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": settings.endpoint,
            "AWS_REGION": settings.region,
            "AWS_DEFAULT_REGION": settings.region,
            "AWS_EC2_METADATA_DISABLED": "true",  # on a machine of EC2 it would answer for another account
        }
        self._api = api
        self._settings = settings
        self._secret = secret
        self._role: boto3.Session | None = None
        self._shipper = LogShipper(node, settings.cluster, settings.endpoint, self._session)

    def _session(self) -> boto3.Session:
        """Return a session of the node role."""
        if not self._role:
            self._role = role_session(self._settings.endpoint, self._settings.region, self._secret)
        return self._role

    async def pull(self, image: str) -> RunSpec:
        """Pull an image from ECR, and return how to run it."""
        try:
            return await asyncio.to_thread(self._pull, image)
        except (images.PullError, OSError) as error:
            raise CannotStart("ErrImagePull", f'Failed to pull image "{image}": {error}') from error

    def _pull(self, image: str) -> RunSpec:
        pulled = images.pull(image, self._session(), self._settings.endpoint, self._settings.images)
        return RunSpec(
            command=pulled.command, args=pulled.args, env=pulled.env, root=pulled.root, workdir=pulled.workdir
        )

    async def admit(self, namespace: str, spec: Object) -> None:
        """Give a pod the role of its service account."""
        account = spec.get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}"
        try:
            meta = (await self._api.call("GET", path))["metadata"]
        except ApiError as error:
            raise CannotStart("FailedMount", f"service account {account}: {error}") from error
        inject_role(spec, meta.get("annotations", {}), self._settings.region)

    async def collect_logs(self, logs: Sequence[ContainerLog]) -> None:
        """Send what is new in these logs to CloudWatch."""
        await self._shipper.ship(logs)
