"""The negative control: the same training on shuffled labels, which must not beat the most frequent label."""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from include.train import baselines, metrics, model
from include.train.data import Baskets
from include.train.evidence import Control
from include.train.hyperparameters import Hyperparameters

_CHANGES: Final[dict[str, Any]] = {"trees": 60, "min_samples_leaf": 50, "folds": 2}
"""Large leaves: a forest that fits noise would fall below the majority's accuracy and prove less."""


def shuffled_labels(train: Baskets, test: Baskets, hyperparameters: Hyperparameters) -> Control:
    """Train on labels that were shuffled among the labelled baskets, and measure on the test baskets."""
    generator = np.random.default_rng(hyperparameters.seed)
    label = train.label.copy()
    label[train.labelled] = generator.permutation(label[train.labelled])
    fitted = model.train(replace(train, label=label), hyperparameters.model_copy(update=_CHANGES))
    accuracy, macro_f1 = metrics.measure(test.label, fitted.predict(test))
    return Control(accuracy=accuracy, macro_f1=macro_f1, majority=baselines.majority(train, test).accuracy)
