"""The arithmetic by which a few measured weeks say what many take."""

import pytest
import yaml

from benchmarks.common import LINES, ROOT, Cost
from benchmarks.scale import model
from benchmarks.scale.model import START_UP_SECONDS, Fit, Week
from include import costs
from include.costs import Kind
from include.settings import settings

ALONE = Week(at_once=1, lines=LINES, seconds=8.0, cpu_seconds=12.0, peak_mb=600)


@pytest.mark.parametrize(("at_once", "cores", "seconds"), [(1, 2, 8), (2, 2, 12), (4, 2, 24), (4, 64, 8)])
def test_weeks_at_once_take_the_longer_of_one_week_and_all_cores(at_once: int, cores: int, seconds: float) -> None:
    assert model.machine_seconds(ALONE, at_once, cores) == seconds


@pytest.mark.parametrize(("vcpus", "seconds"), [(1, 12), (2, 8), (8, 8)])
def test_a_larger_instance_is_not_faster_than_the_cores_a_week_uses(vcpus: int, seconds: float) -> None:
    assert model.job_seconds(ALONE, vcpus) == seconds


def test_parallel_instances_divide_the_hours_and_a_last_odd_week_takes_a_round_of_its_own() -> None:
    each = START_UP_SECONDS + settings().poll_seconds + 8
    assert model.hours(117, 1, 8) == pytest.approx(117 * each / 3600)
    assert model.hours(117, 4, 8) == pytest.approx(30 * each / 3600)


def test_beyond_some_instances_airflow_is_what_takes_the_time() -> None:
    assert model.hours(1170, 2000, 8) == pytest.approx(1170 * model.AIRFLOW_SECONDS / 3600)


def test_a_line_lies_on_disk_as_raw_run_and_silver() -> None:
    assert model.disk_bytes(raw=100, silver=50, lines=10) == 15 + 8 + 15 * 4 + 2 * 1 + 3 * 4 + 8 + 8


def test_a_week_is_paid_from_its_start_up_on_with_its_disk() -> None:
    price = costs.hourly(Kind.SAGEMAKER_INSTANCE, "ml.t3.large") + costs.hourly(
        Kind.SAGEMAKER_VOLUME_GB, count=model.VOLUME_GB
    )
    assert model.usd(10, 8, "ml.t3.large") == pytest.approx(10 * (START_UP_SECONDS + 8) / 3600 * price)


def test_every_priced_instance_has_its_size() -> None:
    assert set(model.MACHINES) == set(costs.prices().groups[Kind.SAGEMAKER_INSTANCE].usd)


def test_a_line_goes_through_its_two_points() -> None:
    begin, rise = model.line_through((0.5, 30), (1, 50))
    assert (begin, rise) == (10, 40)


def test_trainings_on_a_line_say_when_memory_is_full_and_time_is_up() -> None:
    fits = [
        Fit(int(weeks * LINES), 1000, Cost(100 * weeks, 150 * weeks, 1024 * (1 + 2 * weeks)), 7000, 1.0)
        for weeks in (0.5, 1, 2)
    ]
    told = model.fit_text(fits)
    assert "2.0 weeks by the line through the others: 300 CPU s, 5.0 GiB; measured 300 CPU s, 5.0 GiB" in told
    assert "ml.m5.large (8 GiB) is full at 3.5 weeks, the limit of 3600 s is reached at 36.0 on 1.5 cores" in told
    assert "117 weeks: 235 GiB, 3.2 h" in told


@pytest.mark.parametrize(("rate", "pods"), [(1, 2), (1_000, 2), (3_000, 4), (7_900, 10), (10_000, 13)])
def test_the_autoscaler_wants_a_pod_for_each_share_of_its_target(rate: float, pods: int) -> None:
    assert model.pods(rate, cpu_ms=0.094) == pods


def test_pods_and_their_limit_are_those_of_the_manifests() -> None:
    base = ROOT / "k8s" / "base"
    scaler = yaml.safe_load((base / "horizontalpodautoscaler.yaml").read_text())["spec"]
    [container] = yaml.safe_load((base / "deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    assert scaler["maxReplicas"] == model.MAX_PODS
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == model.TARGET * 100
    assert container["resources"]["requests"]["cpu"] == f"{model.POD_CPU * 1000:.0f}m"


def test_a_sampled_line_counts_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = model.log_bytes()
    monkeypatch.setattr(model, "SAMPLED", 0)
    assert 100 < model.log_bytes() < sampled < 1000
