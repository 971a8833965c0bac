"""Tasks of `deploy`: from an approved model package to a release that answers, or back to the one before."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import tarfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, get_current_context
from airflow.sdk.exceptions import AirflowException

from include import lake
from include.settings import API_NAME, API_REPOSITORY, settings
from retail_mlops.common import job_requests as requests
from retail_mlops.common.dag_defaults import APPROVED_MODEL
from retail_mlops.common.errors import RetailError
from retail_mlops.common.names import release_id
from retail_mlops.common.task_log import say, skip
from retail_mlops.hooks.ecr import ImageHook, split_reference
from retail_mlops.hooks.eks_cluster import Cluster
from retail_mlops.hooks.eks_login import ClusterHook
from retail_mlops.hooks.model_registry import APPROVED, ModelPackage, RegistryHook
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.release import releases
from retail_mlops.release.releases import Release
from retail_mlops.schedule.tasks import capacity_of

if TYPE_CHECKING:
    from retail_mlops.hooks.eks_cluster import Cluster


# --- pure ---
def assert_approved(package: ModelPackage) -> None:
    """RetailError for a model that nobody approved."""
    if package.status != APPROVED:
        why = f" ({package.description})" if package.description else ""
        raise RetailError(
            f"{package.arn} is {package.status}{why}: only Approved models are deployed. Approve it in Airflow "
            "(Browse, Required Actions of train), or name another in model_package_arn"
        )


def release_of(package: ModelPackage, image: str, identity: str, previous: Release | None) -> Release:
    """The release of a package in an image; RetailError when the package was not registered by train."""
    needed = ("bundle_digest", "evidence")
    if missing := [name for name in needed if not package.metadata.get(name)]:
        raise RetailError(f"{package.arn} says nothing of its {' and '.join(missing)}: register models with train")
    return Release(
        id=identity,
        model_package_arn=package.arn,
        version=package.version,
        bundle_digest=package.metadata["bundle_digest"],
        image=image,
        source_url=package.model_url,
        evidence_url=package.metadata["evidence"],
        previous=previous.id if previous else None,
    )


def rollback_target(wanted: str, running: Release | None, records: list[dict[str, Any]]) -> Release:
    """The release that `rollback_to` names; RetailError when there is none, or it never ran well.

    `previous` is the newest before the running one that was another model or another image.
    """
    known = {item["release"]["id"]: item for item in records}
    name = wanted
    if wanted == "previous":
        name = running.previous if running else None
        while name in known and Release(**known[name]["release"]).is_same(running):
            name = known[name]["release"]["previous"]
    found = known.get(name)
    if found is None or found["outcome"] != releases.RELEASED:
        good = [item for item in records if item["outcome"] == releases.RELEASED]
        newest = sorted(good, key=lambda item: item["at"], reverse=True)
        there = [f"{one['release']['id']} (version {one['release']['version']}, {one['at'][:16]})" for one in newest]
        raise RetailError(f"rollback_to {wanted}: no such good release; newest first: {', '.join(there) or 'none'}")
    return Release(**found["release"])


def bundle_digest(archive: bytes) -> str:
    """SHA-256 of the manifest.json in a model.tar.gz, which is the digest of the bundle; RetailError if it has none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as bundle:
            member = next(item for item in bundle if item.name.removeprefix("./") == "manifest.json")
            return hashlib.sha256(bundle.extractfile(member).read()).hexdigest()
    except (tarfile.TarError, StopIteration, EOFError, OSError) as error:
        raise RetailError(f"model.tar.gz is not a bundle: {error or 'it has no manifest.json'}") from error


# --- tasks ---
def _announced(context: Context) -> str | None:
    """The package that the newest triggering event of `approved_model` names, if the run was started by one."""
    events = context["triggering_asset_events"].get(APPROVED_MODEL)
    return max(events, key=lambda event: event.timestamp).extra["model_package_arn"] if events else None


def endpoint(params: dict[str, Any] | None = None) -> None:
    """Makes or removes the public endpoint; it is the same for every release, and may take minutes to appear.

    `keep` makes it for the first release, and changes nothing later: somebody may have switched it off since, and the
    settings here may not be those that it was made with.
    """
    wanted = params["public_endpoint"]
    with ClusterHook().login() as cluster:
        capacity = capacity_of(cluster)
        if wanted == KEEP and (capacity.endpoints() or cluster.deployment(API_NAME)):
            say("the public endpoint stays as it is, on or off")
        elif wanted == OFF:
            capacity.remove_endpoints()
            say("there is no public endpoint: only the cluster reaches the API")
        else:
            manifests = releases.endpoint(releases.rendered())
            cluster.apply(manifests)
            capacity.remove_endpoints(but=manifests)  # of the other kind, before RETAIL_ENDPOINT_KIND was changed


def resolve(params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Decides what to release and refuses what may not be; skips the run when just that is running already."""
    context, hook, registry, images = get_current_context(), LakeHook(), RegistryHook(), ImageHook()
    records = hook.documents(lake.DEPLOYMENTS)
    with ClusterHook().login() as cluster:
        live = cluster.deployment(API_NAME)
    running = releases.newest_good(records) if live else None  # a lake may outlive its cluster
    arn, image = params["model_package_arn"] or _announced(context), params["image"]
    if params["rollback_to"]:
        target = rollback_target(params["rollback_to"], running, records)
        arn, image = target.model_package_arn, target.image
    package = registry.package(arn) if arn else registry.newest(APPROVED)
    if package is None:
        raise RetailError("no approved model in the registry: run train and approve its model")
    assert_approved(package)
    image = image or images.newest(API_REPOSITORY)
    split_reference(image)
    try:
        images.assert_scanned(image)
    except RetailError as found:
        if not params["rollback_to"]:
            raise
        say(f"{found}. It ran before, so a rollback may go there: replace it soon")
    release = release_of(package, image, release_id(package.version, context["ti"]), running)
    if running and running.is_live(live) and release.runs_as(live) and not params["force"]:
        skip(f"version {release.version} in {image} runs already as {running.id}: nothing to do")
    say(f"release {release.id}: {package.arn} in {image}; before it: {release.previous or 'nothing'}")
    return asdict(release)


def _release(context: Context) -> Release | None:
    found = context["ti"].xcom_pull(task_ids="resolve")
    return Release(**found) if found else None


def stage() -> None:
    """Copies the bundle and its held-out baskets to the release's own place, if the bundle is the approved one.

    What training left goes to an archive after half a year: an earlier release of the bundle has a copy then.
    """
    release, hook = _release(get_current_context()), LakeHook()
    earlier = releases.copies(hook.documents(lake.DEPLOYMENTS), release.bundle_digest)
    archive, key = _first(hook, [requests.key(release.source_url), *(one.model_key for one in earlier)])
    if (found := bundle_digest(archive)) != release.bundle_digest:
        raise RetailError(
            f"{requests.url(key)} holds bundle {found}, but {release.bundle_digest} was approved: refused"
        )
    hook.put(release.model_key, archive, content_type="application/gzip")
    baskets, _ = _first(hook, [requests.key(release.held_out_source), *(one.held_out_key for one in earlier)])
    hook.put(release.held_out_key, baskets, content_type="application/jsonl")


def _first(hook: LakeHook, keys: list[str]) -> tuple[bytes, str]:
    """The content of the first object that can be read, and its key; RetailError when none can."""
    for key in keys:
        if (content := hook.content(key)) is not None:
            return content, key
    raise RetailError(f"{', '.join(map(requests.url, keys))}: gone, or in an archive (`aws s3api restore-object`)")


def canary(context: Context, jinja_env: Any = None) -> list[dict[str, Any]]:
    return releases.canary(releases.rendered(), _release(context))


def verification_of_canary(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    return releases.verification(_release(context), releases.CANARY)


def join() -> None:
    """Gives the canary's pod its share of users' requests: the one that was verified, or its like, of the same image
    and bundle. A successor would not get any."""
    with ClusterHook().login() as cluster:
        deployment = cluster.deployment(releases.CANARY)
        if deployment is None or not _release(get_current_context()).is_live(deployment):
            raise RetailError("the canary of this release is gone: clear `canary` and what follows")
        say(f"in service now: {', '.join(cluster.label_pods(deployment, releases.IN_SERVICE))}")


def baking(context: Context, jinja_env: Any = None) -> dict[str, Any] | str:
    """The Job that compares; a sentence when there is nothing to compare with, or nothing to wait for."""
    release, params = _release(context), context["params"]
    if release.previous is None:
        return "no release runs beside the canary: nothing to compare it with"
    if params["rollback_to"]:
        return "this release ran well before, and what runs now is to go: no time is spent on comparing them"
    if not params["bake_seconds"]:
        return "bake_seconds is 0: canary and stable pods are not compared"
    return releases.bake(release, params["bake_seconds"])


def manifests(context: Context, jinja_env: Any = None) -> list[dict[str, Any]]:
    return releases.patched(releases.rendered(), _release(context))


def verification(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    return releases.verification(_release(context))


def remove_canary() -> None:
    """The stable pods are of the same release now. Nobody needs to watch the canary's pod drain."""
    with ClusterHook().login() as cluster:
        cluster.start_deletion(releases.CANARY)


KEEP, ON, OFF = "keep", "on", "off"
"""What `public_endpoint` may say."""
CHECKS = ("verify_canary", "bake", "verify")


def _record(release: Release, outcome: str, context: Context, reason: str = "") -> None:
    """Keeps what became of a release, and shows it."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    ti = context["ti"]
    found = {task: ti.xcom_pull(task_ids=task, key="result") for task in CHECKS}
    checks = {task: result for task, result in found.items() if result}
    document = releases.record(release, outcome, now, f"{ti.dag_id}/{ti.run_id}", reason, checks)
    LakeHook().put_document(lake.deployment(release.id), document)
    say(releases.report(document))


def record() -> dict[str, Any]:
    """Keeps what was released: what a later rollback goes back to."""
    context = get_current_context()
    release = _release(context)
    _record(release, releases.RELEASED, context)
    with ClusterHook().login() as cluster:
        for one in capacity_of(cluster).endpoints():
            say(f"public endpoint: {releases.address(one) or 'its load balancer is still being made'}")
    return asdict(release)


def roll_back() -> None:
    """Takes users' requests from the canary, puts the release before back if this one had taken its place, and removes
    the canary, which may take as long as its node is lost; the run fails."""
    context = get_current_context()
    release = _release(context)
    because = _what_failed(context)
    with ClusterHook().login() as cluster:
        if canary := cluster.deployment(releases.CANARY):
            cluster.label_pods(canary, dict.fromkeys(releases.IN_SERVICE))
        if release and release.is_live(cluster.deployment(API_NAME)):
            outcome, now = releases.ROLLED_BACK, f"rolled back to {_put_back(cluster, release)}"
        else:
            outcome, now = releases.FAILED, "the stable pods were not touched"
        if release:
            _record(release, outcome, context, f"{because}; {now}")
        if cluster.deployment(API_NAME) is None:
            say("no release is there to answer: the public endpoint would only cost")
            capacity_of(cluster).remove_endpoints()
        try:
            cluster.delete_deployment(releases.CANARY)
        except AirflowException as late:
            say(f"{late}: no user reaches it, and it goes when its node answers or is given up")
    if release is None:
        skip("nothing was released: nothing to roll back")


def _what_failed(context: Context) -> str:
    """The tasks of this run that failed, in words."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    failed = sorted(task for task, state in states.items() if state == "failed")
    return f"{', '.join(failed) or 'a task'} failed"


def _put_back(cluster: Cluster, release: Release) -> str:
    """Applies the previous release again and waits for it; without one, removes what does not work."""
    if release.previous is None:
        cluster.delete_deployment(API_NAME)
        return "nothing (it was the first release)"
    previous = Release(**LakeHook().document(lake.deployment(release.previous))["release"])
    cluster.apply(releases.patched(releases.rendered(), previous))
    cluster.wait_for_rollout(API_NAME, timeout=900, poll=min(settings().poll_seconds, 5))
    return previous.id
