"""What all tests share: which of them one worker has to run, when there are several."""

import functools
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest


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


@pytest.hookimpl(optionalhook=True)  # not every environment has xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together, and so do all that use the one embedded world of tests/integration."""
    from xdist.scheduler import LoadScopeScheduling

    class ByWorld(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "world" if path.startswith("tests/integration/") else path

    return ByWorld(config, log)
