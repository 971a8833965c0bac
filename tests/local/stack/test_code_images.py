"""Code images: reproducible, checked against their digests, refused when this checkout cannot run them."""

import base64
import hashlib
import http.server
import io
import json
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest

from local.stack import code_images as images
from local.stack import sbom

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

    def take(self, image: images.Image) -> str:
        self.stored |= {images.digest(data): data for data in (image.manifest, *image.blobs)}
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
def registry():
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
    monkeypatch.setattr(images.config, "ROOT", root)
    return root


def members(image: images.Image) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(image.blobs[1])) as tar:
        return tar.getnames()


def with_layer(image: images.Image, layer: bytes) -> images.Image:
    """The image with another layer, and the manifest that goes with it."""
    manifest = json.loads(image.manifest)
    manifest["layers"][0] |= {"digest": images.digest(layer), "size": len(layer)}
    return images.Image(image.name, json.dumps(manifest).encode(), (image.blobs[0], layer))


def with_config(image: images.Image, **values) -> images.Image:
    configuration = json.loads(image.blobs[0])
    configuration["config"] |= values
    blob = json.dumps(configuration).encode()
    manifest = json.loads(image.manifest)
    manifest["config"] |= {"digest": images.digest(blob), "size": len(blob)}
    return images.Image(image.name, json.dumps(manifest).encode(), (blob, image.blobs[1]))


def test_same_source_has_the_same_digest_wherever_and_whenever(checkout, tmp_path):
    first = images.build("mlops/retail-jobs", checkout)
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkout, copy)
    (copy / "include/train/__main__.py").touch()
    (copy / "include/__pycache__").mkdir()
    (copy / "include/__pycache__/x.pyc").write_bytes(b"compiled")
    assert images.build("mlops/retail-jobs", copy).digest == first.digest


def test_changed_source_or_lock_has_another_digest(checkout):
    first = images.build("mlops/retail-jobs", checkout).digest
    (checkout / "include/train/__main__.py").write_text("print('other')\n")
    second = images.build("mlops/retail-jobs", checkout).digest
    (checkout / ".venv/jobs/lock.sha256").write_text("another lock\n")
    assert len({first, second, images.build("mlops/retail-jobs", checkout).digest}) == 3


def test_api_image_holds_the_api_and_the_baskets_only(checkout):
    assert members(images.build("mlops/retail-api", checkout)) == [
        "app/api/__init__.py",
        "app/api/pages/index.html",
        "app/include/__init__.py",
        "app/include/baskets/schema.py",
    ]


def test_unknown_name_is_refused(checkout):
    with pytest.raises(images.ImageError, match=r"retail-api, mlops/retail-jobs"):
        images.build("mlops/other", checkout)


def test_missing_environment_is_named(checkout):
    (checkout / ".venv/jobs/lock.sha256").unlink()
    with pytest.raises(images.ImageError, match="make install"):
        images.build("mlops/retail-jobs", checkout)


def test_pulled_image_runs_its_source(checkout, registry, session, tmp_path):
    recipe = images.pull(
        registry.take(images.build("mlops/retail-api", checkout)), session, registry.url, tmp_path / "c"
    )
    assert recipe.command == ["python", "-m", "api"]
    assert Path(recipe.workdir, "api/pages/index.html").read_text() == "# api/pages/index.html\n"
    assert recipe.env["PATH"].startswith(f"{checkout}/.venv/api/bin:")
    assert Path(recipe.workdir) == Path(recipe.root).resolve() / "app"


def test_cached_image_is_asked_for_again_only_when_told(checkout, registry, session, tmp_path):
    reference = registry.take(images.build("mlops/retail-jobs", checkout))
    images.pull(reference, session, registry.url, tmp_path / "c")
    asked = len(registry.asked)
    images.pull(reference, session, registry.url, tmp_path / "c")
    assert len(registry.asked) == asked
    registry.stored.clear()
    with pytest.raises(images.PullError, match="404 MANIFEST_UNKNOWN: no such image"):
        images.pull(reference, session, registry.url, tmp_path / "c", always=True)


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_one_changed_byte_is_refused_and_nothing_is_kept(checkout, registry, session, tmp_path, part):
    image = images.build("mlops/retail-jobs", checkout)
    reference = registry.take(image)
    data = dict(zip(["manifest", "config", "layer"], (image.manifest, *image.blobs), strict=True))[part]
    registry.stored[images.digest(data)] = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(images.PullError, match="digest mismatch"):
        images.pull(reference, session, registry.url, tmp_path / "c")
    assert not [path for path in (tmp_path / "c").glob("*") if (tmp_path / "c").exists()]


@pytest.mark.parametrize("name", ["../../escape.py", "/absolute/../../../escape.py", "app/../../escape.py"])
def test_layer_that_leads_outside_is_refused(checkout, registry, session, tmp_path, name):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    image = with_layer(images.build("mlops/retail-jobs", checkout), layer.getvalue())
    with pytest.raises(images.PullError, match="cannot be unpacked"):
        images.pull(registry.take(image), session, registry.url, tmp_path / "c")
    assert not list(tmp_path.rglob("escape.py"))


def test_working_directory_outside_the_image_is_refused(checkout, registry, session, tmp_path):
    image = with_config(images.build("mlops/retail-jobs", checkout), WorkingDir="/app/../../..")
    with pytest.raises(images.PullError, match="leads out of the image"):
        images.pull(registry.take(image), session, registry.url, tmp_path / "c")


@pytest.mark.parametrize("runtime", [None, "dev", "../../etc"])
def test_runtime_that_is_none_of_ours_is_refused(checkout, registry, session, tmp_path, runtime):
    labels = {images.LOCK_LABEL: "x"} | ({images.RUNTIME_LABEL: runtime} if runtime else {})
    image = with_config(images.build("mlops/retail-jobs", checkout), Labels=labels)
    with pytest.raises(images.PullError, match="a code image names one of api, jobs"):
        images.pull(registry.take(image), session, registry.url, tmp_path / "c")


def test_image_of_another_lock_is_refused(checkout, registry, session, tmp_path):
    reference = registry.take(images.build("mlops/retail-jobs", checkout))
    (checkout / ".venv/jobs/lock.sha256").write_text("newer\n")
    with pytest.raises(images.PullError, match=r"built for lock \w{64} of.*this checkout has newer.*make image"):
        images.pull(reference, session, registry.url, tmp_path / "c")


@pytest.mark.parametrize(
    "reference",
    [
        f"{ACCOUNT_REGISTRY}/mlops/retail-jobs:latest",
        f"docker.io/library/python@sha256:{'0' * 64}",
        f"{ACCOUNT_REGISTRY}/../mlops@sha256:{'0' * 64}",
        f"{ACCOUNT_REGISTRY}/mlops/retail-jobs@sha256:{'0' * 63}",
    ],
)
def test_tags_and_other_registries_are_refused(session, tmp_path, reference):
    with pytest.raises(images.PullError, match="tags and other registries are refused"):
        images.pull(reference, session, "http://127.0.0.1:1", tmp_path)


def test_registry_that_is_down_is_named(session, tmp_path):
    reference = f"{ACCOUNT_REGISTRY}/mlops/retail-jobs@sha256:{hashlib.sha256(b'').hexdigest()}"
    with pytest.raises(images.PullError, match="no password for the registry of mlops/retail-jobs"):
        images.pull(reference, session, "http://127.0.0.1:1", tmp_path)


# --- the bill of materials ---
@pytest.fixture
def pushed(checkout, registry, session):
    """A local stack whose registry has the jobs' image and its bill of materials."""
    stack = SimpleNamespace(aws_url=registry.url)
    image = images.build("mlops/retail-jobs", checkout)
    registry.take(image)
    bill = images.bill_of(image)
    registry.take(bill)
    registry.stored |= {image.tag: image.manifest, sbom.tag(image.digest): bill.manifest}
    return image, lambda: images.verify(session, stack, image)


def test_bill_lists_what_the_lock_installs_and_names_its_image(checkout):
    image = images.build("mlops/retail-jobs", checkout)
    bill = images.bill_of(image)
    assert sbom.packages(bill.blobs[1]) == {("fast-thing", "1.2")}
    assert json.loads(bill.manifest)["subject"]["digest"] == image.digest
    assert images.bill_of(image) == bill


def test_bills_of_the_checkout_list_every_locked_distribution():
    for name, contents in images.CONTENTS.items():
        lock = (images.config.ROOT / f"requirements/{contents.runtime}.txt").read_text()
        listed = sbom.packages(images.bill_of(images.build(name)).blobs[1])
        assert {package for package, _version in listed} == set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))


def test_bill_is_what_cyclonedx_asks_for(checkout):
    bill = images.bill_of(images.build("mlops/retail-jobs", checkout)).blobs[1]
    (checkout / "bill.json").write_bytes(bill)
    check = """import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))"""
    python = Path(__file__).parents[3] / ".venv/ci/bin/python"
    done = subprocess.run([python, "-c", check, checkout / "bill.json"], capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr


def test_lock_that_is_not_installed_makes_no_bill(checkout):
    image = images.build("mlops/retail-jobs", checkout)
    (checkout / "requirements/jobs.txt").write_text("fast_thing==1.3\n")
    with pytest.raises(images.ImageError, match="make install"):
        images.bill_of(image)


def test_image_with_its_bill_is_verified(pushed):
    image, verify = pushed
    assert verify() == f"{ACCOUNT_REGISTRY}/{image.name}@{image.digest}"


def test_image_without_bill_is_not_verified(pushed, registry):
    image, verify = pushed
    del registry.stored[sbom.tag(image.digest)]
    with pytest.raises(images.ImageError, match="make image"):
        verify()


def test_other_bill_or_content_is_not_verified(pushed, registry):
    image, verify = pushed
    registry.stored[images.digest(image.blobs[1])] = b"other source"
    with pytest.raises(images.ImageError, match="digest mismatch"):
        verify()
    registry.stored[sbom.tag(image.digest)] = image.manifest
    registry.stored[images.digest(image.blobs[1])] = image.blobs[1]
    with pytest.raises(images.ImageError, match="not what this source and its lock give"):
        verify()


def test_checkout_builds_both_images_from_tracked_files_only():
    tracked = set(
        subprocess.run(
            ["git", "ls-files"], cwd=images.config.ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()
    )
    for name in images.CONTENTS:
        assert {member.removeprefix("app/") for member in members(images.build(name))} <= tracked
