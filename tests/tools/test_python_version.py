"""The range of supported Pythons stands in pyproject.toml; everything else agrees with it."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from local.stack.config import ROOT
from tools.python_version import PROJECT, RANGE, refusal, supported

TEXT = PROJECT.read_text()
OLDEST, NEWEST = supported(TEXT)
PAGES = ("README.md", "CONTRIBUTING.md", "docs/aws.md")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def minor(version: str) -> int:
    return int(version.split(".")[1])


def matrices() -> dict[str, list[str]]:
    """The Pythons of each job of ci that runs once per Python."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yaml").read_text())["jobs"]
    return {name: job["strategy"]["matrix"]["python"] for name, job in jobs.items() if "strategy" in job}


# --- the check itself ---
@pytest.mark.parametrize("version", [(3, OLDEST), (3, NEWEST)])
def test_ends_of_the_range_are_accepted(version):
    assert refusal(*version, TEXT) == ""


@pytest.mark.parametrize("version", [(2, 7), (2, NEWEST), (3, OLDEST - 1), (3, NEWEST + 1), (4, OLDEST)])
def test_another_python_is_refused_with_range_and_remedy(version):
    sentence = refusal(*version, TEXT)
    assert f"Python 3.{OLDEST} to 3.{NEWEST}" in sentence
    assert f"Python {version[0]}.{version[1]}" in sentence
    assert "PYTHON=" in sentence
    assert "\n" not in sentence


def test_a_project_without_a_range_is_refused():
    with pytest.raises(ValueError, match="requires-python"):
        supported("[project]\n")


def test_range_is_the_one_that_packaging_tools_read():
    assert tomllib.loads(TEXT)["project"]["requires-python"] == f">=3.{OLDEST},<3.{NEWEST + 1}"


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and what its first rules read, for a project that supports no Python of today."""
    for name in ("Makefile", "tools/python_version.py", "requirements/bootstrap.txt", "requirements/api.txt"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    (tmp_path / "pyproject.toml").write_text(RANGE.sub('requires-python = ">=3.98,<3.100"', TEXT))
    return tmp_path


@pytest.mark.parametrize("target", [".venv/bootstrap/lock.sha256", ".venv/api/lock.sha256"])
def test_make_refuses_before_it_installs_anything(checkout, target):
    command = ["make", "--no-print-directory", target, f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode != 0
    assert "Python 3.98 to 3.99 is supported" in done.stderr
    assert not (checkout / ".venv").exists()


def test_make_refuses_also_where_the_installer_is_there(checkout):
    installer = checkout / ".venv/bootstrap/lock.sha256"
    installer.parent.mkdir(parents=True)
    installer.touch()
    command = ["make", "--no-print-directory", ".venv/api/lock.sha256", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert "Python 3.98 to 3.99 is supported" in done.stderr
    assert not (checkout / ".venv/api").exists()


# --- everything that names a Python ---
@pytest.mark.parametrize("page", PAGES)
def test_pages_name_the_range(page):
    named = re.findall(r"Python (3\.\d+) to (3\.\d+)", (ROOT / page).read_text())
    assert named
    assert set(named) == {(f"3.{OLDEST}", f"3.{NEWEST}")}


def test_makefile_names_no_range_of_its_own():
    text = (ROOT / "Makefile").read_text()
    assert "tools/python_version.py" in text
    assert not re.findall(r"3\.\d+|version_info", text)


def test_ci_tests_both_ends():
    assert matrices()
    for name, pythons in matrices().items():
        assert pythons == [f"3.{OLDEST}", f"3.{NEWEST}"], name


def test_unit_tests_run_on_both_ends():
    assert "test" in matrices()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_use_supported_pythons(path):
    named = re.findall(r'python-version: "?([^"\n]+)"?', path.read_text())
    assert named or path.stem == "teardown"  # which asks an Airflow that is there
    for version in named:
        assert version == "${{ matrix.python }}" or OLDEST <= minor(version) <= NEWEST, version


def test_images_use_a_supported_python():
    (version,) = set(re.findall(r"python:(3\.\d+)-slim", (ROOT / "Dockerfile").read_text()))
    assert OLDEST <= minor(version) <= NEWEST


def test_tools_read_the_code_as_the_oldest_python_does():
    tools = tomllib.loads(TEXT)["tool"]
    assert tools["ruff"]["target-version"] == f"py3{OLDEST}"
    assert tools["mypy"]["python_version"] == f"3.{OLDEST}"


def test_locks_are_resolved_from_the_oldest_python_on():
    (program,) = ROOT.glob("*/locks.py")
    assert f'"--universal", "--python-version", "3.{OLDEST}"' in program.read_text()
