"""Tiny gold and what training makes of it, once a session."""

from pathlib import Path

import pytest

from include.train import data, fit
from tests.include.train.gold import training_base, write_gold

SIX_WEEKS = ("200607", "200609", "200610", "200611", "200612", "200613")


@pytest.fixture(scope="session")
def gold(tmp_path_factory) -> Path:
    return write_gold(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, gold) -> Path:
    """Base folder of a finished training job."""
    base = training_base(tmp_path_factory.mktemp("fit"), gold)
    fit.run(base)
    return base


@pytest.fixture(scope="session")
def manifests(gold) -> data.Manifests:
    return data.read_manifests(gold / "_manifest")


@pytest.fixture(scope="session")
def splits(gold, manifests) -> dict[str, data.Baskets]:
    return {
        split: data.read_split(gold / f"split={split}", split, manifests) for split in ("train", "validation", "test")
    }


@pytest.fixture(scope="session")
def test_baskets(splits) -> data.Baskets:
    """The labelled baskets of the test split."""
    return splits["test"].take(splits["test"].labelled)


@pytest.fixture(scope="session")
def six_weeks(tmp_path_factory) -> Path:
    return write_gold(tmp_path_factory.mktemp("six"), SIX_WEEKS, baskets=500)
