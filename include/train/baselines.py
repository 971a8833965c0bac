"""Baselines: simpler models that the candidate is compared with.

evaluation.json stores them under `ladder`, from the simplest to the candidate itself.
"""

from typing import Final

import numpy as np

from include.baskets import features
from include.baskets.schema import LABELS
from include.train import forest, metrics
from include.train.data import Baskets
from include.train.hyperparameters import Hyperparameters
from include.train.metrics import Metrics

_MAX_BASKETS: Final = 20_000  # baselines do not improve with more
_TREES: Final = 60
_MIN_SAMPLES_LEAF: Final = 5


def majority(train: Baskets, test: Baskets) -> Metrics:
    """Return the metrics of always predicting the most frequent training label."""
    most = int(np.bincount(train.label[train.labelled], minlength=len(LABELS)).argmax())
    return metrics.measure(test.label, np.full(len(test), most))


def aggregates(train: Baskets, test: Baskets, seed: int) -> Metrics:
    """Return the metrics of a forest on what a basket shows without its products: size, spend, prices, time, store."""
    return _fit_and_measure(features.aggregates(train.columns), train, features.aggregates(test.columns), test, seed)


def product_groups(train: Baskets, test: Baskets, groups: list[dict[str, str]], seed: int) -> Metrics:
    """Return the metrics of a forest on the aggregates and the shares of lines in each product group.

    groups: product -> group, one dict for each level of the hierarchy.
    """
    return _fit_and_measure(_with_shares(train, groups), train, _with_shares(test, groups), test, seed)


def _fit_and_measure(values: np.ndarray, train: Baskets, test_values: np.ndarray, test: Baskets, seed: int) -> Metrics:
    """Fit on at most _MAX_BASKETS labelled rows of values [train, f], measure on test_values [test, f]."""
    rows = np.flatnonzero(train.labelled)
    rows = np.random.default_rng(seed).permutation(rows)[:_MAX_BASKETS]
    hyperparameters = Hyperparameters(trees=_TREES, min_samples_leaf=_MIN_SAMPLES_LEAF, seed=seed)
    fitted = forest.fit(values[rows], train.label[rows], hyperparameters)
    return metrics.measure(test.label, fitted.predict(test_values.astype(np.float32)).astype(np.int64))


def _with_shares(baskets: Baskets, groups: list[dict[str, str]]) -> np.ndarray:
    """Return [n, f] aggregates, then for each level the share of the basket's lines in each group, ordered by name."""
    columns = baskets.columns
    blocks = [features.aggregates(columns)]
    for level in groups:
        names = sorted(set(level.values()))
        position = {name: number for number, name in enumerate(names)}
        missing = len(names)
        group = np.array([position.get(level.get(code, ""), missing) for code in columns.products], dtype=np.int64)
        cell = columns.basket * (missing + 1) + group[columns.product]
        counts = np.bincount(cell, minlength=len(columns) * (missing + 1)).reshape(len(columns), missing + 1)
        blocks.append(counts[:, :missing] / columns.sizes[:, None])
    return np.hstack(blocks)
