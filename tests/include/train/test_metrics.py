"""Figures against hand-made cases and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from include.train import metrics


@pytest.fixture
def answers():
    generator = np.random.default_rng(1)
    truth = generator.choice(3, 500, p=[0.2, 0.5, 0.3])
    predicted = np.where(generator.random(500) < 0.8, truth, generator.integers(0, 3, 500))
    return truth, predicted


def test_figures_agree_with_scikit_learn(answers):
    truth, predicted = answers
    table = metrics.confusion(truth, predicted)
    assert np.array_equal(table[:, :3], confusion_matrix(truth, predicted))
    assert metrics.measure(truth, predicted) == pytest.approx(
        (accuracy_score(truth, predicted), f1_score(truth, predicted, average="macro"))
    )
    precision, recall, f1 = metrics.precision_recall_f1(table)
    assert precision == pytest.approx(precision_score(truth, predicted, average=None))
    assert recall == pytest.approx(recall_score(truth, predicted, average=None))
    assert f1 == pytest.approx(f1_score(truth, predicted, average=None))


def test_unclassified_is_a_wrong_answer():
    accuracy, macro_f1 = metrics.measure(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 3]))
    assert accuracy == 0.75
    assert macro_f1 == pytest.approx((1 + 1 + 2 / 3) / 3)


def test_a_class_that_never_occurs_scores_zero():
    assert metrics.measure(np.array([0, 0]), np.array([0, 0])) == (1.0, pytest.approx(1 / 3))


def test_intervals_hold_the_value_narrow_with_more_baskets_and_repeat(answers):
    truth, predicted = answers
    low, high = metrics.bootstrap(truth, predicted)[0]
    assert low < metrics.measure(truth, predicted)[0] < high
    more_low, more_high = metrics.bootstrap(np.tile(truth, 9), np.tile(predicted, 9))[0]
    assert more_high - more_low == pytest.approx((high - low) / 3, rel=0.1)
    assert metrics.bootstrap(truth, predicted)[0] == (low, high)


def test_paired_interval_of_equals_is_nothing(answers):
    truth, predicted = answers
    assert metrics.paired_bootstrap(truth, predicted, predicted) == ((0.0, 0.0), (0.0, 0.0))


def test_paired_interval_shows_who_is_worse(answers):
    truth, predicted = answers
    accuracy, macro_f1 = metrics.paired_bootstrap(truth, predicted, truth)
    assert accuracy[1] < 0
    assert macro_f1[1] < 0


def test_calibration_counts_each_classified_basket_once():
    truth, predicted = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 3])
    rows, error = metrics.calibration(truth, predicted, np.array([0.9, 0.95, 0.95, 0.2]))
    assert [tuple(row.model_dump().values()) for row in rows] == [(0.8, 0.9, 1, 0.9, 1.0), (0.9, 1.0, 2, 0.95, 0.5)]
    assert error == pytest.approx(1 / 3 * 0.1 + 2 / 3 * 0.45)
