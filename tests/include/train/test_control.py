"""The negative control falls to the majority, unless labels reach the features."""

from include.train import control, model
from include.train.hyperparameters import Hyperparameters

SMALL = Hyperparameters(trees=30)


def test_shuffled_labels_fall_to_the_majority(splits, test_baskets):
    result = control.shuffled_labels(splits["train"], test_baskets, SMALL)
    assert abs(result.accuracy - result.majority) <= 0.03


def test_control_notices_labels_in_the_features(splits, test_baskets, monkeypatch):
    """The twin: a model that sees the test labels is not at the majority, whatever it was trained on."""
    leaking = type("Leaking", (), {"predict": staticmethod(lambda baskets: baskets.label)})
    monkeypatch.setattr(model, "train", lambda *_: leaking)
    result = control.shuffled_labels(splits["train"], test_baskets, SMALL)
    assert result.accuracy - result.majority > 0.03
