"""The training job: read gold channels, write a model bundle.

<base>/input/data/{train,validation,manifest}/   gold parts and manifests, at any depth
<base>/input/config/hyperparameters.json         optional, values may be strings
<base>/model/                                    the bundle
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from include.baskets import bundle
from include.baskets.bundle import Scores
from include.train import data, drift_reference, forest, metrics, model
from include.train.data import Baskets
from include.train.errors import TooLittleDataError, TrainingError
from include.train.hyperparameters import Hyperparameters
from include.train.metrics import Metrics
from include.train.model import Model
from include.train.progress import log

MIN_BASKETS: Final = {"train": 300, "validation": 50}
"""Labelled baskets that a split must have; far below what passes the gate, but enough for every figure to exist."""

_CONVERSION_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Gold:
    """What training reads from gold, already checked: enough baskets, no leaks between the splits."""

    train: Baskets
    validation: Baskets
    manifests: data.Manifests
    leaks: data.Leaks


def run(base: Path) -> str:
    """Train, write <base>/model and return the bundle's digest.

    TrainingError when hyperparameters or gold are wrong, or when the converted model answers differently.
    """
    hyperparameters = Hyperparameters.read(base / "input" / "config" / "hyperparameters.json")
    gold = read_gold(base / "input" / "data")
    fitted = model.train(gold.train, hyperparameters)
    low, high = fitted.table.cuts
    node_count = forest.nodes(fitted.forest)
    log(f"{len(fitted.table.codes)} products, cuts {low:+.3f} and {high:+.3f}, forest of {node_count} nodes")
    onnx = forest.to_onnx(fitted.forest)
    labels = gold.train.label[gold.train.labelled]
    served = bundle.Bundle("", onnx, fitted.table, {"classes": drift_reference.class_mix(labels)}, {})
    scores = served.score(gold.validation.columns)
    _verify_conversion(fitted, scores)
    labelled = gold.validation.labelled
    validation = metrics.measure(gold.validation.label[labelled], scores.classes[labelled])
    digest = bundle.write(
        _empty_folder(base / "model"),
        onnx,
        fitted.table,
        drift_reference.reference(scores, labels),
        _metrics_document(gold, hyperparameters, fitted, validation),
    )
    log(f"validation:accuracy={validation.accuracy:.4f}; validation:macro_f1={validation.macro_f1:.4f};")
    log(f"bundle {digest}")
    return digest


def read_gold(channels: Path) -> Gold:
    """Read and check the training channels. TrainingError when a file is not as its manifest says, too little, or
    splits share customers or contents."""
    manifests = data.read_manifests(channels / "manifest")
    splits = {split: data.read_split(channels / split, split, manifests) for split in MIN_BASKETS}
    weeks = manifests.weeks
    log(f"{len(weeks)} weeks {weeks[0]} to {weeks[-1]}, every file verified against its manifest")
    leaks = data.leaks_between(splits.values())
    data.refuse_leaks(leaks)
    for split, baskets in splits.items():
        _require_enough(split, baskets)
        log(f"{split}: {baskets.counts()}, {baskets.columns.offsets[-1]} lines")
    return Gold(splits["train"], splits["validation"], manifests, leaks)


def _metrics_document(
    gold: Gold, hyperparameters: Hyperparameters, fitted: Model, validation: Metrics
) -> dict[str, Any]:
    """Return the bundle's metrics.json; its field names are stored and never change."""
    return {
        "validation": {
            "accuracy": validation.accuracy,
            "macro_f1": validation.macro_f1,
            "baskets": int(gold.validation.labelled.sum()),
        },
        "train": gold.train.counts(),
        "clones": gold.leaks.duplicates,
        "weeks": list(gold.manifests.weeks),
        "gold_digest": gold.manifests.digest,
        "hyperparameters": hyperparameters.model_dump(),
        "products": len(fitted.table.codes),
        "cuts": list(fitted.table.cuts),
        "forest_nodes": forest.nodes(fitted.forest),
    }


def _require_enough(split: str, baskets: Baskets) -> None:
    """Raise TooLittleDataError when a split has fewer labelled baskets than MIN_BASKETS."""
    labelled = int(baskets.labelled.sum())
    if labelled < MIN_BASKETS[split]:
        raise TooLittleDataError(
            f"the {split} split has {labelled} labelled baskets, at least {MIN_BASKETS[split]} are needed "
            f"({baskets.counts()}): train on more weeks"
        )


def _verify_conversion(fitted: Model, scores: Scores) -> None:
    """Raise TrainingError when the ONNX model does not answer as the forest does."""
    expected = fitted.probabilities(scores.features)
    largest_difference = float(np.abs(expected - scores.probabilities).max())
    if largest_difference > _CONVERSION_TOLERANCE:
        raise TrainingError(
            f"the ONNX model's probabilities differ from the forest's by up to {largest_difference:.2g}, more than "
            f"{_CONVERSION_TOLERANCE:.2g}: check the versions of skl2onnx and onnxruntime"
        )


def _empty_folder(directory: Path) -> Path:
    """Create the folder, or remove the files of an earlier attempt from it."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    return directory
