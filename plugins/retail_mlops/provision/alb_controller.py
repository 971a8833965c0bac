"""The AWS Load Balancer Controller, which makes an Application Load Balancer of an Ingress: what provision applies.

Only where RETAIL_ENDPOINT_KIND is alb. The CRDs are the controller's own files, which `make alb-controller` fetches and
which are known by their SHA-256; all else is k8s/alb-controller/controller.yaml.
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
"""Of its namespace and of all that is in it."""
FOLDER: Final = ROOT / "k8s" / "alb-controller"
VALID: Final = dt.timedelta(days=10 * 365)
"""How long the webhook's certificate is; the API server trusts it for this one webhook only."""


def crds() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions; RetailError unless they were fetched and are those that were pinned."""
    wanted, name = (FOLDER / "crds.sha256").read_text().split()
    path = FOLDER / name
    if not path.exists():
        raise RetailError(f"{path} is not there: run `make alb-controller`")
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != wanted:
        raise RetailError(f"{path} has SHA-256 {found}, not {wanted}: run `make alb-controller` again")
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def parts() -> list[dict[str, Any]]:
    """What controller.yaml says, before anything is filled in."""
    return [document for document in yaml.safe_load_all((FOLDER / "controller.yaml").read_text()) if document]


def upstream() -> str:
    """The image as its makers publish it, by tag: `registry/repository:version`."""
    (image,) = [_pod(one)["containers"][0]["image"] for one in parts() if one["kind"] == "Deployment"]
    return image


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]


@dataclass(frozen=True)
class Certificate:
    """Of the webhook, signed by itself; PEM."""

    certificate: bytes
    key: bytes

    @classmethod
    def make(cls, now: dt.datetime) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        host = f"{NAME}.{NAME}.svc"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))  # clocks differ
            .not_valid_after(now + VALID)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(
            made.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    @classmethod
    def of(cls, secret: dict[str, str]) -> Certificate:
        """From the data of a Secret."""
        return cls(base64.b64decode(secret["tls.crt"]), base64.b64decode(secret["tls.key"]))

    def secret(self) -> dict[str, Any]:
        data = {"tls.crt": self.certificate, "tls.key": self.key}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": NAME, "namespace": NAME, "labels": {"app.kubernetes.io/part-of": "retail-mlops"}},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


def manifests(image: str, vpc: str, certificate: Certificate) -> list[dict[str, Any]]:
    """All that is applied, in order; image: our copy by digest; vpc: id of the cluster's.

    The certificate's Secret comes before the Deployment that mounts it.
    """
    found = parts()
    for one in found:
        if one["kind"] == "ServiceAccount":
            one["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = settings().role("alb-controller")
        elif one["kind"] == "Deployment":
            container = _pod(one)["containers"][0]
            container["image"] = image
            container["args"] += [
                f"--cluster-name={CLUSTER_NAME}",
                f"--aws-region={settings().region}",
                f"--aws-vpc-id={vpc}",
                "--default-tags=" + ",".join(f"{key}={text}" for key, text in _tags().items()),
            ]
        elif one["kind"] == "MutatingWebhookConfiguration":
            for webhook in one["webhooks"]:
                webhook["clientConfig"]["caBundle"] = base64.b64encode(certificate.certificate).decode()
    at = next(number for number, one in enumerate(found) if one["kind"] == "Deployment")
    return [*crds(), *found[:at], certificate.secret(), *found[at:]]


def _tags() -> dict[str, str]:
    """Of all that it makes: the security group that load balancers share is no Ingress's."""
    return settings().tags | {"Component": "endpoint"}
