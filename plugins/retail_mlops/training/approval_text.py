"""The evidence on which a person decides about a model, as the Markdown of the approval."""

from __future__ import annotations

import json
from collections.abc import Iterable

from include.settings import settings
from include.train.evidence import Champion, Evaluation, Interval, OutOfTimeTest
from retail_mlops.hooks.model_registry import ModelPackage


def markdown(package: ModelPackage, evaluation: Evaluation, champion: str | None) -> str:
    """What the person who decides gets to read; champion: ARN of the approved package that was compared with."""
    ours, test = settings(), evaluation
    rows = [
        ("accuracy", test.accuracy, test.accuracy_interval, ours.min_accuracy),
        ("macro F1", test.macro_f1, test.macro_f1_interval, ours.min_macro_f1),
    ]
    classes = ((name, s.precision, s.recall, s.f1, s.baskets) for name, s in test.per_class.items())
    rungs = ((name.replace("_", " "), accuracy, macro_f1) for name, (accuracy, macro_f1) in test.ladder.items())
    folder = package.metadata["evidence"].rpartition("/")[0]
    return "\n\n".join(
        [
            f"**Version {package.version}**, trained on {len(test.weeks)} shop weeks, {test.weeks[0]} to "
            f"{test.weeks[-1]}; judged on {test.baskets:,} baskets of customers that training never saw.",
            table(
                ("test split", "value", "95 % interval", "gate: lower bound at least"),
                ((name, value, _range(interval), f"{least:.3f}") for name, value, interval, least in rows),
            ),
            _rules(evaluation),
            f"**Champion.** {_champion(test.champion, champion)}",
            f"**Later weeks.** {_later(test.later_weeks)}",
            table(("ladder", "accuracy", "macro F1"), rungs),
            f"**Control.** Trained on shuffled labels: accuracy {test.control.accuracy:.4f}; always answering the most "
            f"frequent label: {test.control.majority:.4f}. The two must be alike.",
            table(("class", "precision", "recall", "F1", "baskets"), classes),
            f"**Leaks.** In more than one split: {test.leaks.customers_in_two_splits} customers, "
            f"{test.leaks.fingerprints_in_two_splits} baskets' contents. Copies inside a split: {test.leaks.clones}.",
            table(
                ("provenance", ""),
                (
                    ("package", f"`{package.arn}`"),
                    ("hyperparameters", f"`{json.dumps(test.hyperparameters)}`"),
                    ("bundle digest", f"`{test.bundle_digest}`"),
                    ("gold digest", f"`{test.gold_digest}`"),
                    ("evidence SHA-256", f"`{package.metadata['evidence_digest']}`"),
                    ("image", f"`{package.image}`"),
                    ("training job", f"`{package.metadata['training_job']}`"),
                    ("report", f"`{folder}/report.html`"),
                    ("model card", f"`{folder}/model_card.md`"),
                ),
                numbers=False,
            ),
        ]
    )


def table(header: tuple[str, ...], rows: Iterable[tuple[str | float, ...]], *, numbers: bool = True) -> str:
    """A Markdown table; all columns after the first stand on the right when they are `numbers`."""
    lines = [header, ("---", *("---:" if numbers else "---" for _ in header[1:])), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


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


def _later(later: OutOfTimeTest | None) -> str:
    if later is None:
        return "Not tested: that needs at least six weeks."
    everyone, new = later.all_customers, later.new_customers
    return (
        f"Trained on {later.training_weeks[0]} to {later.training_weeks[-1]}, scored on {later.weeks[0]} to "
        f"{later.weeks[-1]}: accuracy {everyone.accuracy:.4f} ({_range(later.all_customers_interval)}), macro F1 "
        f"{everyone.macro_f1:.4f} on {everyone.baskets:,} baskets; new customers only {new.accuracy:.4f}, "
        f"{new.macro_f1:.4f} on {new.baskets:,}."
    )
