"""Control planes of EKS clusters, instead of the k3s containers that ministack would start through docker-py.

`Planes` answers the docker-py calls of ministack.services.eks, whose own code then does the rest: CREATING and ACTIVE,
the endpoint, the CA and the webhook of TokenReviews. One thread does all starts and stops, and lives as long as this
process. So a stop never overlaps a start, and no child dies early: its death signal follows the thread that started it.
"""

import base64
import hashlib
import io
import logging
import shutil
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from local.aws.eks.api_client import ApiServer
from local.kube.controlplane import ControlPlane
from local.stack import config, kube_cluster

log = logging.getLogger(__name__)

WEBHOOK_MEMBER: Final = "etc/rancher/k3s/eks-auth-webhook.yaml"


class Plane:
    """One control plane: what ministack calls a container."""

    def __init__(self, owner: "Planes", name: str, issuer: str) -> None:
        self.owner, self.id, self.issuer = owner, name, issuer
        self.folder = owner.root / name
        self.up = False
        spec = kube_cluster.spec(owner.stack, self.folder, issuer=issuer, webhook=self.folder / "webhook")
        self.control = ControlPlane(spec, kube_cluster.ensure_binaries())
        self._api: ApiServer | None = None

    # --- docker-py's names ---
    def put_archive(self, _path: str, archive: bytes) -> None:
        """Take the configuration of the webhook out of the archive."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            (self.folder / "webhook").write_bytes(tar.extractfile(WEBHOOK_MEMBER).read())  # type: ignore[union-attr]

    def start(self) -> None:
        """Start its processes."""
        self.owner.run_in_order(self._start)

    def stop(self, timeout: float | None = None) -> None:
        """Stop its processes; its data stays."""
        self.owner.run_in_order(self._stop)

    def remove(self, **_: Any) -> None:
        """Stop its processes and delete its data."""
        self.owner.run_in_order(self._remove)

    def exec_run(self, _command: str) -> tuple[int, bytes]:
        """Return the CA certificate, which is all that ministack asks for."""
        return 0, (self.folder / "pki" / "ca.crt").read_bytes()

    # --- in the thread of starts and stops ---
    def _start(self) -> None:
        if self.owner.planes.get(self.id) is not self:
            raise RuntimeError(f"cluster {self.id} was deleted before its control plane started")
        is_new = not (self.folder / "pki").exists()
        try:
            self.control.start()
        except Exception:
            self.control.stop()
            if is_new:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._api = ApiServer(self.folder)
        self.up = True
        link = self.owner.stack.state / "kubeconfig"
        link.unlink(missing_ok=True)
        link.symlink_to(self.folder / "kubeconfig")

    def _stop(self) -> None:
        self.up = False
        for callback in self.owner.before_stop:
            callback(self.id)
        self.control.stop()

    def _remove(self) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.owner.planes.pop(self.id, None)
        link = self.owner.stack.state / "kubeconfig"
        if link.is_symlink() and not link.exists():
            link.unlink()

    def restart_if_dead(self) -> None:
        """Start it again, on its data, when one of its processes died. Its nodes and pods keep running."""
        if self.up and not self.control.is_alive():
            log.warning("a process of the control plane of %s died: starting it again", self.id)
            self.owner.run_in_order(self._restart_if_dead)

    def _restart_if_dead(self) -> None:
        if self.up and not self.control.is_alive():  # else it was stopped meanwhile
            self.control.stop()
            self.control.start()

    # --- for others ---
    @property
    def api(self) -> ApiServer:
        """Return a client of its API server. Raise RuntimeError until it has started."""
        if not self._api:
            raise RuntimeError(f"the control plane of {self.id} has not started")
        return self._api

    def key_set(self) -> dict[str, Any]:
        """Return the JWKS of its service account tokens; the key id is that of kube-apiserver."""
        key = serialization.load_pem_public_key((self.folder / "pki" / "sa.pub").read_bytes())
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        kid = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        assert isinstance(key, RSAPublicKey)  # noqa: S101 - the control plane creates no other
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
        return {"keys": [public | {"kid": kid, "alg": "RS256", "use": "sig"}]}


class Planes:
    """The control planes of this local stack, and docker-py's client as far as ministack uses it."""

    def __init__(self, stack: config.LocalStack, issuer_of: Callable[[dict[str, str]], str | None]) -> None:
        """issuer_of: from a container's labels (account_id, region, cluster_name) to the cluster's OIDC issuer."""
        self.stack, self.issuer_of = stack, issuer_of
        self.root: Path = stack.state / "kube"
        self.planes: dict[str, Plane] = {}
        self.before_stop: list[Callable[[str], object]] = []
        self._starts_and_stops = ThreadPoolExecutor(1, thread_name_prefix="control-plane")

    @property
    def containers(self) -> "Planes":
        """Return this object: docker-py has its calls in a member."""
        return self

    def run_in_order(self, work: Callable[[], None]) -> None:
        """Run the work in the thread of starts and stops, after earlier calls, and wait. Raise its error."""
        self._starts_and_stops.submit(work).result()

    def create(self, labels: dict[str, str], **_: Any) -> Plane:
        """Return a new control plane, not started."""
        issuer = self.issuer_of(labels)
        if issuer is None:
            raise RuntimeError(f"cluster {labels['cluster_name']} was deleted before its control plane started")
        plane = Plane(self, labels["cluster_name"], issuer)
        self.planes[plane.id] = plane
        return plane

    def get(self, name: str) -> Plane:
        """Return a cluster's control plane."""
        return self.planes[name]

    def list(self, **_: Any) -> "list[Plane]":
        """Return all control planes."""
        return [*self.planes.values()]

    def end(self, name: str) -> None:
        """Stop and remove a control plane. One that starts is started first."""
        if plane := self.planes.get(name):
            plane.remove()
        shutil.rmtree(self.root / name, ignore_errors=True)  # of one that has not been started since a kill

    def stop_all(self) -> None:
        """Stop all control planes; their data stays."""
        for plane in self.list():
            plane.stop()
