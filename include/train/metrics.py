"""The metrics by which a model is judged: arrays in, numbers out.

Truth is a position in LABELS. A prediction is a position in LABELS or UNCLASSIFIED_CODE, which counts as wrong for a
labelled basket. Accuracy, precision, recall and F1 are defined as in scikit-learn; a test compares them.
"""

from typing import Final, NamedTuple

import numpy as np

from include.baskets.schema import LABELS, UNCLASSIFIED_CODE
from include.train.evidence import CalibrationBin, Interval

CLASSES: Final = len(LABELS)
RESAMPLES: Final = 2000
_LEVEL: Final = 0.95
_SEED: Final = 20060410


class Metrics(NamedTuple):
    """The two metrics that the gate looks at."""

    accuracy: float
    macro_f1: float


class Intervals(NamedTuple):
    """95 % intervals of the two metrics, or of their differences."""

    accuracy: Interval
    macro_f1: Interval


def confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return [3, 4] the number of baskets by truth (LABELS) and prediction (LABELS, then Unclassified).

    truth, predicted: [n] integers.
    """
    width = CLASSES + 1
    return np.bincount(truth * width + predicted, minlength=CLASSES * width).reshape(CLASSES, width)


def accuracy(table: np.ndarray) -> np.ndarray:
    """Return [...] the accuracy of confusion tables [..., 3, 4]; 0 for an empty table."""
    right = np.trace(table[..., :CLASSES], axis1=-2, axis2=-1)
    shares: np.ndarray = right / np.maximum(table.sum(axis=(-2, -1)), 1)
    return shares


def precision_recall_f1(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 by class, [..., 3] each, of confusion tables [..., 3, 4]; 0 where undefined."""
    right = np.diagonal(table[..., :CLASSES], axis1=-2, axis2=-1)
    predicted = table[..., :CLASSES].sum(axis=-2)
    actual = table.sum(axis=-1)
    return (
        right / np.maximum(predicted, 1),
        right / np.maximum(actual, 1),
        2 * right / np.maximum(predicted + actual, 1),
    )


def macro_f1(table: np.ndarray) -> np.ndarray:
    """Return [...] the unweighted mean of the three classes' F1, of confusion tables [..., 3, 4]."""
    mean: np.ndarray = precision_recall_f1(table)[2].mean(axis=-1)
    return mean


def measure(truth: np.ndarray, predicted: np.ndarray) -> Metrics:
    """Return accuracy and macro F1. truth, predicted: [n] integers."""
    table = confusion(truth, predicted)
    return Metrics(float(accuracy(table)), float(macro_f1(table)))


def percentile_interval(values: np.ndarray) -> Interval:
    """Return the bounds of the middle 95 % of resampled values."""
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap(truth: np.ndarray, predicted: np.ndarray) -> Intervals:
    """Return 95 % percentile bootstrap intervals of accuracy and macro F1 (Efron, 1979).

    To draw n baskets with replacement is to draw the cells of the confusion table from a multinomial distribution.
    """
    tables = _resample(confusion(truth, predicted))
    return Intervals(percentile_interval(accuracy(tables)), percentile_interval(macro_f1(tables)))


def paired_bootstrap(truth: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> Intervals:
    """Return 95 % intervals of the candidate's metrics minus the champion's, resampled on the same baskets.

    truth, candidate, champion: [n] integers; the latter two are predictions.
    """
    width = CLASSES + 1
    cell = (truth * width + candidate) * width + champion
    joint = np.bincount(cell, minlength=CLASSES * width * width).reshape(CLASSES, width, width)
    tables = _resample(joint)
    candidate_tables = tables.sum(axis=-1)
    champion_tables = tables.sum(axis=-2)
    return Intervals(
        percentile_interval(accuracy(candidate_tables) - accuracy(champion_tables)),
        percentile_interval(macro_f1(candidate_tables) - macro_f1(champion_tables)),
    )


def calibration(
    truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, bins: int = 10
) -> tuple[list[CalibrationBin], float]:
    """Return the non-empty bins of confidence, and the expected calibration error (Naeini et al., 2015).

    truth, predicted: [n] integers; confidence: [n] the probability of the predicted class. Baskets that the model
    leaves Unclassified are not counted. The error is the mean of |confidence - accuracy| over the bins, weighted by
    their baskets.
    """
    is_classified = predicted != UNCLASSIFIED_CODE
    is_right = (truth == predicted)[is_classified]
    confidence = confidence[is_classified]
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows: list[CalibrationBin] = []
    error = 0.0
    for number in range(bins):
        inside = bin_of == number
        count = int(inside.sum())
        if not count:
            continue
        mean = float(confidence[inside].mean())
        share = float(is_right[inside].mean())
        low, high = number / bins, (number + 1) / bins
        rows.append(CalibrationBin(low=low, high=high, baskets=count, confidence=mean, accuracy=share))
        error += count / len(is_right) * abs(mean - share)
    return rows, error


def _resample(table: np.ndarray) -> np.ndarray:
    """Return [RESAMPLES, *table.shape] tables of as many baskets, drawn from this table's shares with a fixed seed."""
    total = int(table.sum())
    draws = np.random.default_rng(_SEED).multinomial(total, table.ravel() / max(total, 1), size=RESAMPLES)
    return draws.reshape(RESAMPLES, *table.shape)
