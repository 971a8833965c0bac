"""A job's process: its exit code and lines, its stop, its time limit, and a process that ignores SIGTERM."""

import os
import signal
import sys
import threading

import pytest

from local.aws.sagemaker import job_process
from local.aws.sagemaker.job_process import OUT_OF_TIME, Stop

IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


class Lines:
    """A job's log that can be waited for."""

    def __init__(self):
        self.lines = []
        self.has_line = threading.Event()

    def put(self, line):
        self.lines.append(line)
        self.has_line.set()

    def flush(self):
        pass


@pytest.fixture
def lines():
    return Lines()


def run(code, lines, folder, stop=None, limit=60.0):
    return job_process.run([sys.executable, "-c", code], folder, os.environ, lines, stop or Stop(), limit)


def test_exit_code_and_lines_are_those_of_the_command(lines, tmp_path):
    assert run("import sys; print('out'); print('error', file=sys.stderr); sys.exit(3)", lines, tmp_path) == 3
    assert sorted(lines.lines) == ["error", "out"]


def test_a_command_over_its_time_is_ended(lines, tmp_path):
    stop = Stop()
    assert run("import time; time.sleep(60)", lines, tmp_path, stop, limit=0.1) == -signal.SIGTERM
    assert stop.reason == OUT_OF_TIME


def test_a_command_that_ignores_sigterm_is_killed(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(job_process, "GRACE_SECONDS", 0.5)
    stop = Stop()

    def request_stop():
        assert lines.has_line.wait(30)
        stop.request("Stopped")

    requester = threading.Thread(target=request_stop)
    requester.start()
    assert run(IGNORES_SIGTERM, lines, tmp_path, stop) == -signal.SIGKILL
    requester.join()
    assert lines.lines == ["deaf"]


def test_the_first_reason_to_stop_counts():
    stop = Stop()
    stop.request("Stopped")
    stop.request(OUT_OF_TIME)
    assert stop.reason == "Stopped"


def test_a_command_that_does_not_exist_is_an_error(lines, tmp_path):
    with pytest.raises(OSError, match="no-such-program"):
        job_process.run(["/no-such-program"], tmp_path, os.environ, lines, Stop(), 60.0)
