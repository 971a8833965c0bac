"""`make secrets`, as it is called: detect-secrets lives in an environment of its own."""

import subprocess
from pathlib import Path

import pytest

from local.stack import config

RUN = """
import sys
from pathlib import Path
from tools import check_secrets as secrets
secrets.ROOT = Path(sys.argv[1])
secrets.KNOWN = eval(sys.argv[2])
sys.exit(secrets.main())
"""
KEY = "AKIA" + "Z" * 16  # in the shape of a key of AWS


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "settings.py").write_text("NAME = 'retail'\n")
    return tmp_path


def scan(repository: Path, known: dict | None = None) -> subprocess.CompletedProcess[str]:
    command = [config.ROOT / ".venv/ci/bin/python", "-c", RUN, repository, repr(known or {})]
    return subprocess.run(command, cwd=config.ROOT, capture_output=True, text=True)


def test_a_repository_without_secrets_passes(repository):
    done = scan(repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 files, 0 known to hold no secret, 0 complaints" in done.stdout


def test_a_key_is_told_with_its_place_and_not_with_itself(repository):
    (repository / "deploy.py").write_text(f"\nKEY = '{KEY}'\n")
    done = scan(repository)
    assert done.returncode == 1
    assert "deploy.py:2 AWS Access Key" in done.stdout
    assert KEY not in done.stdout


def test_what_is_known_to_be_none_passes_while_it_is_there(repository):
    known = {("deploy.py", "AWS Access Key"): "an example"}
    (repository / "deploy.py").write_text(f"KEY = '{KEY}'\n")
    assert scan(repository, known).returncode == 0
    (repository / "deploy.py").write_text("KEY = ''\n")
    done = scan(repository, known)
    assert done.returncode == 1
    assert "deploy.py: no AWS Access Key is found any more" in done.stdout


def test_a_repository_without_files_is_no_clean_one(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert scan(tmp_path).returncode == 1
