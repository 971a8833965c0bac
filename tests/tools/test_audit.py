"""An audit that could not look anything up is no clean one."""

import os
from pathlib import Path

import pytest

from tools import audit


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    lock = tmp_path / "one.txt"
    lock.write_text(f"basket==1.0 --hash=sha256:{'0' * 64}\n")
    return lock


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> Path:
    """A pip-audit that notes how it was called and ends with `status`."""
    script = tmp_path / "pip-audit"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexit {status}\n')
    script.chmod(0o755)
    monkeypatch.setattr(audit, "PROGRAM", script)
    return tmp_path / "calls"


def test_a_finding_fails_and_the_other_locks_are_looked_at_all_the_same(lock, tmp_path, monkeypatch, capsys):
    calls = program(tmp_path, monkeypatch, 1)
    assert audit.audit([lock, lock]) == 2
    assert len(calls.read_text().splitlines()) == 2
    assert "2 locks, 2 with vulnerabilities, or that could not be looked up" in capsys.readouterr().out


def test_what_is_skipped_counts_as_a_failure_and_what_is_accepted_is_left_out(lock, tmp_path, monkeypatch):
    calls = program(tmp_path, monkeypatch, 0)
    assert audit.audit([lock], {"GHSA-0000"}) == 0
    assert {"--strict", "--require-hashes", "--ignore-vuln=GHSA-0000"} <= set(calls.read_text().split())


@pytest.mark.parametrize(("late", "status"), [(set(), 0), ({"GHSA-0000"}, 1)])
def test_what_is_accepted_no_longer_fails_although_nothing_is_found(late, status, tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, 0)
    monkeypatch.setattr(audit, "expired", lambda day: late)
    assert audit.main() == status


def test_without_an_index_it_fails(lock, monkeypatch):
    monkeypatch.setattr(audit, "PROGRAM", audit.ROOT / ".venv/ci/bin/pip-audit")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:9")
    assert audit.audit([lock]) == 1
