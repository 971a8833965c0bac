"""Rows of the cost page that the manifests make, and those that depend on use: storage, images, logs, jobs."""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from include import costs
from include.costs import Kind
from include.settings import settings
from retail_mlops.common.job_requests import VOLUME_GB
from tools.costs.resources import ROOT, resources
from tools.costs.scenarios import WEEKS_A_MONTH, Line, Lives, Scenario, line


def _because(value: float, why: str) -> Any:
    return field(default=value, metadata={"why": why})


@dataclass(frozen=True)
class Assumed:
    """What use decides, not a template; the page shows each with its reason."""

    lake_gb: float = _because(
        5, "twelve weeks of raw, silver and gold (a week: 2.7 million lines, 100 MB compressed), models"
    )
    images_gb: float = _because(2, "some Docker images of the API and of the jobs")
    logs_gb_an_hour: float = _because(
        0.005,
        "a guess for a quiet cluster: the control plane's audit log, the pods' lines; nobody has measured it. Yours is "
        "the metric `IncomingBytes` of `AWS/Logs`",
    )
    metrics: int = _because(20, "the API's, the cost schedule's; each name and dimension counts")
    etl_minutes: float = _because(5, "a week's job, mostly the start of its machine")
    fit_minutes: float = _because(20, "a full-size training")
    evaluate_minutes: float = _because(10, "its evaluation")
    etl_runs_a_week: float = _because(1, "the weekly file")
    trainings_a_week: float = _because(1, "the schedule of `train`")
    demo_etl_runs: int = _because(12, "the demo's weeks")
    demo_trainings: int = _because(1, "the demo's model")


ASSUMED: Final = Assumed()


def public_endpoint() -> list[Line]:
    """Return the rows of the load balancers: one per Service of type LoadBalancer or Ingress, and its addresses."""
    kind = settings().endpoint_kind
    rendered = {"nlb": "eks.yaml", "alb": "eks-alb.yaml"}[kind]
    documents = yaml.safe_load_all((ROOT / "k8s" / "rendered" / rendered).read_text())
    count = sum(
        document["kind"] == "Ingress" or document.get("spec", {}).get("type") == "LoadBalancer"
        for document in documents
        if document
    )
    subnets = [resource for resource in resources() if resource.type == "AWS::EC2::Subnet"]
    public = sum(
        any(tag["Key"] == "kubernetes.io/role/elb" for tag in subnet.properties.get("Tags", [])) for subnet in subnets
    )
    price = costs.hourly(Kind.LOAD_BALANCER, {"nlb": "network", "alb": "application"}[kind], count)
    return [
        line(f"load balancer ({kind.upper()})", str(count), Lives.WHILE_UP, price),
        line(
            "public IPv4 addresses",
            f"{count} × {public} zones",
            Lives.WHILE_UP,
            costs.hourly(Kind.PUBLIC_IPV4, count=count * public),
        ),
    ]


def storage() -> list[Line]:
    """Return the rows of what is stored: lake, images, metrics, logs."""
    a = ASSUMED
    return [
        line("lake, S3 Standard", f"{a.lake_gb:g} GB", Lives.DATA, costs.hourly(Kind.S3_GB, count=a.lake_gb)),
        line("images, ECR", f"{a.images_gb:g} GB", Lives.WHILE_THERE, costs.hourly(Kind.ECR_GB, count=a.images_gb)),
        line("metrics", str(a.metrics), Lives.WHILE_UP, costs.hourly(Kind.METRIC, count=a.metrics)),
        line(
            "logs, ingested and kept for a month",
            f"{a.logs_gb_an_hour * 1000:g} MB an hour",
            Lives.WHILE_THERE,
            a.logs_gb_an_hour * (costs.monthly(Kind.LOGS_INGESTED_GB) + costs.monthly(Kind.LOGS_GB)),
        ),
    ]


def jobs() -> list[Line]:
    """Return the rows of SageMaker's jobs, paid by their minutes; their disks exist as long as they do."""
    a = ASSUMED
    weekly = {Scenario.ALWAYS: WEEKS_A_MONTH, Scenario.SCHEDULE: WEEKS_A_MONTH}
    etl = {scenario: a.etl_runs_a_week * weeks for scenario, weeks in weekly.items()} | {Scenario.DEMO: a.demo_etl_runs}
    train = {scenario: a.trainings_a_week * weeks for scenario, weeks in weekly.items()}
    train |= {Scenario.DEMO: a.demo_trainings}
    volume = costs.hourly(Kind.SAGEMAKER_VOLUME_GB, count=VOLUME_GB)
    rows = []
    for what, instance, minutes, runs in (
        ("etl jobs", settings().processing_instance, a.etl_minutes, etl),
        ("training jobs", settings().training_instance, a.fit_minutes, train),
        ("evaluation jobs", settings().processing_instance, a.evaluate_minutes, train),
    ):
        price = costs.hourly(Kind.SAGEMAKER_INSTANCE, instance) + volume
        usd = {scenario: runs.get(scenario, 0) * minutes / 60 * price for scenario in Scenario}
        quantity = f"{minutes:g} min × {runs[Scenario.ALWAYS]:.1f} runs (demo: {runs[Scenario.DEMO]:g})"
        rows.append(Line(f"{what} {instance}", quantity, price, usd))
    return rows
