"""The random forest: fitted by scikit-learn, served as ONNX."""

import warnings

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from include.baskets.bundle import MODEL_INPUT, MODEL_OUTPUT
from include.baskets.schema import LABELS
from include.train.errors import TooLittleDataError, TrainingError
from include.train.hyperparameters import Hyperparameters
from include.train.machine import cores

OPSET = {"": 17, "ai.onnx.ml": 3}


def fit(values: np.ndarray, label: np.ndarray, hyperparameters: Hyperparameters) -> RandomForestClassifier:
    """A forest on features [n, f] and labels [n] (positions in LABELS, each class present).

    The same input gives the same forest on any number of processors: every tree has a seed of its own."""
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
    return forest.fit(values.astype(np.float32), label)


def nodes(forest: RandomForestClassifier) -> int:
    return sum(tree.tree_.node_count for tree in forest.estimators_)


def to_onnx(forest: RandomForestClassifier) -> bytes:
    """The forest as an ONNX model; equal forests give equal bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own use of deprecated names
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
        raise TrainingError("skl2onnx names the model's outputs otherwise than expected: check its version")
    return model.SerializeToString(deterministic=True)
