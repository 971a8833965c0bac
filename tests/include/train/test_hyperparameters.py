"""Hyperparameters arrive as strings, and a wrong one is named."""

import json

import pytest

from include.train.errors import HyperparametersError
from include.train.hyperparameters import Hyperparameters


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hyperparameters.json"


def test_strings_become_numbers(path):
    path.write_text(json.dumps({"trees": "30", "max_features": "0.5", "seed": "7"}))
    assert Hyperparameters.read(path) == Hyperparameters(trees=30, max_features=0.5, seed=7)


def test_no_file_means_the_defaults(path):
    assert Hyperparameters.read(path) == Hyperparameters()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"tress": "30"}, "tress='30'.*Known hyperparameters: trees"),
        ({"trees": "0"}, "trees='0'"),
        ({"folds": "many"}, "folds='many'"),
        ({"max_features": "2"}, "max_features"),
    ],
)
def test_a_wrong_one_is_named(path, given, text):
    path.write_text(json.dumps(given))
    with pytest.raises(HyperparametersError, match=text):
        Hyperparameters.read(path)


def test_what_is_not_json_is_refused(path):
    path.write_text("trees=30")
    with pytest.raises(HyperparametersError, match="is not JSON"):
        Hyperparameters.read(path)
