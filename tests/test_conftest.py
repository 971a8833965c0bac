"""The order of the tests, and which worker runs which."""

from pathlib import Path
from types import SimpleNamespace

from tests import conftest

FOLDER = Path(__file__).parent


def test_teardown_is_the_last_that_uses_the_stack_and_the_life_cycle_the_first():
    files = [
        "tests/cli/test_a.py",
        *(f"tests/integration/test_{name}.py" for name in ("teardown", "kills", "lifecycle")),
    ]
    items = [SimpleNamespace(nodeid=f"{file}::test") for file in files]
    conftest.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [f"{file}::test" for file in reversed(files)]


def test_two_workers_have_a_stack_each_and_one_worker_has_one():
    files = [f"tests/integration/test_{name}.py::test" for name in ("kills", "teardown", "scale", "serving")]
    assert len({conftest.scope(file, workers=2) for file in files}) == 2
    assert len({conftest.scope(file, workers=1) for file in files}) == 1
    assert conftest.scope("tests/api/test_a.py::test", workers=2) == "tests/api/test_a.py"


def test_files_with_a_stack_of_their_own_exist():
    assert all((FOLDER / f"integration/{stem}.py").exists() for stem in conftest.RELEASES)
