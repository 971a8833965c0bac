"""Images of this checkout, built once a session, and what tests/api has: a tiny bundle and a stub of AWS."""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from local.stack.config import any_free_port
from tests.api.conftest import CREDENTIALS, Release, aws, release, start  # noqa: F401 - fixtures
from tests.api.stub_aws import StubAws
from tests.docker import engine
from tools import build_images


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/docker" in item.path.as_posix() and not item.get_closest_marker("compose"):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session", autouse=True)
def usable_docker() -> None:
    if why := engine.why_unusable():
        pytest.fail(f"these tests need Docker, and there is none to be had: {why}", pytrace=False)


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """Return tools/build_images.py, with one revision for all tests."""
    module = build_images
    revision = module.revision()  # once: the checkout may change while the tests run
    module.revision = lambda: revision
    return module


@pytest.fixture(scope="session")
def api_image(builder: ModuleType) -> str:
    return builder.build("api", engine.TAG)


@pytest.fixture(scope="session")
def jobs_image(builder: ModuleType) -> str:
    return builder.build("jobs", engine.TAG)


@pytest.fixture
def run() -> Iterator[Callable[..., engine.Container]]:
    """Starts containers; removes what a test leaves."""
    begun: list[engine.Container] = []

    def begin(*words: str, **more) -> engine.Container:
        begun.append(engine.Container(*words, **more))
        return begun[-1]

    yield begin
    for container in begun:
        container.remove()


@pytest.fixture
def serve(
    run: Callable[..., engine.Container],
    api_image: str,
    release: Release,  # noqa: F811
    aws: StubAws,  # noqa: F811
) -> Callable[..., engine.Container]:
    """Starts the API in a container with the limits of k8s/base, on the loopback interface of this machine."""

    def begin(**changes: str) -> engine.Container:
        port = any_free_port()
        told = release.environment | CREDENTIALS | {"AWS_ENDPOINT_URL": aws.url, "HOST": "127.0.0.1"} | changes
        variables = [
            word for key, value in (told | {"PORT": str(port)}).items() for word in ("--env", f"{key}={value}")
        ]
        options = ("--network", "host", "--memory", "384m", "--cpus", "1", *variables)
        return run(api_image, options=options, port=port)

    return begin
