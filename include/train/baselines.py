"""What the figures are held against: simpler models, a control that must fail, and weeks that come later."""

from dataclasses import replace
from typing import Final

import numpy as np

from include.baskets import features
from include.baskets.schema import LABELS
from include.train import forest, metrics, model
from include.train.data import Baskets
from include.train.evidence import Control, GroupScore, LaterWeeks
from include.train.hyperparameters import Hyperparameters

MIN_LATER_WEEKS: Final = 6
"""With fewer weeks there is no later-weeks test: too little would be left to train on."""

_LATER_SHARE = 0.25  # of the weeks are scored in the later-weeks test
_RUNG_BASKETS = 20_000  # simple rungs do not improve with more
_RUNG = {"trees": 60, "min_samples_leaf": 5}
_CONTROL = {"trees": 60, "min_samples_leaf": 50, "folds": 2}
"""Large leaves: a forest that fits noise would fall below the majority's accuracy, and say less."""


def majority(train: Baskets, test: Baskets) -> tuple[float, float]:
    """Always the most frequent training label."""
    most = int(np.bincount(train.label[train.labelled], minlength=len(LABELS)).argmax())
    return metrics.both(test.label, np.full(len(test), most))


def aggregates(train: Baskets, test: Baskets, seed: int) -> tuple[float, float]:
    """What a basket shows without its products: size, spend, prices, time, store."""
    return _rung(features.aggregates(train.columns), train, features.aggregates(test.columns), test, seed)


def product_groups(train: Baskets, test: Baskets, groups: list[dict[str, str]], seed: int) -> tuple[float, float]:
    """Aggregates and the shares of lines in each group; groups: product -> group, one dict a level."""
    return _rung(_with_shares(train, groups), train, _with_shares(test, groups), test, seed)


def shuffled_control(train: Baskets, test: Baskets, hyperparameters: Hyperparameters) -> Control:
    """The whole recipe on training labels that were shuffled among the labelled baskets."""
    generator = np.random.default_rng(hyperparameters.seed)
    label = train.label.copy()
    label[train.labelled] = generator.permutation(label[train.labelled])
    fitted = model.train(replace(train, label=label), hyperparameters.model_copy(update=_CONTROL))
    accuracy, macro_f1 = metrics.both(test.label, fitted.predict(test))
    return Control(accuracy=accuracy, macro_f1=macro_f1, majority=majority(train, test)[0])


def later_weeks(
    train: Baskets, others: list[Baskets], weeks: tuple[str, ...], hyperparameters: Hyperparameters
) -> LaterWeeks | None:
    """The recipe on the training split's first weeks, scored on all splits' last weeks; None with too few weeks.

    others: validation and test split, whose customers are new to this training. Later copies of a basket of the first
    weeks are dropped.
    """
    if len(weeks) < MIN_LATER_WEEKS:
        return None
    last = max(1, round(len(weeks) * _LATER_SHARE))
    first, later = set(weeks[:-last]), set(weeks[-last:])
    base = train.take(np.isin(train.week, list(first)))
    fitted = model.train(base, hyperparameters)
    known = set(base.large_fingerprints())
    truth, predicted, new, dropped = [], [], [], 0
    for split in (train, *others):
        rows = split.labelled & np.isin(split.week, list(later))
        copies = rows & np.isin(split.fingerprint, list(known)) & split.is_large
        dropped += int(copies.sum())
        scored = split.take(rows & ~copies)
        truth.append(scored.label)
        predicted.append(fitted.predict(scored))
        new.append(np.full(len(scored), split is not train))
    truth_all, predicted_all, is_new = map(np.concatenate, (truth, predicted, new))
    return LaterWeeks(
        training_weeks=list(weeks[:-last]),
        weeks=list(weeks[-last:]),
        clones_dropped=dropped,
        all_customers=score_group("all customers", truth_all, predicted_all),
        all_customers_interval=metrics.bootstrap(truth_all, predicted_all)[0],
        new_customers=score_group("new customers", truth_all[is_new], predicted_all[is_new]),
    )


def score_group(name: str, truth: np.ndarray, predicted: np.ndarray) -> GroupScore:
    accuracy, macro_f1 = metrics.both(truth, predicted)
    return GroupScore(group=name, baskets=len(truth), accuracy=accuracy, macro_f1=macro_f1)


def _rung(values: np.ndarray, train: Baskets, test_values: np.ndarray, test: Baskets, seed: int) -> tuple[float, float]:
    rows = np.flatnonzero(train.labelled)
    rows = np.random.default_rng(seed).permutation(rows)[:_RUNG_BASKETS]
    fitted = forest.fit(values[rows], train.label[rows], Hyperparameters(**_RUNG, seed=seed))
    return metrics.both(test.label, fitted.predict(test_values.astype(np.float32)).astype(np.int64))


def _with_shares(baskets: Baskets, groups: list[dict[str, str]]) -> np.ndarray:
    """Aggregates, then for each level the share of the basket's lines in each of its groups (names in order)."""
    columns = baskets.columns
    blocks = [features.aggregates(columns)]
    for level in groups:
        names = sorted(set(level.values()))
        position = {name: number for number, name in enumerate(names)}
        missing = len(names)
        group = np.array([position.get(level.get(code, ""), missing) for code in columns.products], dtype=np.int64)
        cell = columns.basket * (missing + 1) + group[columns.product]
        counts = np.bincount(cell, minlength=len(columns) * (missing + 1)).reshape(len(columns), missing + 1)
        blocks.append(counts[:, :missing] / columns.sizes[:, None])
    return np.hstack(blocks)
