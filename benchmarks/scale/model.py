"""Estimates of what many weeks, a training and many requests take, calculated from what was measured."""

import io
import json
import sys
from dataclasses import dataclass
from math import ceil
from typing import Final

import polars as pl

from api.telemetry.logs import Log
from benchmarks.common import LINES, ROOT, Cost
from include import costs
from include.baskets.features import FEATURES
from include.costs import HOURS_A_MONTH, Kind
from include.etl.columns import RAW
from include.settings import settings

sys.path.append(str(ROOT / "plugins"))  # on no path of the jobs
from retail_mlops.common.job_requests import VOLUME_GB

DATA_SETS: Final = (117, 1170)
"""Full-size weeks: the public data set, and ten times as many."""
PARALLEL: Final = (1, 4, 16, 64, 256)
START_UP_SECONDS: Final = 240
"""ASSUMED, not measured: seconds from CreateProcessingJob until the code runs (instance, image, input)."""
AIRFLOW_SECONDS: Final = 58.7 / 12
"""Upper bound of a run of `etl` in Airflow on two cores, jobs included: the demo's twelve, see benchmarks/README.md."""
MACHINES: Final = {
    "ml.t3.medium": (2, 4),
    "ml.t3.large": (2, 8),
    "ml.t3.xlarge": (4, 16),
    "ml.m5.large": (2, 8),
    "ml.m5.xlarge": (4, 16),
    "ml.m5.2xlarge": (8, 32),
    "ml.c5.xlarge": (4, 8),
}
"""Instance type -> vCPUs and GiB of memory."""
WIDTH: Final = {pl.Int8: 1, pl.Int32: 4, pl.Int64: 8, pl.Float64: 8, pl.String: 4}
"""Bytes of a value in a sorted file; a row has 8 more for its number. See include/etl/external_sort.py."""
RATES: Final = (100, 1_000, 10_000)
SLOWER: Final = 2
"""ASSUMED: factor by which a request takes longer on a vCPU, half of a core, than on the measured core."""
POD_CPU: Final = 0.250
"""vCPUs that a pod requests, see k8s/base."""
TARGET: Final = 0.6
"""Share of them at which the autoscaler aims, see k8s/base."""
MAX_PODS: Final = 10
"""The autoscaler's limit, see k8s/base."""
SAMPLED: Final = 0.1
"""Share of the predictions that are logged for the monitor."""


@dataclass(frozen=True)
class Week:
    """Weeks that ran at once. lines, cpu_seconds: of each week. seconds: of all. peak_mb: of the largest process."""

    at_once: int
    lines: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Fit:
    """A training. lines: in gold. baskets: in the training split. nodes: of the forest. accuracy: on validation."""

    lines: int
    baskets: int
    cost: Cost
    nodes: int
    accuracy: float


# --- arithmetic ---
def machine_seconds(alone: Week, at_once: int, cores: int) -> float:
    """Return the seconds of weeks at once on one machine: of one alone, or of their CPU seconds on all cores."""
    return max(alone.seconds, at_once * alone.cpu_seconds / cores)


def job_seconds(alone: Week, vcpus: int) -> float:
    """Return the seconds of a week's job on its own instance, without start-up. It uses no more cores than here."""
    return alone.cpu_seconds / min(vcpus, alone.cpu_seconds / alone.seconds)


def hours(weeks: int, parallel: int, busy_seconds: float) -> float:
    """Return the hours until all weeks are built, `parallel` at once, or until Airflow has started them all.

    Airflow notices the end of a job after poll_seconds.
    """
    each = START_UP_SECONDS + settings().poll_seconds + busy_seconds
    return max(ceil(weeks / parallel) * each, weeks * AIRFLOW_SECONDS) / 3600


def usd(weeks: int, busy_seconds: float, instance: str) -> float:
    """Return the USD for instances and disks, start-up included. How many run at once makes no difference."""
    each = costs.hourly(Kind.SAGEMAKER_INSTANCE, instance) + costs.hourly(Kind.SAGEMAKER_VOLUME_GB, count=VOLUME_GB)
    return weeks * (START_UP_SECONDS + busy_seconds) / 3600 * each


def disk_bytes(raw: int, silver: int, lines: int) -> float:
    """Return the bytes of a line on the disk of the job: raw file, sorted file (dictionary-encoded text) and silver."""
    return (raw + silver) / lines + 8 + sum(WIDTH[kind] for kind in RAW.values())


def line_through(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return intercept and slope of the line through two points (weeks, figure)."""
    rise = (second[1] - first[1]) / (second[0] - first[0])
    return first[1] - rise * first[0], rise


def request_cpu_ms() -> float:
    """Return the CPU milliseconds of one prediction, as `python -m benchmarks.serving --store` measured it."""
    return float(json.loads((ROOT / "benchmarks/serving.json").read_text())["request_cpu_ms"])


def vcpus(rate: float, cpu_ms: float) -> float:
    """Return the vCPUs of nodes for so many requests a second. cpu_ms: of a request."""
    return rate * cpu_ms / 1000 * SLOWER


def pods(rate: float, cpu_ms: float) -> int:
    """Return the number of pods that the autoscaler wants at so many requests a second."""
    return max(2, ceil(vcpus(rate, cpu_ms) / (POD_CPU * TARGET)))


def log_bytes() -> float:
    """Return the mean bytes of log for a prediction: a line for each request, one more for sampled predictions."""
    stream = io.BytesIO()
    log = Log(stream, release="r-20261127-012345", model_version="12")
    log.line("request", id="0" * 16, method="POST", route="/predict", status=200, ms=0.612)
    log.flush()
    each = len(stream.getvalue())
    shares = dict.fromkeys(("Low", "Medium", "High"), 0.12345678)
    features = dict.fromkeys(FEATURES, 1.2345678)
    log.line(
        "prediction", id="0" * 16, prediction="Medium", probability=shares, known_lines=7, lines=7, features=features
    )
    log.flush()
    return each + SAMPLED * (len(stream.getvalue()) - each)


# --- tables ---
def measured_table(weeks: list[Week], cores: int) -> str:
    """Return the table of measured weeks at once beside the estimate."""
    alone = weeks[0]
    rows = [
        f"| {week.at_once} | {week.seconds:.1f} | {machine_seconds(alone, week.at_once, cores):.1f} "
        f"| {week.at_once * week.lines / week.seconds:,.0f} | {week.cpu_seconds:.1f} | {week.peak_mb:.0f} |"
        for week in weeks
    ]
    head = f"| weeks of {alone.lines:,} lines at once | s | s by the model, {cores} cores "
    return "\n".join([head + "| lines/s in all | CPU s a week | peak MB a process |", "|--:" * 6 + "|", *rows])


def lake_table(objects: dict[str, list[int]]) -> str:
    """Return the table of what a week leaves in the lake. objects: layer -> bytes of each object."""
    total = sum(sum(sizes) for sizes in objects.values()) / 1e9
    rows = [
        f"| {name} | {len(sizes)} | {sum(sizes) / 1e6:.1f} | {max(sizes) / 1e6:.1f} |"
        for name, sizes in objects.items()
    ]
    sums = [
        f"{weeks:,} weeks: {weeks * sum(map(len, objects.values())):,} objects, {weeks * total:,.0f} GB, "
        f"{costs.monthly(Kind.S3_GB, count=weeks * total):,.2f} USD a month in S3 Standard"
        for weeks in DATA_SETS
    ]
    return "\n".join(["| a week in the lake | objects | MB | largest MB |", "|---|--:|--:|--:|", *rows, "", *sums])


def largest_week(objects: dict[str, list[int]], alone: Week) -> str:
    """Return the largest week that one instance can build, by its disk and by the time limit of a job.

    Memory is no limit: its peak does not grow with the week.
    """
    each = disk_bytes(sum(objects["raw"]), sum(objects["silver"]), alone.lines)
    limit = settings().job_max_runtime_seconds
    by_disk = VOLUME_GB * 1e9 / each
    by_time = limit * alone.lines / alone.seconds
    return (
        f"one week of many lines: {each:.0f} bytes of disk a line fill {VOLUME_GB} GB at {by_disk / 1e6:,.0f} million "
        f"lines ({by_disk / alone.lines:,.0f} times a week); the job in {limit} s: {by_time / 1e6:,.0f} million lines"
    )


def weeks_table(alone: Week) -> str:
    """Return the table of hours and USD for DATA_SETS by the number of instances at once."""
    instance = settings().processing_instance
    vcpus = MACHINES[instance][0]
    busy = job_seconds(alone, vcpus)
    rows = [
        f"| {parallel} | " + " | ".join(f"{hours(weeks, parallel, busy):.1f}" for weeks in DATA_SETS) + " |"
        for parallel in PARALLEL
    ]
    spent = " | ".join(f"{usd(weeks, busy, instance):.2f}" for weeks in DATA_SETS)
    head = "| instances at once | " + " | ".join(f"h for {weeks:,} weeks" for weeks in DATA_SETS) + " |"
    introduction = (
        f"{instance}, {vcpus} vCPUs: {busy:.1f} s of work a week, {START_UP_SECONDS} s of start-up (assumed); "
        f"prices of {costs.prices().date}"
    )
    return "\n".join([introduction, "", head, "|--:" * 3 + "|", *rows, f"| USD, any number | {spent} |"])


def fit_line(fit: Fit) -> str:
    """Return the figures of a training."""
    return (
        f"fit on {fit.lines:,} lines ({fit.baskets:,} training baskets): {fit.cost.seconds:.0f} s, "
        f"{fit.cost.cpu_seconds:.0f} CPU s, peak {fit.cost.peak_mb:,.0f} MB; "
        f"{fit.nodes:,} nodes, validation accuracy {fit.accuracy:.4f}"
    )


def fit_text(fits: list[Fit]) -> str:
    """Return what many weeks of training take on a machine with as many cores as here.

    fits: of half a week, one week and two weeks. The line through the first two predicts the third, as a check; the
    line through the last two predicts more weeks. Figures are CPU seconds, which a busy machine changes little, on as
    many cores as the first training kept busy.
    """
    instance = settings().training_instance
    limit = settings().job_max_runtime_seconds
    vcpus, memory = MACHINES[instance]
    cores_used = min(vcpus, fits[0].cost.cpu_seconds / fits[0].cost.seconds)
    cpu = [(fit.lines / LINES, fit.cost.cpu_seconds) for fit in fits]
    memory_gib = [(fit.lines / LINES, fit.cost.peak_mb / 1024) for fit in fits]
    weeks, measured_cpu = cpu[2]
    cpu_start, cpu_a_week = line_through(cpu[1], cpu[2])
    gib_start, gib_a_week = line_through(memory_gib[1], memory_gib[2])
    needed = [
        f"{count:,} weeks: {gib_start + count * gib_a_week:,.0f} GiB, "
        f"{(cpu_start + count * cpu_a_week) / cores_used / 3600:,.1f} h"
        for count in DATA_SETS
    ]
    return "\n".join(
        [
            f"{weeks:.1f} weeks by the line through the others: {_predicted(cpu, weeks):.0f} CPU s, "
            f"{_predicted(memory_gib, weeks):.1f} GiB; measured {measured_cpu:.0f} CPU s, {memory_gib[2][1]:.1f} GiB",
            f"a week more: {gib_a_week:.2f} GiB, {cpu_a_week:.0f} CPU s; {instance} ({memory} GiB) is full at "
            f"{(memory - gib_start) / gib_a_week:.1f} weeks, the limit of {limit} s is reached at "
            f"{(limit * cores_used - cpu_start) / cpu_a_week:.1f} on {cores_used:.1f} cores",
            *needed,
        ]
    )


def _predicted(points: list[tuple[float, float]], weeks: float) -> float:
    """Return the value at `weeks` of the line through the first two points."""
    start, slope = line_through(points[0], points[1])
    return start + slope * weeks


def api_table() -> str:
    """Return the table of what RATES requests a second take and cost."""
    rows = []
    cpu_ms = request_cpu_ms()
    for rate in RATES:
        wanted = pods(rate, cpu_ms)
        gigabytes = rate * log_bytes() * 3600 / 1e9
        logs = costs.monthly(Kind.LOGS_INGESTED_GB, count=gigabytes)
        note = f"{wanted} (limit {MAX_PODS})" if wanted > MAX_PODS else str(wanted)
        cores = vcpus(rate, cpu_ms)
        month = logs * HOURS_A_MONTH
        rows.append(f"| {rate:,} | {cores:.2f} | {note} | {gigabytes:.2f} | {logs:.2f} | {month:,.0f} |")
    head = "| requests/s | vCPUs | pods | GB of log an hour | USD an hour for logs | USD a month for them |"
    return "\n".join([head, "|--:" * 6 + "|", *rows])
