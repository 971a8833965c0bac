"""How hard the synthetic data are: target encoding of products, as the public data were measured with it."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from include.baskets import features
from include.baskets.schema import LABELS
from include.train import metrics
from include.train.data import Baskets

SMOOTHING = 2.0
FOLDS = 5


def target_encoding(train: Baskets, test: Baskets, trees: int = 40) -> tuple[float, float]:
    """Accuracy and macro F1 of a forest on aggregates and target encoding (each basket's label credited to its
    products with weight 1 / lines; out of fold by customer for the training rows)."""
    train, test = train.take(train.labelled), test.take(test.labelled)
    codes = {code: place for place, code in enumerate(sorted({*train.columns.products, *test.columns.products}))}
    fold = train.folds(FOLDS)
    encoded = np.zeros((len(train), 7))
    for number in range(FOLDS):
        rows = fold == number
        encoded[rows] = _encode(train.take(rows), _rates(train.take(~rows), codes), codes)
    forest = RandomForestClassifier(trees, min_samples_leaf=3, n_jobs=2, random_state=0)
    forest.fit(np.hstack([features.aggregates(train.columns), encoded]), train.label)
    known = np.hstack([features.aggregates(test.columns), _encode(test, _rates(train, codes), codes)])
    return metrics.measure(test.label, forest.predict(known))


def _numbers(baskets: Baskets, codes: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Basket and product of each line."""
    columns = baskets.columns
    product = np.array([codes[code] for code in columns.products], dtype=np.int64)[columns.product]
    return np.repeat(np.arange(len(baskets)), columns.sizes), product


def _rates(train: Baskets, codes: dict[str, int]) -> np.ndarray:
    """[products, labels]"""
    basket, product = _numbers(train, codes)
    credit = np.zeros((len(codes), len(LABELS)))
    np.add.at(credit, (product, train.label[basket]), 1.0 / train.columns.sizes[basket])
    prior = credit.sum(axis=0) / credit.sum()
    return (credit + SMOOTHING * prior) / (credit.sum(axis=1, keepdims=True) + SMOOTHING)


def _encode(baskets: Baskets, rates: np.ndarray, codes: dict[str, int]) -> np.ndarray:
    """[n, 7]: mean rates, and mean, least, greatest and spread of High minus Low."""
    _, product = _numbers(baskets, codes)
    starts, sizes = baskets.columns.offsets[:-1], baskets.columns.sizes[:, None]
    line = rates[product]
    score = (line[:, 2] - line[:, 0])[:, None]
    mean = np.add.reduceat(np.hstack([line, score]), starts) / sizes
    square = np.add.reduceat(score**2, starts) / sizes
    spread = np.sqrt(np.maximum(square - mean[:, 3:] ** 2, 0))
    return np.hstack([mean, np.minimum.reduceat(score, starts), np.maximum.reduceat(score, starts), spread])
