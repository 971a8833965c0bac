"""Build a tiny but real bundle, its archive as SageMaker packs it, and baskets to score with it."""

import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from include.baskets import bundle, features
from include.baskets.products import ProductTable
from include.baskets.schema import LABELS

PRODUCTS = [f"PRD{number:07d}" for number in range(40)]


def basket(seed: int, lines: int | None = None, known: bool = True) -> dict[str, Any]:
    """Return a valid basket as a client sends it; known=False: with products that the bundle does not know."""
    draw = random.Random(seed)
    codes = PRODUCTS if known else [f"NEW{number}" for number in range(600)]
    chosen = draw.choices(codes, k=lines or draw.randint(1, 12))
    return {
        "SHOP_WEEKDAY": draw.randint(1, 7),
        "SHOP_HOUR": draw.randint(0, 23),
        "STORE_FORMAT": draw.choice(["SS", "MS", "LS", "XLS"]),
        "STORE_REGION": draw.choice(["E01", "N02", "S03", "Z99"]),
        "lines": [
            {"PROD_CODE": code, "QUANTITY": draw.randint(1, 5), "SPEND": round(draw.uniform(0, 9), 2)}
            for code in chosen
        ],
    }


def write_bundle(directory: Path) -> str:
    """Write the bundle's members into `directory` and return its digest."""
    # here, so that a worker that writes no bundle does not import them: seconds of CPU
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier

    draw = np.random.default_rng(0)
    beliefs = draw.dirichlet([1, 1, 1], len(PRODUCTS))
    table = ProductTable(PRODUCTS, beliefs, np.full(len(PRODUCTS), 5), beliefs.mean(axis=0), (-0.2, 0.2))
    rows = draw.normal(size=(300, len(features.FEATURES))).astype(np.float32)
    forest = RandomForestClassifier(10, max_depth=6, random_state=0).fit(rows, draw.integers(0, len(LABELS), 300))
    graph = convert_sklearn(
        forest,
        initial_types=[(bundle.MODEL_INPUT, FloatTensorType([None, len(features.FEATURES)]))],
        options={id(forest): {"zipmap": False}},
        target_opset=15,
    )
    return bundle.write(
        directory,
        graph.SerializeToString(),
        table,
        {"classes": dict(zip(LABELS, (0.25, 0.5, 0.25), strict=True))},
        {"accuracy": 0.9, "macro_f1": 0.9},
    )


def archive(directory: Path, path: Path) -> Path:
    """Pack `directory` into `path` as SageMaker packs model.tar.gz."""
    with tarfile.open(path, "w:gz") as tar:
        for member in sorted(directory.iterdir()):
            tar.add(member, member.name)
    return path
