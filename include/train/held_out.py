"""Held-out baskets: test baskets with the bundle's own answers, for smoke tests and canary releases."""

import json
from typing import Final

import msgspec
import numpy as np

from include.baskets.bundle import Bundle
from include.baskets.schema import LABELS, STORE_FORMATS, Basket, Line
from include.train.data import Baskets

COUNT: Final = 200
"""At most so many test baskets are kept."""


def to_json_lines(candidate: Bundle, test: Baskets) -> bytes:
    """Return up to COUNT labelled test baskets as JSON lines: `request`, `label`, and `expected`, the bundle's answer.

    The baskets with the smallest content hashes are chosen: arbitrary, but always the same ones.
    """
    rows = np.flatnonzero(test.labelled)
    chosen = test.take(rows[np.argsort(test.content_hash[rows].astype(str), kind="stable")][:COUNT])
    baskets = [_request(chosen, row) for row in range(len(chosen))]
    lines = [
        {
            "request": msgspec.to_builtins(basket),
            "label": LABELS[label],
            "expected": {"prediction": answer.prediction, "probability": answer.probability},
        }
        for basket, label, answer in zip(baskets, chosen.label, candidate.predict_many(baskets), strict=True)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _request(baskets: Baskets, row: int) -> Basket:
    """Return the request that a client would send for a gold basket."""
    columns = baskets.columns
    return Basket(
        SHOP_WEEKDAY=int(columns.weekday[row]),
        SHOP_HOUR=int(columns.hour[row]),
        STORE_FORMAT=STORE_FORMATS[int(columns.store_format[row])],
        STORE_REGION=baskets.region[row],
        lines=[
            Line(columns.products[columns.product[line]], int(columns.quantity[line]), float(columns.spend[line]))
            for line in range(columns.offsets[row], columns.offsets[row + 1])
        ],
    )
