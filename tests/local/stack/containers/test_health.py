"""The health check ends who has lost the shared network: first in order, then by force."""

import signal

import pytest

from local.stack.containers import health


@pytest.fixture
def signals(monkeypatch, tmp_path) -> list[tuple[int, int]]:
    """What is sent to whom, in a container that has only a loopback interface."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(health.os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(health, "ASKED", tmp_path / "cut-off")
    monkeypatch.setattr(health, "cut_off", lambda: True)
    return sent


def test_who_is_cut_off_is_asked_to_end_and_then_killed(monkeypatch, signals) -> None:
    monkeypatch.setenv("CONTAINER_ROLE", "scheduler")

    assert health.main() == 1
    assert signals == [(1, signal.SIGTERM)]
    assert health.main() == 1
    assert (-1, signal.SIGKILL) in signals


def test_the_gateway_itself_is_never_ended(monkeypatch, signals) -> None:
    monkeypatch.setenv("CONTAINER_ROLE", "gateway")

    assert health.main() == 0
    assert signals == []


def test_a_heartbeat_of_a_predecessor_does_not_count(monkeypatch) -> None:
    report = b'{"scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-01-01T00:00:00+00:00"}}'
    monkeypatch.setattr(health, "_get", lambda port, path: report)

    monkeypatch.setattr(health, "started", lambda: 4e9)
    assert not health.healthy("scheduler")
    monkeypatch.setattr(health, "started", lambda: 0.0)
    assert health.healthy("scheduler")


def test_who_does_not_answer_is_not_healthy(monkeypatch, capsys) -> None:
    monkeypatch.setenv("CONTAINER_ROLE", "api-server")
    monkeypatch.setenv("LOCAL_AIRFLOW_PORT", "1")
    monkeypatch.setattr(health, "cut_off", lambda: False)

    assert health.main() == 1
    assert "refused" in capsys.readouterr().out
