"""Baselines: weaker models that the candidate must beat."""

import numpy as np
import pytest

from include.train import baselines, data, metrics, model
from include.train.hyperparameters import Hyperparameters

SMALL = Hyperparameters(trees=30)


@pytest.fixture(scope="module")
def groups(gold, manifests):
    return [data.read_groups(gold / "_products", manifests, level) for level in ("PROD_CODE_40", "PROD_CODE_30")]


def test_each_baseline_knows_more_than_the_one_before(splits, test_baskets, groups):
    train = splits["train"]
    majority = baselines.majority(train, test_baskets)
    aggregates = baselines.aggregates(train, test_baskets, 0)
    by_group = baselines.product_groups(train, test_baskets, groups, 0)
    full = metrics.measure(test_baskets.label, model.train(train, SMALL).predict(test_baskets))
    assert majority.macro_f1 < aggregates.macro_f1 < by_group.macro_f1 < full.macro_f1
    assert full.accuracy > 0.95


def test_majority_always_gives_the_most_frequent_training_label(splits, test_baskets):
    most = np.bincount(splits["train"].label).argmax()
    accuracy = baselines.majority(splits["train"], test_baskets).accuracy
    assert accuracy == pytest.approx(np.mean(test_baskets.label == most))
