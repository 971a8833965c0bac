"""What all tests share: their order, and which of several workers runs which."""

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RELEASES = ("test_kills", "test_serving", "test_permissions")
"""Files of tests/integration that use a stack of their own when there are two workers: about half of the time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that use a stack first: they take longest."""
    items.sort(key=lambda item: order(item.nodeid))


def order(nodeid: str) -> int:
    """Return a test's place: the life cycle as the demo left it, then what uses a stack; teardown is its end."""
    path = Path(nodeid.partition("::")[0])
    if path.parent != Path("tests/integration"):
        return 4
    return {"test_lifecycle": 0, "test_teardown": 3}.get(path.stem, 1 if path.stem in RELEASES else 2)


def scope(nodeid: str, workers: int) -> str:
    """Return the name of the group of tests that one worker has to run: a file, or all that use one stack."""
    path = Path(nodeid.partition("::")[0])
    if path.parent != Path("tests/integration"):
        return str(path)
    return "stack of the releases" if workers > 1 and path.stem in RELEASES else "stack of the life cycle"


@pytest.hookimpl(optionalhook=True)  # not every environment has xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together, and so do all that use one stack; these begin, since they take longest."""
    from xdist.scheduler import LoadScopeScheduling

    class ByStack(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid, self.numnodes)

    config.option.loadscopereorder = False  # it would order by the number of tests
    return ByStack(config, log)


@pytest.fixture(scope="session", autouse=True)
def service_descriptions() -> Iterator[None]:
    """Let botocore read its description of a service once a process instead of once a client: 0.2 s of CPU each."""
    if not importlib.util.find_spec("botocore"):  # not every environment has it
        yield
        return
    from botocore import loaders

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", functools.cache(loaders.create_loader))
        yield
