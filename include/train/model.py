"""The whole recipe from training baskets to a product table and a forest; fit, control and later weeks all use it."""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from include.baskets import features
from include.baskets.products import ProductTable
from include.baskets.schema import UNCLASSIFIED_CODE
from include.train import affinity, forest
from include.train.data import Baskets
from include.train.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Model:
    """What training learned, before it becomes a bundle."""

    table: ProductTable
    forest: RandomForestClassifier

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """[n, 3] in the order of LABELS, of features [n, f]."""
        # One thread: with several the order of adding the trees' votes, and so the last bit, would vary.
        self.forest.n_jobs = 1
        return self.forest.predict_proba(values.astype(np.float32))

    def predict(self, baskets: Baskets) -> np.ndarray:
        """[n] class of each basket, UNCLASSIFIED_CODE without a known product."""
        values, known = features.many(baskets.columns, self.table)
        return np.where(known > 0, self.probabilities(values).argmax(axis=1), UNCLASSIFIED_CODE)


def train(baskets: Baskets, hyperparameters: Hyperparameters) -> Model:
    """Encode out of fold by customer, fit the forest on the labelled baskets, and the table on all of them."""
    encoded = affinity.out_of_fold(
        baskets.columns,
        baskets.label,
        baskets.folds(hyperparameters.folds),
        hyperparameters.folds,
        hyperparameters.iterations,
    )
    labelled = baskets.labelled
    return Model(
        table=affinity.fit(baskets.columns, baskets.label, hyperparameters.iterations),
        forest=forest.fit(encoded[labelled], baskets.label[labelled], hyperparameters),
    )
