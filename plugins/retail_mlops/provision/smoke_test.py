"""The smoke test of a new cluster: a Job that must read the lake through the API's role, and nothing else."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import yaml
from airflow.sdk import Context, get_current_context

from include import lake
from include.settings import API_REPOSITORY, settings
from retail_mlops.common import job_requests, smoke_buckets
from retail_mlops.common.api_manifests import Manifest, configure_container
from retail_mlops.common.dag_defaults import ADMIN, ROOT
from retail_mlops.common.environment_state import is_scaled_down
from retail_mlops.common.errors import RetailError
from retail_mlops.common.names import run_digest
from retail_mlops.common.skipping import skip_task
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.s3_lake import LakeHook


@dataclass(frozen=True)
class SmokeTest:
    """What the Job checks; marker: content of the object that it reads; foreign_bucket: one that it must not read."""

    image: str
    marker: str
    foreign_bucket: str


SMOKE_TEST: Final = TaskOutput[SmokeTest]("prepare_smoke_test", SmokeTest)


# --- pure ---
def smoke_job(manifest: Manifest, test: SmokeTest) -> Manifest:
    """Return the manifest with its image and environment filled in."""
    denied = [job_requests.url(lake.SMOKE_DENIED), f"s3://{test.foreign_bucket}/{lake.SMOKE}"]
    environment = {
        "AWS_REGION": settings().region,
        "SMOKE_READ": job_requests.url(lake.SMOKE),
        "SMOKE_CONTENT": test.marker,
        "SMOKE_DENIED": " ".join(denied),
    }
    configure_container(manifest["spec"]["template"]["spec"]["containers"][0], test.image, environment)
    return manifest


# --- tasks ---
def prepare_smoke_test() -> dict[str, Any]:
    """Write what the Job reads and what it must not read, here and in a foreign bucket.

    Skipped, with the Job, while there is no image or no node for it.
    """
    if is_scaled_down(ADMIN):
        skip_task(
            "the environment is scaled down, no node could run the smoke test: run scale_up, then provision again"
        )
    try:
        image = ImageHook(ADMIN).newest(API_REPOSITORY)
    except RetailError as error:
        skip_task(f"{error}; then run provision again: it ends with the smoke test")
    hook, ti = LakeHook(ADMIN), get_current_context()["ti"]
    run = run_digest(ti.dag_id, ti.run_id)
    marker = f"{run}-{ti.try_number} {dt.datetime.now(dt.UTC):%FT%TZ}"
    test = SmokeTest(image, marker, f"{smoke_buckets.prefix()}{run}")
    hook.put(lake.SMOKE, test.marker, content_type="text/plain")
    hook.put(lake.SMOKE_DENIED, "only a role that may read tmp/ sees this", content_type="text/plain")
    smoke_buckets.make(hook, test.foreign_bucket)
    return SMOKE_TEST.dump(test)


def smoke_test(context: Context, jinja_env: Any = None) -> Manifest:
    manifest: Manifest = yaml.safe_load((ROOT / "k8s" / "smoke-job.yaml").read_text())
    return smoke_job(manifest, SMOKE_TEST.pull(context))


def clean_up_smoke_test() -> None:
    """Remove the foreign buckets of this run, and of runs that were killed."""
    smoke_buckets.remove_all(ADMIN)
