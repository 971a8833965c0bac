"""The certificates of a control plane, made once: two authorities, a key pair per component, the key of tokens.

`node`, `admin` and `metrics-server` are in the group system:masters: they run as the owner of the cluster.
"""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MASTERS: Final = "system:masters"
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
VALIDITY: Final = dt.timedelta(days=3650)
LOOPBACK: Final = "127.0.0.1"

Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def make(folder: Path, service_address: str) -> None:
    """Write <name>.crt and <name>.key, sa.key and sa.pub into `folder`; do nothing when they exist already.

    service_address: of the Service `kubernetes`, the first of the service range.
    """
    if (folder / "sa.pub").exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = _authority(folder, "ca", "kube-ca")
    front = _authority(folder, "front-ca", "front-proxy-ca")
    services = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    _certificate(folder, "apiserver", ca, "kube-apiserver", [SERVER], [*services, "localhost", service_address])
    _certificate(folder, "kubelet-client", ca, "kube-apiserver-kubelet-client", [CLIENT], group=MASTERS)
    _certificate(folder, "admin", ca, "kubernetes-admin", [CLIENT], group=MASTERS)
    _certificate(folder, "controller-manager", ca, "system:kube-controller-manager", [CLIENT])
    _certificate(folder, "scheduler", ca, "system:kube-scheduler", [CLIENT])
    _certificate(folder, "node", ca, "process-node", [CLIENT, SERVER], ["localhost"], MASTERS)
    metrics = ["localhost", "metrics-server.kube-system.svc"]
    _certificate(folder, "metrics-server", ca, "metrics-server", [CLIENT, SERVER], metrics, MASTERS)
    _certificate(folder, "front-proxy", front, "front-proxy-client", [CLIENT])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(folder / "sa.key", key)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "sa.pub").write_bytes(public)


def _authority(folder: Path, name: str, common_name: str) -> Authority:
    """Write the certificate and the key of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)  # sign, certificates, CRLs
    builder = _builder(subject, subject, key.public_key()).add_extension(usage, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    _write_key(folder / f"{name}.key", key)
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _certificate(
    folder: Path,
    name: str,
    authority: Authority,
    common_name: str,
    usages: list[x509.ObjectIdentifier],
    hosts: list[str] | None = None,
    group: str | None = None,
) -> None:
    """Write a certificate and its key. hosts: DNS names and addresses of a server, in addition to 127.0.0.1."""
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(common_name, group), issuer.subject, key.public_key())
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if SERVER in usages:
        names = [_host(host) for host in [*(hosts or []), LOOPBACK]]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    _write_key(folder / f"{name}.key", key)
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(begin + VALIDITY)


def _name(common_name: str, group: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
