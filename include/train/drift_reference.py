"""The drift reference in the bundle: how features and predictions were spread when the model was made."""

from typing import Any, Final

import numpy as np

from include.baskets.bundle import Scores
from include.baskets.features import FEATURES
from include.baskets.schema import LABELS, UNCLASSIFIED

BINS: Final = 10
_DIGITS = 9


def reference(scores: Scores, labels: np.ndarray) -> dict[str, Any]:
    """Of baskets scored as served (the validation split), and the labels [n] of the labelled training baskets.

    features: by name, inner `edges` (at most BINS - 1, ascending) and `shares` of the baskets, one more than edges:
    bin i holds edges[i - 1] < value <= edges[i]. predictions: share of each answer. classes: share of each label.
    """
    count = len(scores.classes)
    answers = np.bincount(scores.classes, minlength=len(LABELS) + 1)
    return {
        "baskets": count,
        "features": {name: _histogram(scores.features[:, column]) for column, name in enumerate(FEATURES)},
        "predictions": {name: _share(answers[code], count) for code, name in enumerate((*LABELS, UNCLASSIFIED))},
        "classes": class_mix(labels),
    }


def class_mix(labels: np.ndarray) -> dict[str, float]:
    """Share of each label among labelled baskets, labels [n] as positions in LABELS."""
    counts = np.bincount(labels, minlength=len(LABELS))
    return {name: _share(counts[code], len(labels)) for code, name in enumerate(LABELS)}


def _histogram(values: np.ndarray) -> dict[str, list[float]]:
    quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    edges = np.unique(quantiles.round(_DIGITS))
    counts = np.bincount(np.searchsorted(edges, values.round(_DIGITS), side="left"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "shares": [_share(number, len(values)) for number in counts]}


def _share(count: int, total: int) -> float:
    return round(float(count) / max(total, 1), _DIGITS)
