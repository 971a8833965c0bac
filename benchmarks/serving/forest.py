"""Score as services commonly do: a pandas frame into the scikit-learn forest. The naive service and the peers use it.

Reads FOREST (a joblib file) and PRODUCTS (the bundle's product table, which the features need).
"""

import os
from pathlib import Path
from typing import Any

import joblib
import msgspec
import pandas as pd

from include.baskets import features
from include.baskets.products import ProductTable
from include.baskets.schema import LABELS, Basket


class Forest:
    """The forest of the bundle, as scikit-learn trained it."""

    def __init__(self) -> None:
        self._forest = joblib.load(os.environ["FOREST"])
        self._table = ProductTable.from_bytes(Path(os.environ["PRODUCTS"]).read_bytes())

    def predict(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a basket as a client sends it. It must have one line per product."""
        values, known = features.compute_one(msgspec.convert(document, Basket), self._table)
        frame = pd.DataFrame([values], columns=list(features.FEATURES))
        row = self._forest.predict_proba(frame.to_numpy(dtype="float32"))[0]
        probability = dict(zip(LABELS, row.tolist(), strict=True))
        best = max(probability, key=probability.__getitem__)
        return {
            "prediction": best,
            "probability": probability,
            "confidence": probability[best],
            "known_lines": known,
            "model_version": "3",
        }
