"""The out-of-time test: train on the first weeks, measure on the last ones.

evaluation.json stores it under `later_weeks`.
"""

from typing import Final

import numpy as np

from include.train import metrics, model
from include.train.breakdown import score_group
from include.train.data import Baskets
from include.train.evidence import OutOfTimeTest
from include.train.hyperparameters import Hyperparameters

MIN_WEEKS: Final = 6
"""With fewer weeks there is no out-of-time test: too little would be left to train on."""

_TEST_SHARE: Final = 0.25
"""Share of the weeks on which the test measures."""


def run(
    train: Baskets, others: list[Baskets], weeks: tuple[str, ...], hyperparameters: Hyperparameters
) -> OutOfTimeTest | None:
    """Train on the training split's first weeks and measure on all splits' last weeks; None below MIN_WEEKS weeks.

    train: the training split. others: validation and test split, whose customers are new to this training.
    weeks: all weeks in order. Baskets of the last weeks that repeat a basket of the first weeks are left out.
    """
    if len(weeks) < MIN_WEEKS:
        return None
    test_count = max(1, round(len(weeks) * _TEST_SHARE))
    training_weeks, test_weeks = weeks[:-test_count], weeks[-test_count:]
    base = train.take(np.isin(train.week, training_weeks))
    fitted = model.train(base, hyperparameters)
    known_hashes = list(set(base.large_content_hashes()))
    truth, predicted, is_new, duplicates = [], [], [], 0
    for split in (train, *others):
        rows = split.labelled & np.isin(split.week, test_weeks)
        repeated = rows & np.isin(split.content_hash, known_hashes) & split.is_large
        duplicates += int(repeated.sum())
        scored = split.take(rows & ~repeated)
        truth.append(scored.label)
        predicted.append(fitted.predict(scored))
        is_new.append(np.full(len(scored), split is not train))
    return _evidence(
        training_weeks, test_weeks, duplicates, np.concatenate(truth), np.concatenate(predicted), np.concatenate(is_new)
    )


def _evidence(
    training_weeks: tuple[str, ...],
    test_weeks: tuple[str, ...],
    duplicates: int,
    truth: np.ndarray,
    predicted: np.ndarray,
    is_new: np.ndarray,
) -> OutOfTimeTest:
    """Return the figures of all scored baskets, and of those of new customers (is_new [n] bool)."""
    return OutOfTimeTest(
        training_weeks=list(training_weeks),
        weeks=list(test_weeks),
        clones_dropped=duplicates,
        all_customers=score_group("all customers", truth, predicted),
        all_customers_interval=metrics.bootstrap(truth, predicted).accuracy,
        new_customers=score_group("new customers", truth[is_new], predicted[is_new]),
    )
