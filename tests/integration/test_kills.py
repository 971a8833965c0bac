"""Killing a task ends the paid job behind it, whatever kind of job, however it is killed, wherever the task is."""

import os
import signal
import time
import urllib.parse

import psutil
import pytest

from include.settings import JOBS_REPOSITORY, settings
from local.stack.processes import members
from retail_mlops.common.names import run_digest
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

WITHIN = 30
"""Seconds in which the job must have ended."""
KINDS = {"etl": ("build", "Processing"), "train": ("fit", "Training")}
"""DAG → its first task with a job, and the kind of that job."""


def jobs(live, dag, run):
    """{name: status} of the run's jobs of the DAG's kind, oldest first."""
    kind, sagemaker = KINDS[dag][1], live.client("sagemaker")
    listed = getattr(sagemaker, f"list_{kind.lower()}_jobs")(
        NameContains=run_digest(dag, run), SortBy="CreationTime", SortOrder="Ascending", MaxResults=100
    )[f"{kind}JobSummaries"]
    return {job[f"{kind}JobName"]: job[f"{kind}JobStatus"] for job in listed}


def living(live, dag, run):
    return [name for name, status in jobs(live, dag, run).items() if status in ("InProgress", "Stopping")]


class Killed:
    """A run whose first job is to be killed."""

    def __init__(self, live, dag):
        self.live, self.dag, self.task = live, dag, KINDS[dag][0]
        options = {"partition_key": live.demo["weeks"][0]} if dag == "etl" else {}
        self.run = live.airflow.trigger(dag, conf={"force": True}, **options)
        self.path = f"/dags/{dag}/dagRuns/{urllib.parse.quote(self.run, safe='')}"

    def state(self):
        found = {task["task_id"]: task for task in self.live.airflow.task_instances(self.dag, self.run)}
        return found.get(self.task, {}).get("state")

    def is_(self, *states):
        return lambda: self.state() in states

    def job(self):
        """The name of its first job, which is in progress while the task is deferred."""
        until(self.is_("deferred"), 120, f"{self.dag}.{self.task} is deferred")
        (name,) = living(self.live, self.dag, self.run)
        return name

    def mark(self, state):
        self.live.airflow.call("PATCH", f"{self.path}/taskInstances/{self.task}", {"new_state": state})

    def clear(self):
        only = {"dry_run": False, "dag_run_id": self.run, "task_ids": [self.task], "only_failed": False}
        self.live.airflow.call("POST", f"/dags/{self.dag}/clearTaskInstances", only)

    def stop(self):
        self.live.airflow.call("PATCH", self.path, {"state": "failed"})

    def status(self, name):
        return jobs(self.live, self.dag, self.run)[name]

    def lives(self):
        """Whether a job of this very task does: a later task of one that was marked success starts its own."""
        return any(f"-{self.dag}-{self.task}-" in name for name in living(self.live, self.dag, self.run))

    def end(self):
        self.stop()
        until(lambda: not living(self.live, self.dag, self.run), WITHIN, "no job of the run lives")
        until(lambda: self.live.airflow.run(self.dag, self.run)["state"] == "failed", 60, "the run has ended")


@pytest.fixture
def start(live):
    """Starts a run of a DAG; at the end its later tasks, which may have started jobs of their own, end too."""
    started = []

    def start(dag):
        started.append(Killed(live, dag))
        return started[-1]

    yield start
    for killed in started:
        killed.end()


WAYS = {
    "marked failed": lambda killed: killed.mark("failed"),
    "marked success": lambda killed: killed.mark("success"),
    "run stopped": lambda killed: killed.stop(),
}


@pytest.mark.parametrize("dag", KINDS)
def test_process_of_the_job_is_really_gone(live, start, dag):
    """A job that has its machine, frozen, so that it neither ends by itself nor obeys SIGTERM. Before the sleepers."""
    killed = start(dag)

    def process():
        for pid in members(str(live.stack.state)):
            try:
                if f"include.{dag}" in psutil.Process(pid).cmdline():
                    return pid
            except psutil.Error:
                continue
        return None

    pid = until(process, 120, "the job's process")
    os.kill(pid, signal.SIGSTOP)
    name = killed.job()
    killed.mark("failed")
    until(lambda: killed.status(name) == "Stopped", WITHIN, f"{name} has stopped")
    assert not psutil.pid_exists(pid)


@pytest.fixture(scope="module")
def sleepers(live):
    """Two jobs that sleep hold all the machines there are: every other job goes on waiting for one, InProgress."""
    sagemaker, ours = live.client("sagemaker"), settings()
    names = [f"mlops-retail-{ours.environment}-sleeper-{number}-{time.time_ns()}" for number in (1, 2)]
    for name in names:
        sagemaker.create_processing_job(
            ProcessingJobName=name,
            RoleArn=ours.role("job"),
            AppSpecification={
                "ImageUri": live.newest_image(JOBS_REPOSITORY),
                "ContainerEntrypoint": ["python", "-c", "import time; time.sleep(3600)"],
            },
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.large", "VolumeSizeInGB": 1}
            },
        )
    yield
    for name in names:
        sagemaker.stop_processing_job(ProcessingJobName=name)
    for name in names:
        until(
            lambda name=name: (
                sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "Stopped"
            ),
            WITHIN,
            f"{name} has stopped",
        )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dag", KINDS)
def test_killing_a_deferred_task_ends_its_job(live, sleepers, start, dag, way):
    killed = start(dag)
    name = killed.job()
    WAYS[way](killed)
    until(lambda: killed.status(name) == "Stopped", WITHIN, f"{name} has stopped")


@pytest.mark.parametrize("dag", KINDS)
def test_clearing_a_deferred_task_ends_its_job_before_the_next_one_starts(live, sleepers, start, dag):
    killed = start(dag)
    first = killed.job()
    until(lambda: "job not done yet" in live.airflow.log(dag, killed.run, killed.task, 1), 30, "its trigger runs")
    killed.clear()

    def second():
        assert len(living(live, dag, killed.run)) <= 1, "two paid jobs at once"
        return [name for name in living(live, dag, killed.run) if name != first]

    (name,) = until(second, 60, "a job of the second try")
    assert killed.status(first) == "Stopped"
    assert name == f"{first.removesuffix('-1')}-2"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dag", KINDS)
def test_task_killed_in_its_worker_leaves_no_job(live, sleepers, start, dag, way):
    """It is killed at once when it runs: before, while, or after it starts its job, but before it is deferred."""
    killed = start(dag)
    until(killed.is_("running", "deferred"), 120, f"{dag}.{killed.task} runs")
    WAYS[way](killed)
    time.sleep(3)  # the worker is given time to start what it must not leave behind
    until(lambda: not killed.lives(), WITHIN, "no job of the task lives")
