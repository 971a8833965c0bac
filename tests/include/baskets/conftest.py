"""A small model bundle of known products, made once."""

from pathlib import Path

import numpy as np
import pytest

from include.baskets import bundle, features
from include.baskets.products import ProductTable
from include.baskets.schema import Basket, Line
from include.train import forest
from include.train.hyperparameters import Hyperparameters

KNOWN = {"HIGH": (0.02, 0.08, 0.9), "MIDDLE": (0.05, 0.9, 0.05), "LOW": (0.9, 0.08, 0.02)}
IDLE = "IDLE"  # training saw it in Unclassified baskets only


@pytest.fixture(scope="session")
def table() -> ProductTable:
    codes = sorted([*KNOWN, IDLE])
    return ProductTable(
        codes=codes,
        beliefs=np.array([KNOWN.get(code, (0.0, 0.1, 0.0)) for code in codes]),
        baskets=np.array([0 if code == IDLE else 7 for code in codes]),
        unseen=np.array([0.15, 0.65, 0.15]),
        cuts=(-0.18, 0.23),
    )


@pytest.fixture(scope="session")
def parts(table) -> dict:
    """Arguments of `bundle.write`: a forest that learned to read the affinity ratio."""
    generator = np.random.default_rng(1)
    values = generator.normal(size=(400, len(features.FEATURES)))
    label = 1 + np.digitize(values[:, features.FEATURES.index("affinity_ratio")], [-0.18, 0.23]) - 1
    model = forest.to_onnx(forest.fit(values, label, Hyperparameters(trees=15, max_features=0.9)))
    baseline = {"classes": {"Low": 0.25, "Medium": 0.5, "High": 0.25}}
    return {"model": model, "table": table, "baseline": baseline, "metrics": {"validation": {"accuracy": 0.9}}}


@pytest.fixture
def folder(tmp_path, parts) -> Path:
    """A bundle's folder that a test may damage."""
    target = tmp_path / "bundle"
    target.mkdir()
    bundle.write(target, **parts)
    return target


@pytest.fixture(scope="session")
def loaded(tmp_path_factory, parts) -> bundle.Bundle:
    target = tmp_path_factory.mktemp("bundle")
    bundle.write(target, **parts)
    return bundle.load(target)


@pytest.fixture
def make_basket():
    def make(*codes: str, **changes) -> Basket:
        lines = [Line(code, 1, 1.5) for code in codes]
        return Basket(
            **{"SHOP_WEEKDAY": 5, "SHOP_HOUR": 19, "STORE_FORMAT": "LS", "STORE_REGION": "E02", "lines": lines}
            | changes
        )

    return make
