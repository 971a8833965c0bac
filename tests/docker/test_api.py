"""The image `api` against what the embedded runtime does with the same bundle, and what k8s/base expects of it."""

import http.client
import json
import time
from collections.abc import Callable
from types import ModuleType

import pytest
import yaml

from tests.api.conftest import Process
from tests.api.stub_aws import StubAws
from tests.api.tiny import basket
from tests.docker.engine import ROOT, Container, docker, image

ABOVE_BASE = 200e6
MEMORY = 200 * 2**20


def post(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, bytes, str | None]:
    connection.request("POST", path, json.dumps(body))
    reply = connection.getresponse()
    return reply.status, reply.read(), reply.headers["Connection"]


@pytest.fixture(scope="module")
def pod() -> dict:
    return yaml.safe_load((ROOT / "k8s/base/deployment.yaml").read_text())["spec"]["template"]["spec"]


def test_its_predictions_are_those_of_the_embedded_runtime(
    serve: Callable[..., Container], start: Callable[..., Process]
) -> None:
    container, process = serve(), start()
    process.until_ready()
    container.until(lambda: container.get("/ready") == 200)
    baskets = [basket(seed, known=seed % 7 > 0) for seed in range(60)]

    one_by_one = [[post(each.connect(), "/predict", body)[:2] for body in baskets] for each in (container, process)]
    together = [post(each.connect(), "/predict/batch", {"baskets": baskets})[:2] for each in (container, process)]

    assert one_by_one[0] == one_by_one[1]
    assert together[0] == together[1]
    assert {status for status, _ in one_by_one[0]} == {200}
    predictions = [json.loads(body)["prediction"] for _, body in one_by_one[0]]
    assert len(set(predictions)) == 4, "the baskets reach every class, and Unclassified"


def test_a_wrong_bundle_ends_it_with_the_reason(serve: Callable[..., Container]) -> None:
    container = serve(BUNDLE_DIGEST="0" * 64)

    assert container.wait() == 3
    assert container.events("refused")


def test_it_is_the_user_of_the_manifest_who_can_write_nothing_but_tmp(
    serve: Callable[..., Container], pod: dict, api_image: str
) -> None:
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert image(api_image)["Config"]["User"] == user
    container = serve()
    container.until(lambda: container.get("/ready") == 200)

    assert container.python("import os; print(f'{os.getuid()}:{os.getgid()}')") == user
    attempt = "import pathlib; pathlib.Path('{}/x').write_text('x')"
    assert docker("exec", container.id, "python", "-c", attempt.format("/tmp"), check=False).returncode == 0
    for folder in ("/app", "/app/.venv/api", "/var/tmp", "/etc"):
        assert docker("exec", container.id, "python", "-c", attempt.format(folder), check=False).returncode == 1, folder
    assert container.python("print(next(x for x in open('/proc/1/status') if 'CapEff' in x).split()[1])") == "0" * 16


def test_nothing_of_it_belongs_to_the_user(api_image: str, run: Callable[..., Container]) -> None:
    code = (
        "import pathlib\n"
        "for path in pathlib.Path('/app').rglob('*'):\n"
        "    told = path.lstat()\n"
        "    if told.st_uid or told.st_mode & 0o022 and not path.is_symlink(): print(path)\n"
        "print('looked at', path)"
    )
    container = run(api_image, "-c", code, options=("--entrypoint", "python"))

    assert container.wait() == 0
    assert container.log.startswith("looked at /app/")


def test_its_port_and_command_are_the_manifests(api_image: str, pod: dict) -> None:
    config, port = image(api_image)["Config"], pod["containers"][0]["ports"][0]["containerPort"]

    assert list(config["ExposedPorts"]) == [f"{port}/tcp"]
    assert "command" not in pod["containers"][0]
    assert config["Entrypoint"] == ["python", "-m", "api"]


def test_sigterm_drains_and_ends_it_with_0(serve: Callable[..., Container]) -> None:
    container = serve(DRAIN_SECONDS="2")
    container.until(lambda: container.get("/ready") == 200)
    kept = container.connect()
    assert post(kept, "/predict", basket(1))[2] is None

    container.signal("TERM")
    container.until(lambda: container.get("/ready") == 503)
    status, _, told = post(kept, "/predict", basket(1))
    assert (status, told) == (200, "close")
    assert post(container.connect(), "/predict", basket(2))[0] == 200

    assert container.wait(10) == 0
    assert container.events("stopped")


def test_its_health_check_follows_it(serve: Callable[..., Container], aws: StubAws) -> None:
    aws.stop()  # alive, not ready: a container engine must not restart what waits for S3
    container = serve()
    check = image(container.inspect()["Image"])["Config"]["Healthcheck"]["Test"]
    assert check[:2] == ["CMD", "python"]
    container.until(lambda: container.get("/health") == 200)

    assert container.get("/ready") == 503
    assert docker("exec", container.id, *check[1:], check=False).returncode == 0
    port_of_nobody = ("--env", "PORT=1")
    assert docker("exec", *port_of_nobody, container.id, *check[1:], check=False).returncode == 1


def test_it_stays_within_the_manifests_limits(serve: Callable[..., Container]) -> None:
    began = time.monotonic()
    container = serve()
    container.until(lambda: container.get("/ready") == 200, 10)
    ready = time.monotonic() - began
    assert [post(container.connect(), "/predict", basket(seed))[0] for seed in range(50)] == [200] * 50

    host, told = container.inspect()["HostConfig"], container.python("print(*open('/proc/1/status'))")
    assert (host["Memory"], host["NanoCpus"]) == (384 * 2**20, 10**9)
    resident = int(next(line for line in told.splitlines() if "VmHWM" in line).split()[1]) * 1024
    print(f"ready after {ready:.1f} s, at most {resident / 2**20:.0f} MiB")
    assert resident < MEMORY
    assert not container.state["OOMKilled"]


def test_it_is_small(api_image: str, builder: ModuleType) -> None:
    assert builder.above_base("api", api_image) < ABOVE_BASE


def test_its_labels_say_what_it_was_made_of(api_image: str, builder: ModuleType) -> None:
    labels = image(api_image)["Config"]["Labels"]

    assert labels["mlops.runtime"] == "api"
    assert labels["mlops.lock"] == builder.lock("api") == (ROOT / ".venv/api/lock.sha256").read_text().strip()
    assert labels["org.opencontainers.image.version"] == builder.version()
    assert labels["org.opencontainers.image.revision"] == builder.revision() != ""
    assert labels["org.opencontainers.image.base.name"] == builder.DEFAULT_BASE
    assert {"org.opencontainers.image.source", "org.opencontainers.image.base.digest"} <= set(labels)


def test_a_lock_that_is_not_the_labels_fails_the_build() -> None:
    told = docker("build", "--target", "api", "--build-arg", f"LOCK_API={'0' * 64}", str(ROOT), check=False)

    assert told.returncode != 0
    assert f"the build argument says {'0' * 64}" in told.stdout + told.stderr


def test_it_holds_only_what_it_runs(api_image: str, run: Callable[..., Container]) -> None:
    code = (
        "import pathlib; app = pathlib.Path('/app'); "
        "print(sorted(str(p.relative_to(app)) for p in app.rglob('*.py') if '.venv' not in p.parts))"
    )
    container = run(api_image, "-c", code, options=("--entrypoint", "python"))
    assert container.wait() == 0

    from cli.images.code_image import source_files  # what the code image holds
    from local.stack.code_images import CONTENTS

    sources = CONTENTS["mlops/retail-api"].sources
    ours = sorted(path.relative_to(ROOT).as_posix() for path in source_files(sources, ROOT) if path.suffix == ".py")
    assert container.log.strip() == str(ours)
