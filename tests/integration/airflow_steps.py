"""What tasks do with AWS, one call a step, with Airflow's own connections: `test_permissions` runs it in Airflow's
environment and writes step names to it, one a line; it answers each with a line of JSON, null or the error's text."""

import asyncio
import json
import sys
from collections.abc import Callable

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.hooks.sns import SnsHook

from include import lake
from include.settings import JOBS_REPOSITORY, METRIC_NAMESPACE, settings
from retail_mlops.common.job_requests import Source, processing, training, url
from retail_mlops.common.notifications import alerts_topic
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.eks_nodegroups import NodeGroupHook
from retail_mlops.hooks.model_registry import RegistryHook
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.operators.sagemaker import ProcessingJobOperator
from retail_mlops.schedule.running_resources import RunningResourcesHook
from retail_mlops.triggers.sagemaker import StoppingJobTrigger

PROBE = "tmp/permissions/probe"
STEPS: dict[str, Callable[[str], object]] = {}
"""name → what it does; the argument is a name that no step was given before."""


def step(work: Callable[[str], object]) -> Callable[[str], object]:
    STEPS[work.__name__] = work
    return work


def hook(service: str) -> AwsBaseHook:
    return AwsBaseHook("aws_default", client_type=service, region_name=settings().region)


# --- lake ---
@step
def read_object(name):
    LakeHook().content(LakeHook().keys(lake.GOLD_MANIFESTS)[0])


@step
def list_objects(name):
    LakeHook().keys(lake.GOLD_MANIFESTS)


@step
def write_object(name):
    LakeHook().put(PROBE, "{}")


@step
def remove_object(name):
    LakeHook().remove([PROBE])


# --- registry ---
@step
def list_packages(name):
    RegistryHook().newest()


@step
def describe_package(name):
    RegistryHook().newest()


@step
def decide_package(name):
    """As it is decided already."""
    registry = RegistryHook()
    newest = registry.newest("Approved")
    registry.decide(newest.arn, newest.status, newest.description)


@step
def newest_image(name):
    ImageHook().newest(JOBS_REPOSITORY)


# --- jobs ---
def probe_job(name):
    image = ImageHook().newest(JOBS_REPOSITORY)
    request = processing(["include.etl", "--help"], image=image, inputs={}, outputs={}, component="etl")
    return request | {"ProcessingJobName": name}


@step
def start_processing(name):
    SageMakerHook("aws_default", region_name=settings().region).create_processing_job(
        probe_job(name), wait_for_completion=False
    )


@step
def start_training(name):
    request = training(
        ImageHook().newest(JOBS_REPOSITORY), {"train": Source(url(lake.GOLD_MANIFESTS))}, hyperparameters={"trees": 1}
    )
    SageMakerHook("aws_default", region_name=settings().region).create_training_job(
        request | {"TrainingJobName": name}, wait_for_completion=False, check_interval=1, print_log=False
    )


@step
def watch_job(name):
    operator = ProcessingJobOperator(task_id="probe", config={})
    assert operator._describe(f"{name}-absent") is None


def stop(name: str, kind: str) -> None:
    """Stop a job as a killed task's trigger does; one that is not there counts as stopped."""
    trigger = StoppingJobTrigger(job_name=name, job_type=kind, aws_conn_id="aws_default", region_name=settings().region)
    asyncio.run(trigger.on_kill())


@step
def stop_job(name):
    stop(name, "Processing")


@step
def stop_training_job(name):
    stop(name, "Training")


@step
def read_job_log(name):
    """The operator only says it when it may not read the log."""
    said = []
    operator = ProcessingJobOperator(task_id="probe", config={})
    operator.log.info = lambda text, *arguments: said.append(text % arguments)
    operator._show_log(name)
    if denied := [text for text in said if "cannot be read" in text]:
        raise PermissionError(denied[0])


# --- cluster ---
@step
def log_in(name):
    with ClusterHook().login() as cluster:
        cluster.deployment("retail-api")


@step
def resize_nodes(name):
    """One more at most, and back."""
    nodes = NodeGroupHook()
    for group in nodes.groups():
        for size in (group.model_copy(update={"maximum": group.maximum + 1}), group):
            nodes.scale(size, timeout=30, poll=1)


@step
def count_instances(name):
    RunningResourcesHook().instances()


@step
def count_balancers(name):
    RunningResourcesHook().balancers()


@step
def count_jobs(name):
    RunningResourcesHook().jobs()


# --- watching ---
@step
def publish_metric(name):
    hook("cloudwatch").conn.put_metric_data(
        Namespace=METRIC_NAMESPACE, MetricData=[{"MetricName": "PermissionProbe", "Value": 0}]
    )


@step
def notify(name):
    SnsHook("aws_default", region_name=settings().region).publish_to_target(alerts_topic(), "a test of permissions")


def main() -> None:
    for line in sys.stdin:
        work, name = line.split()
        try:
            STEPS[work](name)
            answer = None
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print("ANSWER " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
