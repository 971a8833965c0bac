"""Synthetic data must not be easier than life: the baselines have to reach what they reach on the public data."""

import numpy as np
import pytest

from include import lake
from include.train import baselines, data
from tests.local.data.difficulty import target_encoding

pytestmark = pytest.mark.integration  # statistics over weeks: seconds of CPU


@pytest.fixture(scope="module")
def splits(gold):
    manifests = data.read_manifests(gold / "_manifest")
    read = {split: data.read_split(gold / f"split={split}", split, manifests) for split in lake.SPLITS}
    groups = [data.read_groups(gold / "_products", manifests, level) for level in ("PROD_CODE_40", "PROD_CODE_30")]
    test = read["test"].take(read["test"].labelled)
    return read["train"], test, groups, manifests.weeks


def test_majority_is_as_frequent(splits):
    train, test, _, _ = splits
    accuracy, macro_f1 = baselines.majority(train, test)
    assert 0.50 - 0.02 <= accuracy <= 0.54
    assert 0.21 <= macro_f1 <= 0.24


def test_aggregates_tell_as_little(splits):
    train, test, _, _ = splits
    accuracy, macro_f1 = baselines.aggregates(train, test, seed=0)
    assert 0.52 <= accuracy <= 0.58
    assert 0.42 <= macro_f1 <= 0.50


def test_product_groups_add_as_little(splits):
    train, test, groups, _ = splits
    accuracy, _ = baselines.product_groups(train, test, groups, seed=0)
    assert 0.56 <= accuracy <= 0.64


@pytest.mark.parametrize(("weeks", "expected"), [(1, 0.75), (4, 0.86)])
def test_products_must_be_learned_as_slowly(splits, weeks, expected):
    train, test, _, names = splits
    few = train.take(np.isin(train.week, names[:weeks]))
    assert target_encoding(few, test)[0] == pytest.approx(expected, abs=0.03)
