"""Tasks of `deploy`: from an approved model package to a release that answers, or back to the one before."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Context, get_current_context
from airflow.sdk.exceptions import AirflowException

from include import lake
from include.settings import API_NAME, API_REPOSITORY, settings
from retail_mlops.common import check_jobs, environment_state
from retail_mlops.common.api_manifests import CANARY, Manifest, public_address, rendered
from retail_mlops.common.dag_defaults import APPROVED_MODEL
from retail_mlops.common.errors import RetailError
from retail_mlops.common.names import release_id
from retail_mlops.common.releases import FAILED, RELEASED, ROLLED_BACK, Release, newest_released, release_record
from retail_mlops.common.skipping import skip_task
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.hooks.ecr import ImageHook, split_reference
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.model_registry import APPROVED, ModelPackage, RegistryHook
from retail_mlops.hooks.public_endpoint import PublicEndpoint
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.release import bundle
from retail_mlops.release.manifests import IN_SERVICE, canary_manifests, endpoint_manifests, release_manifests
from retail_mlops.release.report import report
from retail_mlops.release.selection import release_of, require_approved, rollback_target

if TYPE_CHECKING:  # it imports the Kubernetes client, which takes half a second: only a login needs it
    from retail_mlops.hooks.eks_cluster import Cluster

KEEP: Final = "keep"
ON: Final = "on"
OFF: Final = "off"
"""KEEP, ON, OFF: the values of the Param `public_endpoint`."""
RELEASE: Final = TaskOutput[Release]("choose_release", Release)
CHECKS: Final = tuple(
    TaskOutput[dict[str, Any]](task_id, dict[str, Any], key="result") for task_id in ("verify_canary", "bake", "verify")
)
"""What the Jobs found; their task ids are keys of the release's record."""
ROLLOUT_TIMEOUT: Final = 900
MAX_ROLLOUT_POLL: Final = 5

log = logging.getLogger(__name__)


# --- before the rollout ---
def wait_until_scaled_up() -> bool:
    """Return whether the environment is up; log what is waited for if not."""
    return environment_state.is_scaled_up(get_current_context())


def update_endpoint(params: dict[str, Any]) -> None:
    """Make or remove the public endpoint; it is the same for every release, and may take minutes to appear.

    `keep` makes it for the first release and changes nothing later: it may have been switched off on purpose since, or
    made with other settings than today's.
    """
    wanted = params["public_endpoint"]
    with ClusterHook().login() as cluster:
        endpoint = PublicEndpoint(cluster)
        if wanted == KEEP and (endpoint.live() or cluster.deployment(API_NAME)):
            log.info("The public endpoint stays as it is, on or off")
        elif wanted == OFF:
            endpoint.remove()
            log.info("There is no public endpoint: only the cluster reaches the API")
        else:
            manifests = endpoint_manifests(rendered())
            cluster.apply(manifests)
            endpoint.remove(except_for=manifests)  # one of the other kind, from before RETAIL_ENDPOINT_KIND was changed


def choose_release(params: dict[str, Any]) -> dict[str, Any]:
    """Choose what to release and refuse what may not be; skip the run when that is running already."""
    context = get_current_context()
    records = LakeHook().documents(lake.DEPLOYMENTS)
    with ClusterHook().login() as cluster:
        live = cluster.deployment(API_NAME)
    running = newest_released(records) if live else None  # a lake may outlive its cluster
    arn = params["model_package_arn"] or _announced_package(context)
    image = params["image"]
    if params["rollback_to"]:
        target = rollback_target(params["rollback_to"], running, records)
        arn, image = target.model_package_arn, target.image
    package = _approved_package(arn)
    image = image or ImageHook().newest(API_REPOSITORY)
    _require_scanned(image, is_rollback=bool(params["rollback_to"]))
    release = release_of(package, image, release_id(package.version, context["ti"]), running)
    if running and running.is_live(live) and release.runs_as(live) and not params["force"]:
        skip_task(f"version {release.version} in {image} runs already as {running.id}: nothing to do")
    log.info("Release %s: %s in %s; before it: %s", release.id, package.arn, image, release.previous or "nothing")
    return RELEASE.dump(release)


def _announced_package(context: Context) -> str | None:
    """Return the package of the newest `approved_model` event that started the run; None without such an event."""
    events = context["triggering_asset_events"].get(APPROVED_MODEL)
    if not events:
        return None
    arn: str = max(events, key=lambda event: event.timestamp).extra["model_package_arn"]
    return arn


def _approved_package(arn: str | None) -> ModelPackage:
    """Return this package, or the newest approved one; RetailError unless it is approved."""
    registry = RegistryHook()
    package = registry.package(arn) if arn else registry.newest(APPROVED)
    if package is None:
        raise RetailError("no approved model in the registry: run train and approve its model")
    require_approved(package)
    return package


def _require_scanned(image: str, *, is_rollback: bool) -> None:
    """Raise RetailError unless the image's scan is clean; of a rollback's image, which ran before, only warn."""
    split_reference(image)
    try:
        ImageHook().require_scanned(image)
    except RetailError as error:
        if not is_rollback:
            raise
        log.warning("%s. This image ran before, so a rollback may use it: replace it soon", error)


def stage_bundle() -> None:
    """Copy the bundle and its held-out baskets to the release's keys, if the bundle is the approved one."""
    bundle.stage(LakeHook(), RELEASE.pull(get_current_context()))


# --- canary ---
def canary(context: Context, jinja_env: Any = None) -> list[Manifest]:
    return canary_manifests(rendered(), RELEASE.pull(context))


def canary_verification(context: Context, jinja_env: Any = None) -> Manifest:
    return check_jobs.verification(RELEASE.pull(context), CANARY)


def shift_traffic() -> None:
    """Give the canary's pod its share of users' requests.

    The pod that was verified gets it, or another of the same image and bundle; a successor of it would not.
    """
    with ClusterHook().login() as cluster:
        deployment = cluster.deployment(CANARY)
        if deployment is None or not RELEASE.pull(get_current_context()).is_live(deployment):
            raise RetailError("the canary of this release is gone: clear `apply_canary` and the tasks after it")
        pods = cluster.label_pods(deployment, IN_SERVICE)
        log.info("Pods in service now: %s", ", ".join(pods))


def bake(context: Context, jinja_env: Any = None) -> Manifest | str:
    """Return the Job that compares canary and stable pods; the reason when there is nothing to compare."""
    release, params = RELEASE.pull(context), context["params"]
    if release.previous is None:
        return "no release runs beside the canary: nothing to compare it with"
    if params["rollback_to"]:
        return "this release ran well before, and what runs now is to go: no time is spent on comparing them"
    if not params["bake_seconds"]:
        return "bake_seconds is 0: canary and stable pods are not compared"
    return check_jobs.bake(release, params["bake_seconds"])


# --- rollout ---
def stable(context: Context, jinja_env: Any = None) -> list[Manifest]:
    return release_manifests(rendered(), RELEASE.pull(context))


def verification(context: Context, jinja_env: Any = None) -> Manifest:
    return check_jobs.verification(RELEASE.pull(context))


def record_release() -> dict[str, Any]:
    """Keep the record of the release, which a later rollback can go back to."""
    context = get_current_context()
    release = RELEASE.pull(context)
    _keep_record(release, RELEASED, context)
    with ClusterHook().login() as cluster:
        for endpoint in PublicEndpoint(cluster).live():
            log.info("Public endpoint: %s", public_address(endpoint) or "its load balancer is still being made")
    return RELEASE.dump(release)


def _keep_record(release: Release, outcome: str, context: Context, reason: str = "") -> None:
    """Write the record of a release to the lake, and log it."""
    ti = context["ti"]
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    results = {check.task_id: check.find(context) for check in CHECKS}
    checks = {task_id: result for task_id, result in results.items() if result}
    record = release_record(release, outcome, now, f"{ti.dag_id}/{ti.run_id}", reason, checks)
    LakeHook().put_document(lake.deployment(release.id), record)
    log.info("%s", report(record))


def remove_canary() -> None:
    """Delete the canary, for the stable pods are of the same release now; nothing has to wait until it has drained."""
    with ClusterHook().login() as cluster:
        cluster.start_deletion(CANARY)


# --- rollback ---
def roll_back() -> None:
    """Restore the release before, if this one had replaced it, and remove the canary; the run fails.

    The canary loses its traffic first and is removed last: if its node is lost, that may take long.
    """
    context = get_current_context()
    release = RELEASE.find(context)
    with ClusterHook().login() as cluster:
        if deployment := cluster.deployment(CANARY):
            cluster.label_pods(deployment, dict.fromkeys(IN_SERVICE))
        if release:
            outcome, result = _restore(cluster, release)
            _keep_record(release, outcome, context, f"{_failed_tasks(context)} failed; {result}")
        _clean_up(cluster)
    if release is None:
        skip_task("nothing was released: nothing to roll back")


def _restore(cluster: Cluster, release: Release) -> tuple[str, str]:
    """Bring the stable pods back to the release before, if this one had replaced it; (outcome, the same in words)."""
    if not release.is_live(cluster.deployment(API_NAME)):
        return FAILED, "the stable pods were not touched"
    if release.previous is None:
        cluster.delete_deployment(API_NAME)
        return ROLLED_BACK, "rolled back to nothing (it was the first release)"
    key = lake.deployment(release.previous)
    document = LakeHook().document(key)
    if document is None:
        raise RetailError(f"{key} is gone: release {release.previous} cannot be restored. Run deploy with rollback_to")
    previous = Release(**document["release"])
    cluster.apply(release_manifests(rendered(), previous))
    cluster.wait_for_rollout(API_NAME, timeout=ROLLOUT_TIMEOUT, poll=min(settings().poll_seconds, MAX_ROLLOUT_POLL))
    return ROLLED_BACK, f"rolled back to {previous.id}"


def _clean_up(cluster: Cluster) -> None:
    """Remove the canary, and the public endpoint if no release is left to answer."""
    if cluster.deployment(API_NAME) is None:
        log.info("No release is left to answer: removing the public endpoint, which would only cost")
        PublicEndpoint(cluster).remove()
    try:
        cluster.delete_deployment(CANARY)
    except AirflowException as error:
        log.warning("%s: no user reaches it, and it goes when its node answers or is given up", error)


def _failed_tasks(context: Context) -> str:
    """Return the tasks of this run that failed, in words."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    failed = sorted(task_id for task_id, state in states.items() if state == "failed")
    return ", ".join(failed) or "a task"
