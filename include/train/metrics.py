"""The figures by which a model is judged: plain arrays in, numbers out.

Truth is a position in LABELS; a prediction is that or UNCLASSIFIED_CODE, which is always wrong for a labelled basket.
"""

import numpy as np

from include.baskets.schema import LABELS, UNCLASSIFIED_CODE

CLASSES = len(LABELS)
RESAMPLES = 2000
_LEVEL = 0.95
_SEED = 20060410


def confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[3, 4] baskets by truth (LABELS) and prediction (LABELS, then Unclassified)."""
    width = CLASSES + 1
    return np.bincount(truth * width + predicted, minlength=CLASSES * width).reshape(CLASSES, width)


def accuracy(table: np.ndarray) -> np.ndarray:
    """Of confusion tables [..., 3, 4]; 0 for an empty one."""
    right = np.trace(table[..., :CLASSES], axis1=-2, axis2=-1)
    return right / np.maximum(table.sum(axis=(-2, -1)), 1)


def precision_recall_f1(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By class, [..., 3] each; 0 where undefined."""
    right = np.diagonal(table[..., :CLASSES], axis1=-2, axis2=-1)
    predicted, actual = table[..., :CLASSES].sum(axis=-2), table.sum(axis=-1)
    return (
        right / np.maximum(predicted, 1),
        right / np.maximum(actual, 1),
        2 * right / np.maximum(predicted + actual, 1),
    )


def macro_f1(table: np.ndarray) -> np.ndarray:
    """Unweighted mean of the three classes' F1, of confusion tables [..., 3, 4]."""
    return precision_recall_f1(table)[2].mean(axis=-1)


def both(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Accuracy and macro F1."""
    table = confusion(truth, predicted)
    return float(accuracy(table)), float(macro_f1(table))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap(truth: np.ndarray, predicted: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % intervals of accuracy and macro F1.

    Drawing n baskets with replacement is drawing the confusion table's cells from a multinomial distribution.
    """
    tables = _resample(confusion(truth, predicted))
    return interval(accuracy(tables)), interval(macro_f1(tables))


def paired_bootstrap(
    truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % intervals of our accuracy and macro F1 minus theirs, on the same baskets."""
    width = CLASSES + 1
    cell = (truth * width + ours) * width + theirs
    joint = np.bincount(cell, minlength=CLASSES * width * width).reshape(CLASSES, width, width)
    tables = _resample(joint)
    our_tables, their_tables = tables.sum(axis=-1), tables.sum(axis=-2)
    return (
        interval(accuracy(our_tables) - accuracy(their_tables)),
        interval(macro_f1(our_tables) - macro_f1(their_tables)),
    )


def calibration(
    truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, bins: int = 10
) -> tuple[list[tuple[float, float, int, float, float]], float]:
    """Bins (from, to, baskets, mean confidence, accuracy) of classified baskets, and the expected calibration error."""
    kept = predicted != UNCLASSIFIED_CODE
    right, confidence = (truth == predicted)[kept], confidence[kept]
    position = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows, error = [], 0.0
    for number in range(bins):
        inside = position == number
        if count := int(inside.sum()):
            mean, share = float(confidence[inside].mean()), float(right[inside].mean())
            rows.append((number / bins, (number + 1) / bins, count, mean, share))
            error += count / len(right) * abs(mean - share)
    return rows, error


def _resample(table: np.ndarray) -> np.ndarray:
    """[RESAMPLES, *table.shape] tables of as many baskets, drawn from this one's shares; seeded."""
    total = int(table.sum())
    draws = np.random.default_rng(_SEED).multinomial(total, table.ravel() / max(total, 1), size=RESAMPLES)
    return draws.reshape(RESAMPLES, *table.shape)
