"""Train a model: a product table and a forest. The training job, the control and the out-of-time test all use it."""

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
    """A trained model before it becomes a bundle."""

    table: ProductTable
    forest: RandomForestClassifier

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return [n, 3] probabilities in the order of LABELS, of features [n, f]."""
        # One thread: with several, the trees' votes would be added in varying order, and the last bit would vary.
        self.forest.n_jobs = 1
        probabilities: np.ndarray = self.forest.predict_proba(values.astype(np.float32))
        return probabilities

    def predict(self, baskets: Baskets) -> np.ndarray:
        """Return [n] the class of each basket; UNCLASSIFIED_CODE for a basket without a known product."""
        values, known = features.compute_many(baskets.columns, self.table)
        return np.where(known > 0, self.probabilities(values).argmax(axis=1), UNCLASSIFIED_CODE)


def train(baskets: Baskets, hyperparameters: Hyperparameters) -> Model:
    """Fit the product table on all baskets, and the forest on the labelled ones, encoded out of fold by customer.

    TooLittleDataError when a label does not occur.
    """
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
