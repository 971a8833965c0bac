"""The evidence on which a person decides about a model, as the Markdown of the approval."""

from __future__ import annotations

import json

from include.settings import settings
from include.train.evidence import Champion, Evaluation, Interval, OutOfTimeTest
from retail_mlops.common.tables import markdown_table
from retail_mlops.hooks.model_registry import ModelPackage


def markdown(package: ModelPackage, evaluation: Evaluation, champion: str | None) -> str:
    """Return what the person who decides reads; champion: ARN of the approved package that was compared with."""
    control, leaks = evaluation.control, evaluation.leaks
    return "\n\n".join(
        [
            f"**Version {package.version}**, trained on {len(evaluation.weeks)} shop weeks, {evaluation.weeks[0]} to "
            f"{evaluation.weeks[-1]}; tested on {evaluation.baskets:,} baskets of customers that training never saw.",
            _test_split(evaluation),
            _rules(evaluation),
            f"**Champion.** {_champion(evaluation.champion, champion)}",
            f"**Out-of-time test.** {_out_of_time(evaluation.later_weeks)}",
            _baselines(evaluation),
            f"**Control.** Trained on shuffled labels: accuracy {control.accuracy:.4f}; always answering the most "
            f"frequent label: {control.majority:.4f}. The two must be close.",
            _classes(evaluation),
            f"**Leaks.** In more than one split: {leaks.customers_in_two_splits} customers, "
            f"{leaks.fingerprints_in_two_splits} baskets' contents. Duplicates inside a split: {leaks.clones}.",
            _provenance(package, evaluation),
        ]
    )


def _test_split(evaluation: Evaluation) -> str:
    rows = [
        ("accuracy", evaluation.accuracy, evaluation.accuracy_interval, settings().min_accuracy),
        ("macro F1", evaluation.macro_f1, evaluation.macro_f1_interval, settings().min_macro_f1),
    ]
    return markdown_table(
        ("test split", "value", "95 % interval", "gate: lower bound at least"),
        ((name, value, _range(interval), f"{minimum:.3f}") for name, value, interval, minimum in rows),
        align="lrrr",
    )


def _baselines(evaluation: Evaluation) -> str:
    rows = ((name.replace("_", " "), accuracy, macro_f1) for name, (accuracy, macro_f1) in evaluation.ladder.items())
    return markdown_table(("baseline", "accuracy", "macro F1"), rows, align="lrr")


def _classes(evaluation: Evaluation) -> str:
    rows = (
        (name, score.precision, score.recall, score.f1, score.baskets) for name, score in evaluation.per_class.items()
    )
    return markdown_table(("class", "precision", "recall", "F1", "baskets"), rows, align="lrrrr")


def _provenance(package: ModelPackage, evaluation: Evaluation) -> str:
    folder = package.metadata["evidence"].rpartition("/")[0]
    values = {
        "package": package.arn,
        "hyperparameters": json.dumps(evaluation.hyperparameters),
        "bundle digest": evaluation.bundle_digest,
        "gold digest": evaluation.gold_digest,
        "evidence SHA-256": package.metadata["evidence_digest"],
        "image": package.image,
        "training job": package.metadata["training_job"],
        "report": f"{folder}/report.html",
        "model card": f"{folder}/model_card.md",
    }
    return markdown_table(("provenance", ""), ((name, f"`{value}`") for name, value in values.items()))


def _range(interval: Interval) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _rules(evaluation: Evaluation) -> str:
    rules = evaluation.gate.rules if evaluation.gate else []
    return "\n".join(f"- {'passed' if rule.passed else '**FAILED**'} `{rule.rule}`: {rule.detail}" for rule in rules)


def _champion(champion: Champion | None, arn: str | None) -> str:
    if champion is None:
        return "There is none yet: this would be the first approved model."
    name = f"`{arn}`" if arn else "The approved model"
    if champion.accuracy_difference is None or champion.accuracy_difference_interval is None:
        return f"{name}: {champion.note}."
    low, high = champion.accuracy_difference_interval
    return (
        f"{name}, {champion.note}: accuracy {champion.accuracy:.4f}, macro F1 {champion.macro_f1:.4f}. This model's "
        f"accuracy differs by {champion.accuracy_difference:+.4f} (paired interval {low:+.4f} to {high:+.4f}), its "
        f"macro F1 by {champion.macro_f1_difference:+.4f}."
    )


def _out_of_time(later: OutOfTimeTest | None) -> str:
    if later is None:
        return "Not tested: that needs at least six weeks."
    everyone, new = later.all_customers, later.new_customers
    return (
        f"Trained on {later.training_weeks[0]} to {later.training_weeks[-1]}, scored on {later.weeks[0]} to "
        f"{later.weeks[-1]}: accuracy {everyone.accuracy:.4f} ({_range(later.all_customers_interval)}), macro F1 "
        f"{everyone.macro_f1:.4f} on {everyone.baskets:,} baskets; new customers only {new.accuracy:.4f}, "
        f"{new.macro_f1:.4f} on {new.baskets:,}."
    )
