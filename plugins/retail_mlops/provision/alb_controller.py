"""The manifests of the AWS Load Balancer Controller, which makes an Application Load Balancer for an Ingress. Pure.

Only where RETAIL_ENDPOINT_KIND is alb. The CRDs are the controller's own files, which `make alb-controller` fetches and
whose SHA-256 is pinned; all else is k8s/alb-controller/controller.yaml.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from include.settings import CLUSTER_NAME, settings
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.errors import RetailError

NAME: Final = "aws-load-balancer-controller"
"""Name of its namespace, and of every object in it."""
FOLDER: Final = ROOT / "k8s" / "alb-controller"
VALIDITY: Final = dt.timedelta(days=10 * 365)
"""Of the webhook's certificate; the API server trusts it for this one webhook only."""


def crds() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions; RetailError unless they were fetched and have the pinned digest."""
    pinned, name = (FOLDER / "crds.sha256").read_text().split()
    path = FOLDER / name
    if not path.exists():
        raise RetailError(f"{path} is missing: run `make alb-controller`")
    if (digest := hashlib.sha256(path.read_bytes()).hexdigest()) != pinned:
        raise RetailError(f"{path} has SHA-256 {digest}, not {pinned}: run `make alb-controller` again")
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def documents() -> list[dict[str, Any]]:
    """Return the documents of controller.yaml, before anything is filled in."""
    return [document for document in yaml.safe_load_all((FOLDER / "controller.yaml").read_text()) if document]


def upstream() -> str:
    """Return the image as its makers publish it, by tag: `registry/repository:version`."""
    (deployment,) = [document for document in documents() if document["kind"] == "Deployment"]
    return str(_pod(deployment)["containers"][0]["image"])


@dataclass(frozen=True)
class Certificate:
    """The self-signed certificate of the webhook; PEM."""

    certificate: bytes
    key: bytes

    @classmethod
    def make(cls, now: dt.datetime) -> Certificate:
        """Make a new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        host = f"{NAME}.{NAME}.svc"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))  # clocks differ
            .not_valid_after(now + VALIDITY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    @classmethod
    def from_secret(cls, secret: dict[str, str]) -> Certificate:
        """Read it from the data of a Secret."""
        return cls(base64.b64decode(secret["tls.crt"]), base64.b64decode(secret["tls.key"]))

    def secret(self) -> dict[str, Any]:
        """Return the Secret that holds it."""
        data = {"tls.crt": self.certificate, "tls.key": self.key}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": NAME, "namespace": NAME, "labels": {"app.kubernetes.io/part-of": "retail-mlops"}},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


def manifests(image: str, vpc: str, certificate: Certificate) -> list[dict[str, Any]]:
    """Return all that is applied, in order; image: the project's copy, by digest; vpc: id of the cluster's VPC.

    The certificate's Secret comes before the Deployment that mounts it.
    """
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for document in documents():
        if document["kind"] == "ServiceAccount":
            document["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = settings().role("alb-controller")
        elif document["kind"] == "Deployment":
            _configure_deployment(document, image, vpc)
        elif document["kind"] == "MutatingWebhookConfiguration":
            for webhook in document["webhooks"]:
                webhook["clientConfig"]["caBundle"] = base64.b64encode(certificate.certificate).decode()
        (after if after or document["kind"] == "Deployment" else before).append(document)
    return [*crds(), *before, certificate.secret(), *after]


def _configure_deployment(deployment: dict[str, Any], image: str, vpc: str) -> None:
    # tags of all that it makes: the security group that load balancers share belongs to no Ingress
    tags = settings().tags | {"Component": "endpoint"}
    container = _pod(deployment)["containers"][0]
    container["image"] = image
    container["args"] += [
        f"--cluster-name={CLUSTER_NAME}",
        f"--aws-region={settings().region}",
        f"--aws-vpc-id={vpc}",
        "--default-tags=" + ",".join(f"{key}={value}" for key, value in tags.items()),
    ]


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod
