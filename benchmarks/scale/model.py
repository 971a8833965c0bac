"""What many weeks, a training and many requests take, by arithmetic from what was measured."""

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
"""ASSUMED, not measured: from CreateProcessingJob until the code runs (instance, image, input)."""
AIRFLOW_SECONDS: Final = 58.7 / 12
"""Of Airflow for a run of etl on two cores, at most: the demo's twelve, benchmarks/README.md; jobs and all."""
MACHINES: Final = {
    "ml.t3.medium": (2, 4),
    "ml.t3.large": (2, 8),
    "ml.t3.xlarge": (4, 16),
    "ml.m5.large": (2, 8),
    "ml.m5.xlarge": (4, 16),
    "ml.m5.2xlarge": (8, 32),
    "ml.c5.xlarge": (4, 8),
}
"""vCPUs and GiB of memory."""
WIDTH: Final = {pl.Int8: 1, pl.Int32: 4, pl.Int64: 8, pl.Float64: 8, pl.String: 4}
"""Bytes of a value in a run, and 8 of each row for its number: include/etl/external_sort.py."""
RATES: Final = (100, 1_000, 10_000)
SLOWER: Final = 2
"""ASSUMED: how many times longer that takes on a vCPU, half of a core, than on the measured core."""
POD_CPU, TARGET, MAX_PODS = 0.250, 0.6, 10
"""The pod's request and the autoscaler's target and limit, of k8s/base."""
SAMPLED: Final = 0.1


@dataclass(frozen=True)
class Week:
    """Weeks at once: lines of each, seconds of all, CPU seconds of each, the worst process's peak."""

    at_once: int
    lines: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Fit:
    """A training on so many lines of gold, which held so many training baskets; its forest, its validation accuracy."""

    lines: int
    baskets: int
    cost: Cost
    nodes: int
    accuracy: float


# --- arithmetic ---
def machine_seconds(alone: Week, at_once: int, cores: int) -> float:
    """Weeks at once on one machine: as long as one alone, or as long as their CPU seconds fill all cores."""
    return max(alone.seconds, at_once * alone.cpu_seconds / cores)


def job_seconds(alone: Week, vcpus: int) -> float:
    """A week's job on an instance of its own, without start-up; it uses no more cores than here."""
    return alone.cpu_seconds / min(vcpus, alone.cpu_seconds / alone.seconds)


def hours(weeks: int, parallel: int, busy_seconds: float) -> float:
    """Until the last of so many weeks is built, `parallel` at once, or until Airflow has started them all.

    Airflow notices a job's end after poll_seconds."""
    each = START_UP_SECONDS + settings().poll_seconds + busy_seconds
    return max(ceil(weeks / parallel) * each, weeks * AIRFLOW_SECONDS) / 3600


def usd(weeks: int, busy_seconds: float, instance: str) -> float:
    """Instance and disk, start-up counted as paid; how many run at once changes nothing."""
    each = costs.hourly(Kind.SAGEMAKER_INSTANCE, instance) + costs.hourly(Kind.SAGEMAKER_VOLUME_GB, count=VOLUME_GB)
    return weeks * (START_UP_SECONDS + busy_seconds) / 3600 * each


def disk_bytes(raw: int, silver: int, lines: int) -> float:
    """A line's on the disk of the cleaning job: the raw file, the sorted runs (text is coded there), silver."""
    return (raw + silver) / lines + 8 + sum(WIDTH[kind] for kind in RAW.values())


def line_through(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Where the line through two points (weeks, figure) begins, and how it rises with a week."""
    rise = (second[1] - first[1]) / (second[0] - first[0])
    return first[1] - rise * first[0], rise


def request_cpu_ms() -> float:
    """CPU of one prediction, as `python -m benchmarks.serving --store` measured it."""
    return float(json.loads((ROOT / "benchmarks/serving.json").read_text())["request_cpu_ms"])


def vcpus(rate: float, cpu_ms: float) -> float:
    """Of nodes, for so many requests a second."""
    return rate * cpu_ms / 1000 * SLOWER


def pods(rate: float, cpu_ms: float) -> int:
    """That the autoscaler wants at so many requests a second."""
    return max(2, ceil(vcpus(rate, cpu_ms) / (POD_CPU * TARGET)))


def log_bytes() -> float:
    """Of a prediction's lines on average: one for each request, one more for those that the monitor samples."""
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
    alone = weeks[0]
    rows = [
        f"| {one.at_once} | {one.seconds:.1f} | {machine_seconds(alone, one.at_once, cores):.1f} "
        f"| {one.at_once * one.lines / one.seconds:,.0f} | {one.cpu_seconds:.1f} | {one.peak_mb:.0f} |"
        for one in weeks
    ]
    head = f"| weeks of {alone.lines:,} lines at once | s | s by the model, {cores} cores "
    return "\n".join([head + "| lines/s in all | CPU s a week | peak MB a process |", "|--:" * 6 + "|", *rows])


def lake_table(objects: dict[str, list[int]]) -> str:
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
    """How far one instance goes: its disk and the time limit of a job; the peak of memory does not grow."""
    each, limit = (
        disk_bytes(sum(objects["raw"]), sum(objects["silver"]), alone.lines),
        settings().job_max_runtime_seconds,
    )
    by_disk, by_time = VOLUME_GB * 1e9 / each, limit * alone.lines / alone.seconds
    return (
        f"one week of many lines: {each:.0f} bytes of disk a line fill {VOLUME_GB} GB at {by_disk / 1e6:,.0f} million "
        f"lines ({by_disk / alone.lines:,.0f} times a week); the job in {limit} s: {by_time / 1e6:,.0f} million lines"
    )


def weeks_table(alone: Week) -> str:
    instance = settings().processing_instance
    vcpus = MACHINES[instance][0]
    busy = job_seconds(alone, vcpus)
    rows = [
        f"| {parallel} | " + " | ".join(f"{hours(weeks, parallel, busy):.1f}" for weeks in DATA_SETS) + " |"
        for parallel in PARALLEL
    ]
    spent = " | ".join(f"{usd(weeks, busy, instance):.2f}" for weeks in DATA_SETS)
    head = "| instances at once | " + " | ".join(f"h for {weeks:,} weeks" for weeks in DATA_SETS) + " |"
    told = (
        f"{instance}, {vcpus} vCPUs: {busy:.1f} s of work a week, {START_UP_SECONDS} s of start-up (assumed); "
        f"prices of {costs.prices().date}"
    )
    return "\n".join([told, "", head, "|--:" * 3 + "|", *rows, f"| USD, any number | {spent} |"])


def fit_line(one: Fit) -> str:
    return (
        f"fit on {one.lines:,} lines ({one.baskets:,} training baskets): {one.cost.seconds:.0f} s, "
        f"{one.cost.cpu_seconds:.0f} CPU s, peak {one.cost.peak_mb:,.0f} MB; "
        f"{one.nodes:,} nodes, validation accuracy {one.accuracy:.4f}"
    )


def fit_text(fits: list[Fit]) -> str:
    """fits: of half a week, a week and two; they hold for machines with as many cores.

    The line through the first two is held against the third, the line through the last two says what comes. By CPU
    seconds, which a busy machine changes little, on as many cores as the first one kept busy."""
    instance, limit = settings().training_instance, settings().job_max_runtime_seconds
    vcpus, memory = MACHINES[instance]
    used = min(vcpus, fits[0].cost.cpu_seconds / fits[0].cost.seconds)
    cpu = [(one.lines / LINES, one.cost.cpu_seconds) for one in fits]
    gibibytes = [(one.lines / LINES, one.cost.peak_mb / 1024) for one in fits]
    told = [line_through(*points[:2]) for points in (cpu, gibibytes)]
    (start, more), (still, each) = (line_through(*points[1:]) for points in (cpu, gibibytes))
    weeks = cpu[2][0]
    said_cpu, said_gib = (begin + rise * weeks for begin, rise in told)
    needed = [
        f"{count:,} weeks: {still + count * each:,.0f} GiB, {(start + count * more) / used / 3600:,.1f} h"
        for count in DATA_SETS
    ]
    return "\n".join(
        [
            f"{weeks:.1f} weeks by the line through the others: {said_cpu:.0f} CPU s, {said_gib:.1f} GiB; "
            f"measured {cpu[2][1]:.0f} CPU s, {gibibytes[2][1]:.1f} GiB",
            f"a week more: {each:.2f} GiB, {more:.0f} CPU s; {instance} ({memory} GiB) is full at "
            f"{(memory - still) / each:.1f} weeks, the limit of {limit} s is reached at "
            f"{(limit * used - start) / more:.1f} on {used:.1f} cores",
            *needed,
        ]
    )


def api_table() -> str:
    rows, cpu_ms = [], request_cpu_ms()
    for rate in RATES:
        wanted, gigabytes = pods(rate, cpu_ms), rate * log_bytes() * 3600 / 1e9
        logs = costs.monthly(Kind.LOGS_INGESTED_GB, count=gigabytes)
        note = f"{wanted} (limit {MAX_PODS})" if wanted > MAX_PODS else str(wanted)
        cores, month = vcpus(rate, cpu_ms), logs * HOURS_A_MONTH
        rows.append(f"| {rate:,} | {cores:.2f} | {note} | {gigabytes:.2f} | {logs:.2f} | {month:,.0f} |")
    head = "| requests/s | vCPUs | pods | GB of log an hour | USD an hour for logs | USD a month for them |"
    return "\n".join([head, "|--:" * 6 + "|", *rows])
