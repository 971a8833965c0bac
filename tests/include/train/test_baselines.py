"""What a candidate is held against: weaker models, a control that must fail, later weeks."""

import numpy as np
import pytest

from include.train import baselines as ladder
from include.train import data, metrics, model
from include.train.hyperparameters import Hyperparameters
from tests.include.train.conftest import SIX_WEEKS

SMALL = Hyperparameters(trees=30)


@pytest.fixture(scope="module")
def test_rows(splits):
    return splits["test"].take(splits["test"].labelled)


@pytest.fixture(scope="module")
def groups(gold, manifests):
    return [data.read_groups(gold / "_products", manifests, level) for level in ("PROD_CODE_40", "PROD_CODE_30")]


def test_each_rung_knows_more_than_the_one_below(splits, test_rows, groups):
    train = splits["train"]
    majority = ladder.majority(train, test_rows)
    aggregates = ladder.aggregates(train, test_rows, 0)
    by_group = ladder.product_groups(train, test_rows, groups, 0)
    full = metrics.both(test_rows.label, model.train(train, SMALL).predict(test_rows))
    assert majority[1] < aggregates[1] < by_group[1] < full[1]
    assert full[0] > 0.95


def test_majority_always_gives_the_most_frequent_training_label(splits, test_rows):
    most = np.bincount(splits["train"].label).argmax()
    assert ladder.majority(splits["train"], test_rows)[0] == pytest.approx(np.mean(test_rows.label == most))


def test_shuffled_labels_fall_to_the_majority(splits, test_rows):
    control = ladder.shuffled_control(splits["train"], test_rows, SMALL)
    assert abs(control.accuracy - control.majority) <= 0.03


def test_the_control_notices_labels_in_the_features(splits, test_rows, monkeypatch):
    """The twin: a recipe that sees the test labels is not at the majority, whatever it was trained on."""
    seer = type("Seer", (), {"predict": staticmethod(lambda baskets: baskets.label)})
    monkeypatch.setattr(model, "train", lambda *_: seer)
    control = ladder.shuffled_control(splits["train"], test_rows, SMALL)
    assert control.accuracy - control.majority > 0.03


def test_too_few_weeks_have_no_later_ones(splits):
    assert ladder.later_weeks(splits["train"], [splits["test"]], ("200607", "200609"), SMALL) is None


@pytest.fixture(scope="module")
def six(six_weeks):
    manifests = data.read_manifests(six_weeks / "_manifest")
    return {split: data.read_split(six_weeks / f"split={split}", split, manifests) for split in ("train", "test")}


def test_later_weeks_are_the_last_and_not_trained_on(six):
    later = ladder.later_weeks(six["train"], [six["test"]], SIX_WEEKS, SMALL)
    assert later.training_weeks == list(SIX_WEEKS[:4])
    assert later.weeks == list(SIX_WEEKS[4:])
    assert later.all_customers.accuracy > 0.9
    assert later.new_customers.baskets == int(np.isin(six["test"].week, SIX_WEEKS[4:]).sum())
    assert later.clones_dropped == 0


def test_copies_of_earlier_baskets_are_not_scored(six):
    train = six["train"]
    early = np.flatnonzero(train.is_large & (train.week == SIX_WEEKS[0]))[0]
    late = np.flatnonzero(train.is_large & (train.week == SIX_WEEKS[5]))[0]
    train.fingerprint[late], before = train.fingerprint[early], train.fingerprint[late]
    later = ladder.later_weeks(train, [six["test"]], SIX_WEEKS, SMALL)
    train.fingerprint[late] = before
    assert later.clones_dropped == 1
