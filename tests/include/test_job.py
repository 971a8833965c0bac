"""What every job does when it fails, and as process 1 of a container when it is stopped."""

import os
import signal
import subprocess
import sys

import pytest

from include import job


def test_base_folder_is_sagemakers_unless_the_environment_names_another(monkeypatch):
    monkeypatch.delenv("SAGEMAKER_BASE_DIR", raising=False)
    assert str(job.base_folder()) == "/opt/ml"
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", "/tmp/elsewhere")
    assert str(job.base_folder()) == "/tmp/elsewhere"


def test_failure_is_written_where_sagemaker_reads_it(tmp_path, capsys):
    assert job.report_failure(tmp_path, "the reason") == 1
    assert (tmp_path / "output" / "failure").read_text() == "the reason\n"
    assert capsys.readouterr().err == "the reason\n"


@pytest.mark.parametrize(("pid", "code"), [(1, 128 + signal.SIGTERM), (4711, -signal.SIGTERM)])
def test_sigterm_ends_the_job(pid, code):
    """A process that takes itself for process 1 ends by its own thread, any other by the default action."""
    program = (
        "import os, sys, threading\n"
        f"os.getpid = lambda: {pid}\n"
        "from include.job import end_on_sigterm\n"
        "end_on_sigterm()\n"
        "print('ready', flush=True)\n"
        "threading.Event().wait(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == code
