"""The drift reference adds up and can be held against later baskets."""

import numpy as np
import pytest

from include.baskets import bundle
from include.baskets.features import FEATURES
from include.train import drift_reference


@pytest.fixture
def reference(fitted):
    return bundle.load(fitted / "model").baseline


def test_every_feature_has_shares_that_add_up(reference):
    assert set(reference["features"]) == set(FEATURES)
    for name, histogram in reference["features"].items():
        assert len(histogram["shares"]) == len(histogram["edges"]) + 1, name
        assert sum(histogram["shares"]) == pytest.approx(1, abs=1e-6), name
        assert histogram["edges"] == sorted(set(histogram["edges"])), name


def test_the_mix_of_answers_and_of_labels_adds_up(reference):
    assert sum(reference["predictions"].values()) == pytest.approx(1, abs=1e-6)
    assert set(reference["classes"]) == {"Low", "Medium", "High"}
    assert sum(reference["classes"].values()) == pytest.approx(1, abs=1e-6)


def test_a_share_is_of_the_values_up_to_its_edge():
    histogram = drift_reference._histogram(np.arange(1, 101, dtype=float))
    assert histogram["edges"][0] == 10
    assert histogram["shares"] == [0.1] * 10


def test_a_constant_feature_has_one_edge():
    assert drift_reference._histogram(np.zeros(5)) == {"edges": [0.0], "shares": [1.0, 0.0]}


def test_class_mix_counts_labels():
    assert drift_reference.class_mix(np.array([0, 1, 1, 2])) == {"Low": 0.25, "Medium": 0.5, "High": 0.25}
