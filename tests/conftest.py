"""What all tests share: which of them one worker has to run, when there are several."""

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)  # not every environment has xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together, and so do all that use the one local stack of tests/integration."""
    from xdist.scheduler import LoadScopeScheduling

    class ByStack(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "local stack" if path.startswith("tests/integration/") else path

    return ByStack(config, log)
