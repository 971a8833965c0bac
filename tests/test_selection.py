"""The pipeline's choice of fault tests: each is in exactly one part, and nothing that changed is left out."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest, selection
from tests.selection import Rotation

ROOT = conftest.ROOT
PRODUCT = ("api", "cli", "dags", "include", "infra", "k8s", "local", "plugins")
FAULTS = re.compile(r"pytest\.mark\.faults")
HERE = str(Path(__file__).relative_to(ROOT))


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()]
    assert paths
    return paths


def files_with_faults() -> set[str]:
    paths = [path for path in tracked("tests") if path.endswith(".py") and path != HERE]
    return {path for path in paths if FAULTS.search((ROOT / path).read_text())}


# --- parts ---
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_test_is_in_exactly_one_part(parts):
    names = [f"tests/integration/test_{file}.py::test_{number}[case]" for file in "abc" for number in range(40)]
    for name in names:
        assert sum(Rotation(part, parts).takes(name) for part in range(1, parts + 1)) == 1


def test_no_part_is_empty_or_has_nearly_everything():
    names = [f"tests/integration/test_a.py::test_{number}" for number in range(90)]
    sizes = [sum(Rotation(part, 3).takes(name) for name in names) for part in (1, 2, 3)]
    assert min(sizes) > 15
    assert sum(sizes) == 90


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/3/3", "1.5/3"])
def test_part_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match="is not K/N"):
        Rotation.parse(text)


def test_part_is_read():
    assert Rotation.parse("2/3") == Rotation(2, 3)


def test_tests_that_need_each_other_are_one_unit():
    assert selection.unit("tests/a.py::test_b[c::d]", together=True) == "tests/a.py"
    assert selection.unit("tests/a.py::test_b[c::d]", together=False) == "tests/a.py::test_b[c::d]"


# --- what pytest runs ---
def item(nodeid, *marks):
    return SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda name: name in marks or None)


def selected(items, rotate=None, changed=()):
    """The ids that are left of the items; those that were left out are reported as deselected."""
    options = {"--rotate": rotate, "--changed-since": "base" if changed else None}
    deselected = []
    hook = SimpleNamespace(pytest_deselected=lambda items: deselected.extend(items))
    config, left = SimpleNamespace(getoption=options.get, hook=hook), list(items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "changed_since", lambda revision, root: list(changed))
        conftest.pytest_collection_modifyitems(config, left)
    ids = [one.nodeid for one in left]
    assert sorted(ids + [one.nodeid for one in deselected]) == sorted(one.nodeid for one in items)
    return ids


KILLS = [item(f"tests/integration/test_kills.py::test_{number}", "faults") for number in range(20)]
SERVING = [item(f"tests/integration/test_serving.py::test_{number}", "faults") for number in range(20)]
PERMISSIONS = [
    item(f"tests/integration/test_permissions.py::test_{number}", "faults", "together") for number in range(20)
]
OTHERS = [item(f"tests/integration/test_lifecycle.py::test_{number}", "integration") for number in range(20)]
ALL = [*KILLS, *SERVING, *PERMISSIONS, *OTHERS]


def names(items):
    return {one.nodeid for one in items}


def test_three_runs_take_every_fault_test_once_and_all_others_each_time():
    runs = [set(selected(ALL, rotate=f"{part}/3")) for part in (1, 2, 3)]
    assert set.union(*runs) == names(ALL)
    assert set.intersection(*runs) == names(OTHERS)
    assert sum(map(len, runs)) == len(ALL) + 2 * len(OTHERS)


def test_without_the_option_everything_runs():
    assert set(selected(ALL)) == names(ALL)


def test_file_whose_tests_need_each_other_is_taken_whole_or_not_at_all():
    taken = [set(selected(ALL, rotate=f"{part}/3")) & names(PERMISSIONS) for part in (1, 2, 3)]
    assert sorted(map(len, taken)) == [0, 0, len(PERMISSIONS)]


@pytest.mark.parametrize("part", [1, 2, 3])
def test_file_whose_subject_changed_is_taken_whole(part):
    assert names(SERVING) <= set(selected(ALL, rotate=f"{part}/3", changed=["api/http/server.py"]))


@pytest.mark.parametrize("path", ["requirements/airflow.txt", "tests/integration/conftest.py"])
def test_what_all_of_them_use_brings_all_of_them(path):
    assert set(selected(ALL, rotate="1/3", changed=[path])) == names(ALL)


def test_wrong_part_ends_the_run():
    with pytest.raises(pytest.UsageError, match="K/N"):
        selected(ALL, rotate="4/3")


def test_revision_that_git_does_not_know_ends_the_run():
    options = {"--rotate": "1/3", "--changed-since": "no-such-revision"}
    with pytest.raises(pytest.UsageError, match="no-such-revision"):
        conftest.pytest_collection_modifyitems(SimpleNamespace(getoption=options.get), list(ALL))


# --- the order, and who runs what ---
def test_teardown_is_the_last_that_uses_the_stack_and_the_life_cycle_the_first():
    files = [
        "tests/cli/test_a.py",
        *(f"tests/integration/test_{name}.py" for name in ("teardown", "kills", "lifecycle")),
    ]
    ids = [nodeid.partition("::")[0] for nodeid in selected([item(f"{file}::test", "integration") for file in files])]
    assert ids == [files[3], files[2], files[1], files[0]]


def test_two_workers_have_a_stack_each_and_one_worker_has_one():
    files = [f"tests/integration/test_{name}.py::test" for name in ("kills", "teardown", "scale", "serving")]
    assert len({conftest.scope(file, workers=2) for file in files}) == 2
    assert len({conftest.scope(file, workers=1) for file in files}) == 1
    assert conftest.scope("tests/api/test_a.py::test", workers=2) == "tests/api/test_a.py"


def test_files_with_a_stack_of_their_own_exist():
    assert all((ROOT / f"tests/integration/{stem}.py").exists() for stem in conftest.RELEASES)


# --- subjects ---
def test_every_file_with_fault_tests_has_its_subject():
    assert set(selection.SUBJECTS) == files_with_faults()


@pytest.mark.parametrize("file", selection.SUBJECTS)
def test_paths_of_a_subject_exist(file):
    for path in (*selection.SUBJECTS[file], *selection.EVERY_FILE):
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


def test_every_file_of_the_product_is_the_subject_of_a_fault_test():
    without = [path for path in tracked(*PRODUCT) if not selection.touched(selection.SUBJECTS, [path])]
    assert without == []


def test_test_file_that_changed_is_taken():
    assert selection.touched(selection.SUBJECTS, ["tests/integration/test_scale.py"]) == {
        "tests/integration/test_scale.py"
    }


# --- what changed ---
@pytest.fixture
def repository(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "old name").write_text("text\n" * 20)
    (tmp_path / "same").write_text("same\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return tmp_path, git


def test_changes_have_both_names_of_a_moved_file_and_what_is_not_committed(repository):
    root, git = repository
    git("mv", "old name", "new name")
    git("commit", "-q", "-m", "second")
    (root / "same").write_text("other\n")
    assert sorted(selection.changed_since("HEAD~1", root)) == ["new name", "old name", "same"]
    assert selection.changed_since("HEAD", root) == ["same"]
