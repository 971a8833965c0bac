"""The out-of-time test: trained on the first weeks, measured on the last ones."""

from dataclasses import replace

import numpy as np
import pytest

from include.train import data, out_of_time
from include.train.hyperparameters import Hyperparameters
from tests.include.train.conftest import SIX_WEEKS

SMALL = Hyperparameters(trees=30)


@pytest.fixture(scope="module")
def six(six_weeks):
    manifests = data.read_manifests(six_weeks / "_manifest")
    return {split: data.read_split(six_weeks / f"split={split}", split, manifests) for split in ("train", "test")}


def test_too_few_weeks_have_no_out_of_time_test(splits):
    assert out_of_time.run(splits["train"], [splits["test"]], SIX_WEEKS[:5], SMALL) is None


def test_it_measures_on_the_last_weeks_and_trains_on_the_others(six):
    result = out_of_time.run(six["train"], [six["test"]], SIX_WEEKS, SMALL)
    assert result.training_weeks == list(SIX_WEEKS[:4])
    assert result.weeks == list(SIX_WEEKS[4:])
    assert result.all_customers.accuracy > 0.9
    assert result.new_customers.baskets == int(np.isin(six["test"].week, SIX_WEEKS[4:]).sum())
    assert result.clones_dropped == 0


def test_duplicates_of_earlier_baskets_are_not_scored(six):
    train = six["train"]
    early = np.flatnonzero(train.is_large & (train.week == SIX_WEEKS[0]))[0]
    late = np.flatnonzero(train.is_large & (train.week == SIX_WEEKS[5]))[0]
    hashes = train.content_hash.copy()
    hashes[late] = hashes[early]
    result = out_of_time.run(replace(train, content_hash=hashes), [six["test"]], SIX_WEEKS, SMALL)
    assert result.clones_dropped == 1
