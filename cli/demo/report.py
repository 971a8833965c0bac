"""What came out of the demo: demo.json, and the tables that it prints."""

from collections.abc import Iterator
from typing import Any

from cli.console import print_table
from cli.demo.run import Demo
from include import lake
from include.settings import settings


def summary(demo: Demo, weeks: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of demo.json, and the record of the release that serves."""
    model = demo.ask("/model")
    release = demo.document(lake.deployment(model["release"]))["release"]
    evidence = demo.document(release["evidence_url"].split("/", 3)[3])
    manifests = [demo.document(lake.gold_manifest(week)) for week in weeks]
    return {
        "environment": settings().environment,
        "weeks": weeks,
        "rows": sum(manifest["rows"] for manifest in manifests),
        "baskets": sum(manifest["baskets"] for manifest in manifests),
        "accuracy": evidence["accuracy"],
        "macro_f1": evidence["macro_f1"],
        "ladder": evidence["ladder"],
        "model_package_arn": model["model_package_arn"],
        "model_version": model["model_version"],
        "bundle_digest": model["bundle_digest"],
        "image": release["image"].partition("/")[2],
        "endpoint": demo.endpoint,
        "airflow_url": demo.stack.airflow_url,
        "aws_endpoint": demo.stack.aws_url,
        "seconds": demo.seconds,
    }, release


def print_predictions(demo: Demo, samples: list[dict[str, Any]]) -> None:
    """Ask the endpoint for each basket's label, and print it beside the true one."""
    headings = ("lines", "known", "true label", "prediction", "confidence")
    print_table(_predictions(demo, samples), headings, title="Held-out baskets, over HTTP")


def _predictions(demo: Demo, samples: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for sample in samples:
        answer = demo.ask("/predict", sample["request"])
        color = "green" if answer["prediction"] == sample["label"] else "red"
        yield (
            str(len(sample["request"]["lines"])),
            str(answer["known_lines"]),
            sample["label"],
            f"[{color}]{answer['prediction']}[/]",
            f"{answer['confidence']:.3f}",
        )


def print_summary(result: dict[str, Any]) -> None:
    """Print the content of demo.json."""
    baselines = [
        (f"  {name.replace('_', ' ')}", f"{accuracy:.3f} / {macro_f1:.3f}")
        for name, (accuracy, macro_f1) in result["ladder"].items()
    ]
    rows = [
        ("weeks", f"{result['weeks'][0]} to {result['weeks'][-1]} ({len(result['weeks'])})"),
        ("rows, baskets", f"{result['rows']:,}, {result['baskets']:,}"),
        ("test split", f"accuracy {result['accuracy']:.4f}, macro F1 {result['macro_f1']:.4f}"),
        *baselines,
        ("model package", f"version {result['model_version']}, approved"),
        ("bundle", result["bundle_digest"][:16] + "…"),
        ("image", result["image"][:40] + "…"),
        ("seconds", ", ".join(f"{name} {value:g}" for name, value in result["seconds"].items())),
        ("endpoint", f"{result['endpoint']}  (docs at /docs)"),
        ("Airflow", f"{result['airflow_url']}  (user and password: make status)"),
    ]
    print_table(rows, title="Retail MLOps demo")
