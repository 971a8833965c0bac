"""The candidate's figures on the test split by class, by size of the basket and by store format."""

from typing import Final

import numpy as np

from include.baskets.schema import LABELS, STORE_FORMATS, UNCLASSIFIED
from include.train import metrics
from include.train.data import Baskets
from include.train.evidence import ClassScore, GroupScore

LINE_GROUPS: Final = ((1, 1), (2, 2), (3, 4), (5, 7), (8, 12), (13, 20), (21, None))
"""Groups of baskets by number of lines: first and last number, None without a limit."""


def score_group(name: str, truth: np.ndarray, predicted: np.ndarray) -> GroupScore:
    """Return the metrics of some baskets. truth, predicted: [n] integers."""
    accuracy, macro_f1 = metrics.measure(truth, predicted)
    return GroupScore(group=name, baskets=len(truth), accuracy=accuracy, macro_f1=macro_f1)


def by_class(table: np.ndarray) -> dict[str, ClassScore]:
    """Return precision, recall and F1 of each label, from a confusion table [3, 4]."""
    precision, recall, f1 = metrics.precision_recall_f1(table)
    return {
        name: ClassScore(
            precision=precision[code],
            recall=recall[code],
            f1=f1[code],
            baskets=int(table[code].sum()),
        )
        for code, name in enumerate(LABELS)
    }


def confusion_by_name(table: np.ndarray) -> dict[str, dict[str, int]]:
    """Return a confusion table [3, 4] as true label -> prediction -> baskets."""
    predictions = (*LABELS, UNCLASSIFIED)
    return {name: dict(zip(predictions, table[code].tolist(), strict=True)) for code, name in enumerate(LABELS)}


def by_lines(test: Baskets, predicted: np.ndarray) -> list[GroupScore]:
    """Return the metrics of each of LINE_GROUPS that has baskets. predicted: [test] integers."""
    sizes = test.columns.sizes
    return [
        score_group(_range(low, high), test.label[rows], predicted[rows])
        for low, high in LINE_GROUPS
        if (rows := (sizes >= low) & (sizes <= (high or sizes.max()))).any()
    ]


def by_store_format(test: Baskets, predicted: np.ndarray) -> list[GroupScore]:
    """Return the metrics of each store format that has baskets. predicted: [test] integers."""
    return [
        score_group(name, test.label[rows], predicted[rows])
        for position, name in enumerate(STORE_FORMATS)
        if (rows := test.columns.store_format == position).any()
    ]


def _range(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} or more"
    return str(low) if low == high else f"{low} to {high}"
