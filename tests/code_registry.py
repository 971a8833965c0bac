"""A registry and a checkout for tests of code images."""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator

import boto3
import pytest

from cli.images.code_image import CodeImage
from local.stack import config
from local.stack.oci_registry import digest

PASSWORD = base64.b64encode(b"AWS:secret").decode()
LOCK = """fast_thing==1.2 \\
    --hash=sha256:0
    # via {runtime}.in
old==3 ; python_version < '3' \\
    --hash=sha256:1
"""
ACCOUNT_REGISTRY = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com"


class Registry(http.server.ThreadingHTTPServer):
    """GetAuthorizationToken and the two GETs of a pull; `stored` holds what it answers by digest."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, image: CodeImage) -> str:
        self.stored |= {digest(data): data for data in (image.manifest, *image.blobs)}
        return f"{ACCOUNT_REGISTRY}/{image.name}@{image.digest}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, json.dumps({"authorizationData": [{"authorizationToken": PASSWORD}]}).encode())

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.headers["Authorization"] != f"Basic {PASSWORD}":
            self.answer(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}')
        elif (content := self.server.stored.get(self.path.rpartition("/")[2])) is None:
            self.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such image"}]}')
        else:
            self.answer(200, content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def session():
    return boto3.Session("AKIAEXAMPLE", "secret", region_name="ap-southeast-1")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A source tree with the two runtimes' locks; images are built from it and run in it."""
    root = tmp_path / "checkout"
    for name in ("api/__init__.py", "api/pages/index.html", "include/__init__.py", "include/baskets/schema.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    (root / "include/train").mkdir()
    (root / "include/train/__main__.py").write_text("print('train')\n")
    for runtime in ("api", "jobs"):
        lock = LOCK.format(runtime=runtime)
        for folder, name, text in (
            ("requirements", f"{runtime}.txt", lock),
            (f".venv/{runtime}", "lock.sha256", hashlib.sha256(lock.encode()).hexdigest()),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_text(text)
    monkeypatch.setattr(config, "ROOT", root)
    return root
