"""Tasks of `etl`: one shop week from its raw file to published silver and gold."""

import logging
from typing import Any, Final

from airflow.sdk import Context, get_current_context

from include import lake
from include.settings import JOBS_REPOSITORY, settings
from retail_mlops.common.errors import RetailError
from retail_mlops.common.job_requests import Source, processing, url
from retail_mlops.common.names import job_name
from retail_mlops.common.skipping import skip_task
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.etl.timetable import monday_of
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.s3_lake import LakeHook

JOB: Final = "include.etl"
IMAGE: Final = TaskOutput[str]("plan", str)

log = logging.getLogger(__name__)


# --- pure ---
def raw_key(week: str, keys: list[str]) -> str:
    """Return the week's raw file among the keys below its prefix; RetailError when there is none, or more than one."""
    known = {lake.raw(week), lake.raw(week, gzipped=False)}
    files = [key for key in keys if key in known]
    if len(files) != 1:
        raise RetailError(
            f"shop week {week}: expected one of {' and '.join(sorted(known))}, found {', '.join(files) or 'neither'}; "
            f"{lake.raw_prefix(week)} has {', '.join(keys) or 'no files'}. Land the file with `make ingest`"
        )
    return files[0]


def reason_to_run(
    manifest: dict[str, Any] | None, key: str, digest: str, accept_new_raw: bool, force: bool
) -> str | None:
    """Return why a week has to be built; None when its gold is already built from this very raw file.

    manifest: the week's gold manifest, None before the first time; digest: SHA-256 of the raw file at `key`.
    RetailError when the raw file was replaced and accept_new_raw is off.
    """
    if manifest is None:
        return "the week has no gold yet"
    built_from = next((value for name, value in manifest["inputs"].items() if name.startswith("raw/")), None)
    if digest != built_from:
        if accept_new_raw:
            return f"a new version of the raw file is accepted: {digest[:12]} instead of {str(built_from)[:12]}"
        raise RetailError(
            f"{key} is not the file that the week's gold was built from (SHA-256 {digest[:12]}…, gold has "
            f"{str(built_from)[:12]}…). Raw files are immutable. Put the old file back (the bucket keeps versions); if "
            'this new version is meant, run again with conf {"accept_new_raw": true}'
        )
    return "`force` is on" if force else None


def publication(week: str, cleaned: list[str], split: list[str], job: str) -> list[tuple[str, str]]:
    """Return the copies (staged key, lake's key) that publish a week, in order: its gold manifest last.

    cleaned, split: keys that the job wrote below its staging prefixes of silver and gold.
    RetailError when the job did not write what a week consists of.
    """
    silver, gold = lake.staging(job, "silver"), lake.staging(job, "gold")
    copies = [(key, lake.silver(week, key.removeprefix(silver))) for key in cleaned]
    copies += [(key, "gold/" + key.removeprefix(gold)) for key in split]
    targets = {target for _, target in copies}
    needed = {lake.silver(week), lake.gold_products(week), lake.gold_manifest(week)}
    needed |= {lake.gold(name, week) for name in lake.SPLITS}
    if missing := sorted(needed - targets):
        raise RetailError(f"shop week {week}: job {job} did not write {', '.join(missing)}")
    return sorted(copies, key=lambda copy: (copy[1] == lake.gold_manifest(week), copy[1]))


# --- tasks ---
def shop_week(context: Context) -> str:
    """Return the run's partition key, which is its week; RetailError when it has none."""
    key = context["dag_run"].partition_key
    if not key:
        raise RetailError(
            "this run has no partition key, so no shop week: give one (in the UI below Advanced Options; by REST "
            '"partition_key": "200607"), or backfill a range of weeks'
        )
    monday_of(key)
    return str(key)


def raw_pattern(context: Context, jinja_env: Any = None) -> str:
    """Return the pattern that the sensor waits for: the week's file, gzipped or not."""
    return lake.raw(shop_week(context), gzipped=False) + "*"


def plan(params: dict[str, Any]) -> str:
    """Decide whether the week has to be built; skip everything after it when not.

    Return the newest image of the jobs, by digest.
    """
    week, hook = shop_week(get_current_context()), LakeHook()
    key = raw_key(week, hook.keys(lake.raw_prefix(week)))
    reason = reason_to_run(
        hook.document(lake.gold_manifest(week)), key, hook.sha256(key), params["accept_new_raw"], params["force"]
    )
    if reason is None:
        skip_task(f"gold of {week} is already built from {key}: nothing to write")
    log.info("Building %s: %s", week, reason)
    return ImageHook().newest(JOBS_REPOSITORY)


def build_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    ti, week = context["ti"], shop_week(context)
    name = job_name(ti)
    return processing(
        [JOB, "build", "--shop-week", week],
        image=IMAGE.pull(context),
        inputs={"raw": Source(url(lake.raw_prefix(week)))},
        outputs={layer: url(lake.staging(name, layer)) for layer in ("silver", "gold")},
        component="etl",
    )


def publish(job: str) -> dict[str, Any]:
    """Copy the staged week to its place, gold's manifest last: until then readers follow the old one.

    A gold that equals the current one is not written again. Return the week's counts.
    """
    week, hook = shop_week(get_current_context()), LakeHook()
    cleaned, split = hook.keys(lake.staging(job, "silver")), hook.keys(lake.staging(job, "gold"))
    copies = publication(week, cleaned, split, job)
    staged_manifest, current_manifest = copies[-1]
    new, old = hook.document(staged_manifest), hook.document(current_manifest)
    if new is None:
        raise RetailError(f"shop week {week}: {url(staged_manifest)} is gone: clear the task `build` of this run")
    if new == old:
        log.info("Gold of %s is unchanged: nothing to write", week)
    else:
        for source, target in copies:
            hook.copy(source, target)
        stale = set(hook.keys(lake.silver(week, ""))) - {target for _, target in copies}
        hook.remove(sorted(stale))
        log.info("Published %d objects of %s to %s", len(copies), week, settings().bucket)
    return {name: new[name] for name in ("shop_week", "rows", "baskets", "counts")}
