"""Read and write one repository of the local stack's registry, by the OCI distribution specification."""

import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPResponse
from typing import Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
TIMEOUT_SECONDS: Final = 30
LONGEST_ERROR: Final = 400

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the registry is on loopback: no proxy


class ImageError(Exception):
    """Says why an image cannot be built, pushed or pulled, and what to do."""


class PullError(ImageError):
    """Says why an image cannot be pulled, to the person who wrote the reference to it."""


def digest(data: bytes) -> str:
    """Return the digest of some bytes as OCI writes it, `sha256:<64 hex digits>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the registry's message; its answer is {"errors": [{"code", "message"}]}."""
    text = error.read().decode(errors="replace")
    try:
        reason = "; ".join(f"{each['code']}: {each['message']}" for each in json.loads(text)["errors"])
    except (ValueError, LookupError, TypeError):
        reason = text
    return f"{error.code} {reason}"[:LONGEST_ERROR]


class Repository:
    """A repository of the registry at `endpoint`, opened with the rights of a boto3 session."""

    def __init__(self, session: boto3.Session, endpoint: str, account: str, region: str, name: str) -> None:
        self.endpoint, self.name = endpoint, name
        retries = Config(connect_timeout=5, retries={"total_max_attempts": 2})
        ecr = session.client("ecr", endpoint_url=endpoint, region_name=region, config=retries)
        try:
            answer = ecr.get_authorization_token(registryIds=[account])
        except (ClientError, BotoCoreError) as error:
            raise PullError(f"no password for the registry of {name}: {error}") from error
        self._password = answer["authorizationData"][0]["authorizationToken"]

    def _url(self, path: str) -> str:
        return f"{self.endpoint}/v2/{self.name}/{path}"

    def _request(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> HTTPResponse:
        headers = {"Authorization": f"Basic {self._password}", **headers}
        request = urllib.request.Request(url, data, headers, method=method)
        response: HTTPResponse = _OPENER.open(request, timeout=TIMEOUT_SECONDS)
        return response

    # --- read ---
    def has(self, reference: str) -> bool:
        """Return whether the repository has a manifest with this tag or digest."""
        try:
            with self._request("GET", self._url(f"manifests/{reference}"), None, {"Accept": MANIFEST}):
                return True
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise ImageError(f"manifest of {self.name}: {_reason(error)}") from error
            return False

    def manifest(self, reference: str) -> bytes:
        """Return the manifest with this tag or digest. PullError if there is none, or if its digest is another."""
        return self._get("manifest", f"manifests/{reference}", reference)

    def blob(self, reference: str) -> bytes:
        """Return the blob with this digest. PullError if there is none, or if its digest is another."""
        return self._get("blob", f"blobs/{reference}", reference)

    def _get(self, kind: str, path: str, reference: str) -> bytes:
        what = f"{kind} {reference} of {self.name}"
        try:
            with self._request("GET", self._url(path), None, {"Accept": MANIFEST}) as response:
                data = response.read()
        except urllib.error.HTTPError as error:
            raise PullError(f"{what}: {_reason(error)}") from error
        except OSError as error:
            raise PullError(f"{what}: {error}") from error
        if ":" in reference and digest(data) != reference:
            raise PullError(f"{what}: digest mismatch, the content has {digest(data)}")
        return data

    # --- write ---
    def put_manifest(self, tag: str, manifest: bytes) -> None:
        """Write a manifest under a tag."""
        self._send("PUT", self._url(f"manifests/{tag}"), manifest, MANIFEST)

    def put_blob(self, data: bytes) -> None:
        """Upload a blob in one piece."""
        media_type = "application/octet-stream"
        location = self._send("POST", self._url("blobs/uploads/"), b"", media_type)
        url = urllib.parse.urljoin(self.endpoint, location)
        joint = "&" if "?" in url else "?"
        self._send("PUT", f"{url}{joint}digest={digest(data)}", data, media_type)

    def _send(self, method: str, url: str, data: bytes, media_type: str) -> str:
        """Send data and return the Location of the answer."""
        try:
            with self._request(method, url, data, {"Content-Type": media_type}) as response:
                return str(response.headers["Location"])
        except urllib.error.HTTPError as error:
            hint = "; does the repository exist? The DAG provision creates it" if error.code == 404 else ""
            raise ImageError(f"push to {self.name}: {_reason(error)}{hint}") from error
        except OSError as error:
            raise ImageError(f"push to {self.name}: {error}") from error
