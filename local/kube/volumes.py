"""Volumes of a pod as directories: configMaps, secrets, projected tokens, the downward API, emptyDirs."""

import base64
import time
from dataclasses import dataclass, field
from pathlib import Path

from local.kube import environment
from local.kube.api import Api, Object
from local.kube.errors import ApiError, CannotStart

RENEW_AFTER = 0.8
"""Share of a token's life after which it is renewed, as the kubelet does."""
PLAIN_MODE = 0o644


@dataclass
class Sources:
    """The sources of a pod's values: configMaps and secrets of its namespace, tokens of its service account."""

    api: Api
    pod: Object
    address: str
    tokens: dict[tuple[str, int], tuple[bytes, float]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The path of the pod's namespace in the API."""
        return f"/api/v1/namespaces/{self.pod['metadata']['namespace']}"

    async def data(self, kind: str, name: str, optional: bool = False) -> dict[str, bytes]:
        """Return the content of a configMap or secret (kind: configmaps, secrets); {} if it is optional and missing."""
        try:
            item = await self.api.call("GET", f"{self.namespace}/{kind}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            if optional:
                return {}
            raise CannotStart("CreateContainerConfigError", f'{kind[:-1]} "{name}" not found') from error
        plain = "stringData" if kind == "secrets" else "data"
        encoded = "data" if kind == "secrets" else "binaryData"
        texts = {key: value.encode() for key, value in (item.get(plain) or {}).items()}
        return texts | {key: base64.b64decode(value) for key, value in (item.get(encoded) or {}).items()}

    async def key(self, kind: str, reference: Object) -> str | None:
        """Return the value of a configMapKeyRef or secretKeyRef; None for an optional one that is missing."""
        data = await self.data(kind, reference["name"], reference.get("optional", False))
        if reference["key"] in data:
            return data[reference["key"]].decode()
        if reference.get("optional"):
            return None
        message = f"couldn't find key {reference['key']} in {kind[:-1]} {reference['name']}"
        raise CannotStart("CreateContainerConfigError", message)

    async def token(self, audience: str, seconds: int) -> bytes:
        """Return a token of the service account that ends with the pod; the same one until it must be renewed."""
        text, renew_at = self.tokens.get((audience, seconds), (b"", 0.0))
        if time.time() >= renew_at:
            meta = self.pod["metadata"]
            bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
            spec = {"audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound}
            account = self.pod["spec"].get("serviceAccountName", "default")
            answer = await self.api.call("POST", f"{self.namespace}/serviceaccounts/{account}/token", {"spec": spec})
            text = answer["status"]["token"].encode()
            self.tokens[audience, seconds] = text, time.time() + RENEW_AFTER * seconds
        return text

    async def files(self, source: Object) -> dict[str, bytes]:
        """Return {relative path: content} of a volume, or of one source of a projected volume."""
        if token := source.get("serviceAccountToken"):
            content = await self.token(token.get("audience", ""), token.get("expirationSeconds", 3600))
            return {token["path"]: content}
        if downward := source.get("downwardAPI"):
            return {
                item["path"]: environment.field(self.pod, item["fieldRef"]["fieldPath"], self.address).encode()
                for item in downward.get("items", [])
                if "fieldRef" in item
            }
        for name, kind in (("configMap", "configmaps"), ("secret", "secrets")):
            if reference := source.get(name):
                object_name = reference.get("name") or reference["secretName"]
                optional = reference.get("optional", False)
                data = await self.data(kind, object_name, optional)
                return select(data, reference.get("items"), object_name, optional)
        return {}


def select(data: dict[str, bytes], items: list[Object] | None, object_name: str, optional: bool) -> dict[str, bytes]:
    """Return the keys that a volume names of a configMap or secret, by the paths it gives them; without items all."""
    if not items:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not optional:
        raise CannotStart("CreateContainerConfigError", f"{object_name} has no key {', '.join(missing)}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def parts(volume: Object) -> list[Object]:
    """Return the sources of a volume: those of a projected volume, else the volume itself."""
    return volume["projected"].get("sources", []) if "projected" in volume else [volume]


def mode(volume: Object) -> int:
    """Return the permissions of a volume's files (defaultMode)."""
    kinds = (volume.get(kind, {}) for kind in ("configMap", "secret", "projected", "downwardAPI"))
    return next((kind["defaultMode"] for kind in kinds if "defaultMode" in kind), PLAIN_MODE)


def write(root: Path, files: dict[str, bytes], permissions: int) -> None:
    """Make a folder hold exactly these files; replace each changed file in one step."""
    root.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        target = root / path
        if target.is_file() and target.read_bytes() == data:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.new")
        fresh.write_bytes(data)
        fresh.chmod(permissions | 0o400)
        fresh.replace(target)
    for existing in list(root.rglob("*")):
        if existing.is_file() and str(existing.relative_to(root)) not in files:
            existing.unlink()


async def fill(folder: Path, volumes: list[Object], sources: Sources) -> None:
    """Write all volumes of a pod below folder, each in a directory of its name. A repetition renews them."""
    for volume in volumes:
        root = folder / volume["name"]
        if "emptyDir" in volume:
            root.mkdir(parents=True, exist_ok=True)
            continue
        files: dict[str, bytes] = {}
        for part in parts(volume):
            files |= await sources.files(part)
        write(root, files, mode(volume))


def mounts(folder: Path, container: Object) -> dict[str, str]:
    """Return {mountPath: directory or file that stands for it} of a container; make a missing subPath a directory."""
    targets = {}
    for mount in container.get("volumeMounts", []):
        target = folder / mount["name"] / mount.get("subPath", "")
        if not target.exists():
            target.mkdir(parents=True)
        targets[mount["mountPath"].rstrip("/")] = str(target)
    return targets
