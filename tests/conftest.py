"""What all tests share: which of them one worker has to run, when there are several."""

from pathlib import Path

import pytest

WORLD = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --dist loadgroup a file's tests stay together, and so do all that use the one embedded world."""
    if config.getoption("dist", "no") == "loadgroup":
        for item in items:
            group = "world" if WORLD in item.path.parents else str(item.path)
            item.add_marker(pytest.mark.xdist_group(group))
