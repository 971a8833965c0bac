"""The random forest: fitted by scikit-learn, served as ONNX."""

import warnings
from typing import Final

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from include.baskets.bundle import MODEL_INPUT, MODEL_OUTPUT
from include.baskets.schema import LABELS
from include.train.errors import TooLittleDataError, TrainingError
from include.train.hyperparameters import Hyperparameters
from include.train.machine import cores

OPSET: Final = {"": 17, "ai.onnx.ml": 3}


def fit(values: np.ndarray, label: np.ndarray, hyperparameters: Hyperparameters) -> RandomForestClassifier:
    """Fit a forest on features [n, f] and labels [n] (positions in LABELS).

    The same input gives the same forest on any number of processors: every tree has a seed of its own.
    TooLittleDataError when a label does not occur.
    """
    missing = [name for position, name in enumerate(LABELS) if not (label == position).any()]
    if missing:
        raise TooLittleDataError(f"no training basket is labelled {', '.join(missing)}: train on more weeks")
    forest = RandomForestClassifier(
        n_estimators=hyperparameters.trees,
        min_samples_leaf=hyperparameters.min_samples_leaf,
        max_features=hyperparameters.max_features,
        random_state=hyperparameters.seed,
        n_jobs=cores(),
    )
    forest.fit(values.astype(np.float32), label)
    return forest


def nodes(forest: RandomForestClassifier) -> int:
    """Return the number of nodes of all trees."""
    return sum(tree.tree_.node_count for tree in forest.estimators_)


def to_onnx(forest: RandomForestClassifier) -> bytes:
    """Return the forest as an ONNX model. Equal forests give equal bytes.

    Input MODEL_INPUT [n, f] float32, outputs `label` and MODEL_OUTPUT [n, 3] float32. TrainingError when the converter
    names them otherwise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter uses deprecated names of its own dependencies
        from skl2onnx import to_onnx as convert
        from skl2onnx.common.data_types import FloatTensorType

        model = convert(
            forest,
            initial_types=[(MODEL_INPUT, FloatTensorType([None, forest.n_features_in_]))],
            options={id(forest): {"zipmap": False}},
            target_opset=OPSET,
            name="retail-price-sensitivity",
        )
    if [output.name for output in model.graph.output] != ["label", MODEL_OUTPUT]:
        names = ", ".join(output.name for output in model.graph.output)
        raise TrainingError(f"skl2onnx names the outputs {names}, expected label, {MODEL_OUTPUT}: check its version")
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized
