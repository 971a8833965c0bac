"""The forest and its ONNX form."""

import numpy as np
import onnxruntime
import pytest

from include.baskets.bundle import MODEL_INPUT, MODEL_OUTPUT
from include.train import forest
from include.train.errors import TooLittleDataError
from include.train.hyperparameters import Hyperparameters

SMALL = Hyperparameters(trees=8)


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(3)
    values = generator.normal(size=(400, 5))
    return values, (values[:, 0] > 0).astype(int) + (values[:, 1] > 0.5)


def test_the_served_form_answers_as_the_forest(sample):
    fitted = forest.fit(*sample, SMALL)
    session = onnxruntime.InferenceSession(forest.to_onnx(fitted))
    (served,) = session.run([MODEL_OUTPUT], {MODEL_INPUT: sample[0].astype(np.float32)})
    assert served == pytest.approx(fitted.predict_proba(sample[0].astype(np.float32)), abs=1e-6)


def test_equal_input_gives_equal_bytes_on_any_number_of_processors(sample, monkeypatch):
    expected = forest.to_onnx(forest.fit(*sample, SMALL))
    monkeypatch.setattr(forest, "cores", lambda: 1)
    assert forest.to_onnx(forest.fit(*sample, SMALL)) == expected


def test_another_seed_gives_another_forest(sample):
    first, second = (forest.to_onnx(forest.fit(*sample, Hyperparameters(trees=8, seed=seed))) for seed in (0, 1))
    assert first != second


def test_a_class_without_baskets_is_named(sample):
    values, label = sample
    with pytest.raises(TooLittleDataError, match="no training basket is labelled High"):
        forest.fit(values[label < 2], label[label < 2], SMALL)
