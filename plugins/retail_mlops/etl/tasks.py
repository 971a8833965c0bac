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
from retail_mlops.etl.timetable import monday_of
from retail_mlops.hooks.ecr import ImageHook
from retail_mlops.hooks.s3_lake import LakeHook

JOB: Final = "include.etl"

log = logging.getLogger(__name__)


# --- pure ---
def raw_key(week: str, keys: list[str]) -> str:
    """The week's raw file among the keys below its prefix; RetailError when there is none, or more than one."""
    known = {lake.raw(week), lake.raw(week, gzipped=False)}
    found = [key for key in keys if key in known]
    if len(found) != 1:
        raise RetailError(
            f"shop week {week}: expected one of {' and '.join(sorted(known))}, found {', '.join(found) or 'neither'}; "
            f"below {lake.raw_prefix(week)} lie {', '.join(keys) or 'no files'}"
        )
    return found[0]


def reason_to_run(
    manifest: dict[str, Any] | None, key: str, digest: str, accept_new_raw: bool, force: bool
) -> str | None:
    """Why a week has to be built, or None when its gold is already made of this very raw file.

    manifest: the week's gold manifest, None before the first time; digest: SHA-256 of the raw file at `key`.
    RetailError when the raw file was replaced and nobody said that this is meant.
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
    return "asked for by force" if force else None


def publication(
    week: str, cleaned: list[str], split: list[str], clean_job: str, split_job: str
) -> list[tuple[str, str]]:
    """The copies (staged key, lake's key) that publish a week, in order: its gold manifest last.

    cleaned, split: keys that the two jobs wrote below their staging prefixes.
    RetailError when a job did not write what a week consists of.
    """
    silver, gold = lake.staging(clean_job), lake.staging(split_job)
    copies = [(key, lake.silver(week, key.removeprefix(silver))) for key in cleaned]
    copies += [(key, "gold/" + key.removeprefix(gold)) for key in split]
    targets = {target for _, target in copies}
    needed = {lake.silver(week), lake.gold_products(week), lake.gold_manifest(week)}
    needed |= {lake.gold(name, week) for name in lake.SPLITS}
    if missing := sorted(needed - targets):
        raise RetailError(f"shop week {week}: the jobs {clean_job} and {split_job} did not write {', '.join(missing)}")
    return sorted(copies, key=lambda copy: (copy[1] == lake.gold_manifest(week), copy[1]))


# --- tasks ---
def shop_week() -> str:
    """The run's partition key, which names its week."""
    key = get_current_context()["dag_run"].partition_key
    if not key:
        raise RetailError(
            "this run has no partition key, so no shop week: give one (in the UI below Advanced Options; by REST "
            '"partition_key": "200607"), or backfill a range of weeks'
        )
    monday_of(key)
    return key


def raw_pattern(context: Context, jinja_env: Any = None) -> str:
    """What the sensor waits for: the week's file, gzipped or not."""
    return lake.raw(context["ti"].xcom_pull(task_ids="shop_week"), gzipped=False) + "*"


def check_raw(week: str, params: dict[str, Any] | None = None) -> str:
    """Decides whether the week has to be built; skips everything after it when not. Returns the raw file's key."""
    hook = LakeHook()
    key = raw_key(week, hook.keys(lake.raw_prefix(week)))
    reason = reason_to_run(
        hook.document(lake.gold_manifest(week)), key, hook.sha256(key), params["accept_new_raw"], params["force"]
    )
    if reason is None:
        skip_task(f"gold of {week} is already built from {key}: nothing to write")
    log.info("Building %s: %s", week, reason)
    return key


def jobs_image() -> str:
    """The newest image of the jobs, by digest: every job of this run uses this one."""
    return ImageHook().newest(JOBS_REPOSITORY)


def clean_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    ti = context["ti"]
    week = ti.xcom_pull(task_ids="shop_week")
    return processing(
        [JOB, "clean", "--shop-week", week],
        image=ti.xcom_pull(task_ids="jobs_image"),
        inputs={"raw": Source(url(lake.raw_prefix(week)))},
        outputs={"silver": url(lake.staging(job_name(ti)))},
        component="etl",
    )


def split_request(context: Context, jinja_env: Any = None) -> dict[str, Any]:
    ti = context["ti"]
    week, cleaned = ti.xcom_pull(task_ids="shop_week"), ti.xcom_pull(task_ids="clean")
    return processing(
        [JOB, "split", "--shop-week", week],
        image=ti.xcom_pull(task_ids="jobs_image"),
        inputs={"silver": Source(url(lake.staging(cleaned)))},
        outputs={"gold": url(lake.staging(job_name(ti)))},
        component="etl",
    )


def publish(week: str, clean_job: str, split_job: str) -> dict[str, Any]:
    """Copies the staged week to its place, gold's manifest last: until then readers follow the old one.

    A gold that is the same as the one in place is not written again. Returns the week's counts.
    """
    hook = LakeHook()
    cleaned, split = hook.keys(lake.staging(clean_job)), hook.keys(lake.staging(split_job))
    copies = publication(week, cleaned, split, clean_job, split_job)
    new, old = hook.document(copies[-1][0]), hook.document(copies[-1][1])
    if new == old:
        log.info("Gold of %s is unchanged: nothing to write", week)
    else:
        for source, target in copies:
            hook.copy(source, target)
        stale = set(hook.keys(lake.silver(week, ""))) - {target for _, target in copies}
        hook.remove(sorted(stale))
        log.info("Published %d objects of %s to %s", len(copies), week, settings().bucket)
    return {name: new[name] for name in ("shop_week", "rows", "baskets", "counts")}
