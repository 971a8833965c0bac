"""An image copied from one registry into another: which one, whole, and only if every byte is what its digest says."""

import http.server
import json
import threading
from urllib.parse import parse_qs, urlparse

import pytest
import requests

from include.settings import CONTROLLER_REPOSITORY
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.oci_registry import INDEXES, MANIFESTS, Repository, copy, digest_of
from tests.local.aws.conftest import service  # noqa: F401 - a fixture

SECRET = "Basic secret"
TOKEN = "for-everybody"


class Registry(http.server.ThreadingHTTPServer):
    """A registry with one repository. password: what it wants; "" makes it a public one, which hands out tokens."""

    daemon_threads = True

    def __init__(self, password=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.password, self.blobs, self.manifests, self.uploads = password, {}, {}, {}
        self.uploaded, self.failing = [], 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, data, tag=None, kind=""):
        """Keeps a blob, or a manifest under its digest and tag; its descriptor."""
        if kind:
            self.manifests |= {name: (data, kind) for name in (digest_of(data), tag) if name}
        else:
            self.blobs[digest_of(data)] = data
        return {"mediaType": kind or "application/octet-stream", "digest": digest_of(data), "size": len(data)}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def allowed(self):
        if self.server.failing:
            self.server.failing -= 1
            self.answer(503, b"come back later")
            return False
        if self.headers["Authorization"] == (self.server.password or f"Bearer {TOKEN}"):
            return True
        realm = f'Bearer realm="{self.server.url}/token/",service="public",scope="ignored"'
        self.answer(401, b"who?", WWW_Authenticate="Basic" if self.server.password else realm)
        return False

    def do_GET(self):
        url = urlparse(self.path)
        if url.path == "/token/":
            scope = parse_qs(url.query)["scope"]
            self.answer(200, json.dumps({"token": TOKEN if scope == ["repository:theirs:pull"] else "no"}).encode())
        elif self.allowed():
            kind, name = self.path.split("/")[-2:]
            found = self.server.manifests.get(name) if kind == "manifests" else (self.server.blobs.get(name), "")
            if found is None or found[0] is None:
                self.answer(404, b"unknown")
            else:
                self.answer(200, found[0], Content_Type=found[1] or "application/octet-stream")

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_POST(self):
        self.body()
        if self.allowed():
            self.answer(202, Location=f"/v2/ours/blobs/uploads/{len(self.server.uploads)}?state=1")

    def do_PATCH(self):
        data = self.body()
        if self.allowed():
            self.server.uploads[urlparse(self.path).path] = data
            self.answer(202, Location=self.path)

    def do_PUT(self):
        data, url = self.body(), urlparse(self.path)
        if not self.allowed():
            return
        if "/manifests/" in url.path:
            self.server.take(data, url.path.rpartition("/")[2], self.headers["Content-Type"])
        else:
            (named,) = parse_qs(url.query)["digest"]
            content = self.server.uploads[url.path]
            if digest_of(content) != named:
                self.answer(400, b"DIGEST_INVALID")
                return
            self.server.blobs[named] = content
            self.server.uploaded.append(named)
        self.answer(201)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def registries():
    made = [Registry(), Registry(SECRET)]
    threads = [threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True) for one in made]
    for thread in threads:
        thread.start()
    yield made
    for server, thread in zip(made, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def theirs(registries):
    return registries[0]


@pytest.fixture
def ours(registries):
    return registries[1]


def image(registry, content, kind=MANIFESTS[0], tag=None):
    """An image of one layer; descriptor of its manifest."""
    config = registry.take(json.dumps({"architecture": content.decode()}).encode())
    layer = registry.take(content * 100_000)
    return registry.take(json.dumps({"mediaType": kind, "config": config, "layers": [layer]}).encode(), tag, kind)


def index(registry, kind=INDEXES[0], architectures=("arm64", "amd64")):
    """An image for several platforms, tagged v1: (digest of the list, descriptors of the images)."""
    images = [
        image(registry, name.encode()) | {"platform": {"os": "linux", "architecture": name}} for name in architectures
    ]
    return registry.take(json.dumps({"mediaType": kind, "manifests": images}).encode(), "v1", kind)["digest"], images


def run(theirs, ours, pinned="", password=SECRET):
    return copy(Repository(theirs.url, "theirs"), "v1", Repository(ours.url, "ours", password), pinned)


@pytest.mark.parametrize("kind", INDEXES)
def test_image_of_the_nodes_platform_is_copied_whole_under_its_own_digest_and_tag(theirs, ours, kind):
    _, (_arm, amd) = index(theirs, kind)
    assert run(theirs, ours) == amd["digest"]
    assert ours.manifests["v1"] == ours.manifests[amd["digest"]] == theirs.manifests[amd["digest"]]
    content = json.loads(ours.manifests["v1"][0])
    parts = [part["digest"] for part in (content["config"], *content["layers"])]
    assert ours.blobs == {name: theirs.blobs[name] for name in parts}


def test_image_of_one_platform_is_copied_as_it_is(theirs, ours):
    found = image(theirs, b"amd64", MANIFESTS[1], "v1")
    assert run(theirs, ours) == found["digest"]
    assert ours.manifests["v1"][1] == MANIFESTS[1]


def test_a_second_time_nothing_is_uploaded_again(theirs, ours):
    index(theirs)
    run(theirs, ours)
    before = list(ours.uploaded)
    run(theirs, ours)
    assert len(before) == 2
    assert ours.uploaded == before


def test_pinned_digest_is_that_of_the_tag(theirs, ours):
    listed, _ = index(theirs)
    run(theirs, ours, pinned=listed)
    assert "v1" in ours.manifests


def test_another_digest_than_the_pinned_one_is_refused_and_nothing_copied(theirs, ours):
    index(theirs)
    with pytest.raises(RetailError, match=r"RETAIL_CONTROLLER_DIGEST is sha256:1{64}: nothing was copied"):
        run(theirs, ours, pinned="sha256:" + "1" * 64)
    assert (ours.blobs, ours.manifests) == ({}, {})


@pytest.mark.parametrize("part", ["manifest", "blob"])
def test_one_changed_byte_is_refused_and_the_image_not_published(theirs, ours, part):
    _, (_arm, amd) = index(theirs)
    if part == "manifest":
        data, kind = theirs.manifests[amd["digest"]]
        theirs.manifests[amd["digest"]] = (data + b" ", kind)
    else:
        layer = json.loads(theirs.manifests[amd["digest"]][0])["layers"][0]["digest"]
        theirs.blobs[layer] = theirs.blobs[layer][:-1] + b"x"
    with pytest.raises(RetailError, match="sent other content of theirs than sha256:"):
        run(theirs, ours)
    assert ours.manifests == {}


def test_image_for_other_machines_is_refused(theirs, ours):
    index(theirs, architectures=("arm64",))
    with pytest.raises(RetailError, match="theirs:v1 has no image for linux/amd64"):
        run(theirs, ours)


def test_unknown_tag_and_wrong_password_are_told_in_the_registrys_words(theirs, ours):
    with pytest.raises(RetailError, match=r"manifests/v1: 404 unknown"):
        run(theirs, ours)
    index(theirs)
    with pytest.raises(RetailError, match=r"HEAD .*: 401 Unauthorized"):
        run(theirs, ours, password="Basic other")


def test_a_registry_that_fails_for_a_while_is_no_final_error(theirs, ours):
    index(theirs)
    theirs.failing = 1
    with pytest.raises(requests.HTTPError, match="503"):
        run(theirs, ours)
    run(theirs, ours)
    assert "v1" in ours.manifests


@pytest.mark.integration
def test_image_lies_in_the_embedded_registry_under_its_own_digest(theirs, service, monkeypatch):  # noqa: F811
    _, (_arm, amd) = index(theirs)
    keys = service.client("ecr")._request_signer._credentials
    connection = {"conn_type": "aws", "login": keys.access_key, "password": keys.secret_key}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ADMIN", json.dumps(connection))
    monkeypatch.setenv("AWS_ENDPOINT_URL", service.stack.aws_url)
    service.client("ecr").create_repository(repositoryName=CONTROLLER_REPOSITORY)
    images = ImageHook("aws_admin")
    assert images.tagged(CONTROLLER_REPOSITORY, "v1") is None

    ours = images.open(CONTROLLER_REPOSITORY)
    ours.registry = service.stack.aws_url  # its own name leads to AWS
    assert copy(Repository(theirs.url, "theirs"), "v1", ours) == amd["digest"]
    assert images.tagged(CONTROLLER_REPOSITORY, "v1").endswith(f"/{CONTROLLER_REPOSITORY}@{amd['digest']}")
