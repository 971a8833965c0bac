"""The drift reference (the bundle's baseline.json): distributions of features and predictions at training time."""

from typing import Any, Final

import numpy as np

from include.baskets.bundle import Scores
from include.baskets.features import FEATURES
from include.baskets.schema import LABELS, UNCLASSIFIED

BINS: Final = 10
_DIGITS = 9


def reference(scores: Scores, labels: np.ndarray) -> dict[str, Any]:
    """Return the drift reference.

    scores: of the validation baskets, scored as served. labels [n]: of the labelled training baskets, as positions in
    LABELS. The result's `features` hold, by name, the inner `edges` of bins (at most BINS - 1, ascending) and the
    `shares` of the baskets in each bin (one more than edges): bin i holds edges[i - 1] < value <= edges[i].
    `predictions`: share of each prediction. `classes`: share of each label.
    """
    count = len(scores.classes)
    predictions = np.bincount(scores.classes, minlength=len(LABELS) + 1)
    return {
        "baskets": count,
        "features": {name: _histogram(scores.features[:, column]) for column, name in enumerate(FEATURES)},
        "predictions": {name: _share(predictions[code], count) for code, name in enumerate((*LABELS, UNCLASSIFIED))},
        "classes": class_mix(labels),
    }


def class_mix(labels: np.ndarray) -> dict[str, float]:
    """Return the share of each label. labels [n]: positions in LABELS."""
    counts = np.bincount(labels, minlength=len(LABELS))
    return {name: _share(counts[code], len(labels)) for code, name in enumerate(LABELS)}


def _histogram(values: np.ndarray) -> dict[str, list[float]]:
    quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    edges = np.unique(quantiles.round(_DIGITS))
    counts = np.bincount(np.searchsorted(edges, values.round(_DIGITS), side="left"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "shares": [_share(number, len(values)) for number in counts]}


def _share(count: int, total: int) -> float:
    return round(float(count) / max(total, 1), _DIGITS)
