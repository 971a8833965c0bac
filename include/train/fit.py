"""The training job: gold channels in, model bundle out.

<base>/input/data/{train,validation,manifest}/   gold parts and manifests, at any depth
<base>/input/config/hyperparameters.json         optional, values may be strings
<base>/model/                                    the bundle
"""

from pathlib import Path
from typing import Final

import numpy as np

from include.baskets import bundle
from include.train import data, forest, metrics, model
from include.train import drift_reference as baseline
from include.train.data import Baskets
from include.train.errors import TooLittleDataError, TrainingError
from include.train.hyperparameters import Hyperparameters
from include.train.progress import say

MIN_BASKETS: Final = {"train": 300, "validation": 50}
"""Labelled baskets that a split must have; far below what passes the gate, but enough for every figure to exist."""

_CONVERSION_TOLERANCE = 1e-5


def run(base: Path) -> str:
    """Train and write <base>/model; the bundle's digest. TrainingError when that cannot be done honestly."""
    hyperparameters = Hyperparameters.read(base / "input" / "config" / "hyperparameters.json")
    channels = base / "input" / "data"
    manifests = data.read_manifests(channels / "manifest")
    train, validation = (data.read_split(channels / split, split, manifests) for split in MIN_BASKETS)
    say(f"{len(manifests.weeks)} weeks {manifests.weeks[0]} to {manifests.weeks[-1]}, every part as its manifest says")
    leaks = data.leaks_between([train, validation])
    data.refuse_leaks(leaks)
    for split, baskets in {"train": train, "validation": validation}.items():
        _refuse_too_little(split, baskets)
        say(f"{split}: {baskets.counts()}, {baskets.columns.offsets[-1]} lines")
    fitted = model.train(train, hyperparameters)
    say(
        f"{len(fitted.table.codes)} products, cuts {fitted.table.cuts[0]:+.3f} and {fitted.table.cuts[1]:+.3f}, "
        f"forest of {forest.nodes(fitted.forest)} nodes"
    )
    onnx, labels = forest.to_onnx(fitted.forest), train.label[train.labelled]
    served = bundle.Bundle("", onnx, fitted.table, {"classes": baseline.class_mix(labels)}, {})
    scores = served.score(validation.columns)
    _verify_conversion(fitted, scores)
    rows = validation.labelled
    accuracy, macro_f1 = metrics.both(validation.label[rows], scores.classes[rows])
    digest = bundle.write(
        _empty(base / "model"),
        onnx,
        fitted.table,
        baseline.reference(scores, labels),
        {
            "validation": {"accuracy": accuracy, "macro_f1": macro_f1, "baskets": int(rows.sum())},
            "train": train.counts(),
            "clones": leaks.clones,
            "weeks": list(manifests.weeks),
            "gold_digest": manifests.digest,
            "hyperparameters": hyperparameters.model_dump(),
            "products": len(fitted.table.codes),
            "cuts": list(fitted.table.cuts),
            "forest_nodes": forest.nodes(fitted.forest),
        },
    )
    say(f"validation:accuracy={accuracy:.4f}; validation:macro_f1={macro_f1:.4f};")
    say(f"bundle {digest}")
    return digest


def _refuse_too_little(split: str, baskets: Baskets) -> None:
    labelled = int(baskets.labelled.sum())
    if labelled < MIN_BASKETS[split]:
        raise TooLittleDataError(
            f"the {split} split has {labelled} labelled baskets, at least {MIN_BASKETS[split]} are needed "
            f"({baskets.counts()}): train on more weeks"
        )


def _verify_conversion(fitted: model.Model, scores: bundle.Scores) -> None:
    """TrainingError when the served model does not answer as the forest does."""
    expected = fitted.probabilities(scores.features)
    worst = float(np.abs(expected - scores.probabilities).max())
    if worst > _CONVERSION_TOLERANCE:
        raise TrainingError(
            f"the ONNX model's probabilities differ from the forest's by up to {worst:.2g}: check the versions of "
            "skl2onnx and onnxruntime"
        )


def _empty(directory: Path) -> Path:
    """The model folder without files of an earlier try."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    return directory
