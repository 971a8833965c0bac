"""The model card of a candidate, as Markdown."""

from typing import Final

from include.train import statements
from include.train.evidence import Evaluation

_INTRODUCTION: Final = """\
# Model card: price sensitivity of baskets

**What it does.** Predicts whether a basket has Low, Medium or High price sensitivity from its lines (product,
quantity, spend), the time and the store. The model is a random forest over aggregates of the basket and the *latent
affinity* of each product, which is learned from labelled baskets by expectation-maximisation.

**What it does not do.** It reproduces the retailer's own classification of baskets, which depends on products. It
does not predict how shoppers react to prices. It knows nothing about products that training never saw: the answer for
a basket without a known product is `Unclassified`. It uses no attribute of the customer.
"""


def markdown(evaluation: Evaluation) -> str:
    """Return the model card."""
    return f"""{_INTRODUCTION}
**Data.** Shop weeks {evaluation.weeks[0]} to {evaluation.weeks[-1]} ({len(evaluation.weeks)}), split by customer
70/15/15. Labels: LA = High, MM = Medium, UM = Low; XX baskets are not counted. {statements.leaks(evaluation)}

## Metrics

{statements.headline(evaluation)}

{_classes(evaluation)}

{_baselines(evaluation)}

{statements.control(evaluation)}

{statements.out_of_time(evaluation)}

{statements.champion(evaluation)}

Expected calibration error {evaluation.calibration_error:.4f}.

## Gate

{_gate(evaluation)}

## Provenance

Bundle `{evaluation.bundle_digest}`, gold `{evaluation.gold_digest}`, {evaluation.products} products,
hyperparameters {", ".join(f"{name}={value}" for name, value in evaluation.hyperparameters.items())}.
"""


def _classes(evaluation: Evaluation) -> str:
    rows = "\n".join(
        f"| {name} | {score.precision:.4f} | {score.recall:.4f} | {score.f1:.4f} | {score.baskets} |"
        for name, score in evaluation.per_class.items()
    )
    return f"| class | precision | recall | F1 | baskets |\n|---|---|---|---|---|\n{rows}"


def _baselines(evaluation: Evaluation) -> str:
    rows = "\n".join(
        f"| {name} | {accuracy:.4f} | {macro_f1:.4f} |" for name, (accuracy, macro_f1) in evaluation.ladder.items()
    )
    return f"| baseline | accuracy | macro F1 |\n|---|---|---|\n{rows}"


def _gate(evaluation: Evaluation) -> str:
    rules = evaluation.gate.rules if evaluation.gate else []
    return "\n".join(f"- {'passed' if rule.passed else '**failed**'} `{rule.rule}`: {rule.detail}" for rule in rules)
