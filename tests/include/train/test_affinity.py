"""The expectation-maximisation finds the rule that made the labels."""

import numpy as np
import pytest

from include.baskets import features
from include.train import affinity
from tests.include.train.gold import CLASSES, code


@pytest.fixture(scope="module")
def table(splits):
    return affinity.fit(splits["train"].columns, splits["train"].label)


def test_classes_of_products_are_recovered(table):
    beliefs = dict(zip(table.codes, np.asarray(table.beliefs), strict=True))
    counting = [
        product for product in range(len(CLASSES)) if not np.isnan(CLASSES[product]) and code(product) in beliefs
    ]
    right = [beliefs[code(product)].argmax() == CLASSES[product] + 1 for product in counting]
    assert len(right) > 60
    assert np.mean(right) > 0.95


def test_cuts_lie_in_order_about_nothing(table):
    assert table.cuts[0] < 0 < table.cuts[1]


def test_the_table_holds_the_products_that_were_seen_in_order(table, splits):
    columns = splits["train"].columns
    assert table.codes == sorted(columns.products[product] for product in set(columns.product))


def test_two_fits_are_equal(table, splits):
    again = affinity.fit(splits["train"].columns, splits["train"].label)
    assert np.array_equal(again.beliefs, table.beliefs)
    assert again.cuts == table.cuts


def test_a_row_is_encoded_without_its_own_label(splits):
    """Turning the labels of one fold changes nothing about how that fold is encoded."""
    train = splits["train"]
    fold = train.folds(3)
    before = affinity.out_of_fold(train.columns, train.label, fold, 3, iterations=3)
    turned = np.where(fold == 0, 2 - train.label, train.label)
    after = affinity.out_of_fold(train.columns, turned, fold, 3, iterations=3)
    assert before.shape == (len(train), len(features.FEATURES))
    assert np.array_equal(before[fold == 0], after[fold == 0])
    assert not np.array_equal(before[fold == 1], after[fold == 1])
