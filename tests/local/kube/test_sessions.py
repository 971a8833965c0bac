import os
import subprocess
import time

from local.kube import sessions

TREE = "sleep 60 & sleep 60 & wait"


def members(leader):
    return [pid for pid, session in sessions._sessions() if session == leader]


def wait_for(condition, seconds=5):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def test_a_kill_ends_the_whole_session_and_nothing_else():
    with (
        subprocess.Popen(["sh", "-c", TREE], start_new_session=True) as mine,
        subprocess.Popen(["sleep", "60"], start_new_session=True) as other,
    ):
        wait_for(lambda: len(members(mine.pid)) == 3)
        sessions.kill(mine.pid)
        mine.wait(5)
        wait_for(lambda: not members(mine.pid))
        assert other.poll() is None
        other.kill()


def test_usage_counts_cpu_and_memory_of_all_processes_of_a_session():
    burn = "import time\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass\ntime.sleep(60)"
    script = f'python3 -c "{burn}" & wait'
    with subprocess.Popen(["sh", "-c", script], start_new_session=True) as process:
        try:
            wait_for(lambda: sessions.usage({process.pid})[process.pid].cpu >= 0.2)
            assert sessions.usage({process.pid})[process.pid].memory > 2**20
            assert sessions.usage({os.getpid() + 10**7})[os.getpid() + 10**7].cpu == 0
        finally:
            sessions.kill(process.pid)
