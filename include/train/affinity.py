"""Latent product affinity by expectation-maximisation: which products make a basket price-sensitive.

Model. Each product has one hidden class: Low (-1), Medium (0), High (+1), or it does not count. A basket's label is
the mean class of its counting lines, cut at two values low < high; a basket without a counting line is Unclassified.
Each iteration, given beliefs (class probabilities) about every product:
  1. The cuts are the two values on the expected mean class that put most training baskets into their own label.
  2. For each line, the sum of the classes of the basket's other lines is approximated by a normal distribution. The
     likelihood of the basket's label under each class of this product is then a difference of normal probabilities.
  3. beliefs = prior x product of likelihoods, damped; the prior follows the beliefs. The likelihoods are tempered, from
     a power of 0.3 up to 1, so that errors of the uncertain first iterations do not reinforce each other.
Source: expectation-maximisation by Dempster, Laird and Rubin (1977), with deterministic annealing by Ueda and Nakano
(1998); the model of products is this project's own.
A training row must not be encoded with a table that saw its label: `out_of_fold` encodes each customer's baskets with
a table of the other customers.

Shapes: n baskets, p products. The four classes of an array [..., 4] are Low, Medium, High, does not count.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.special import ndtr

from include.baskets import features
from include.baskets.features import BasketColumns
from include.baskets.products import ProductTable
from include.baskets.schema import UNCLASSIFIED_CODE
from include.train.machine import cores

FIRST_POWER = 0.3
LAST_POWER = 1.0
DAMPING = 0.5
_CLASS = np.array([-1.0, 0.0, 1.0, 0.0])  # Low, Medium, High, does not count
_COUNTS = np.array([1.0, 1.0, 1.0, 0.0])
_PRIOR_BASKETS = 2.0  # weight of the overall mix in the first guess, in baskets
_VARIANCE_FLOOR = 1e-3
_LIKELIHOOD_FLOOR = 1e-4  # a single basket must not exclude a class
_DIGITS = 6  # beliefs are rounded: the last bits of exp and log differ between processors


def fit(columns: BasketColumns, label: np.ndarray, iterations: int = 20) -> ProductTable:
    """Learn the product table of n baskets. label [n]: positions in LABELS, or UNCLASSIFIED_CODE."""
    beliefs, prior = _first_guess(columns, label)
    seen = np.bincount(columns.product, minlength=len(columns.products)) > 0
    for power in np.linspace(FIRST_POWER, LAST_POWER, iterations):
        likelihood = np.log(_line_likelihood(columns, label, beliefs))
        evidence = np.stack([_by_product(columns, likelihood[:, k]) for k in range(4)], axis=1)
        posterior = np.log(prior) + power * evidence
        posterior = np.exp(posterior - posterior.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        beliefs = (1 - DAMPING) * beliefs + DAMPING * posterior
        prior = (1 - DAMPING) * prior + DAMPING * beliefs[seen].mean(axis=0)
    low, high = _cuts(columns, label, beliefs)
    labelled = label[columns.basket] != UNCLASSIFIED_CODE
    baskets = np.bincount(columns.product[labelled], minlength=len(columns.products))
    codes = np.array(columns.products, dtype=np.str_)
    rows = np.flatnonzero(seen)
    rows = rows[np.argsort(codes[rows])]
    return ProductTable(
        codes=codes[rows].tolist(),
        beliefs=np.round(beliefs[rows, :3], _DIGITS),
        baskets=baskets[rows],
        unseen=np.round(prior[:3], _DIGITS),
        cuts=(round(float(low), _DIGITS), round(float(high), _DIGITS)),
    )


def out_of_fold(
    columns: BasketColumns, label: np.ndarray, fold: np.ndarray, folds: int, iterations: int = 20
) -> np.ndarray:
    """Return features [n, f] of the training baskets, each encoded by a table of the other folds.

    label [n]: as for `fit`. fold [n]: 0 to folds - 1.
    """
    encoded = np.empty((len(columns), len(features.FEATURES)))

    def encode(number: int) -> None:
        inside = np.flatnonzero(fold == number)
        outside = np.flatnonzero(fold != number)
        table = fit(columns.take(outside), label[outside], iterations)
        if len(inside):
            encoded[inside] = features.compute_many(columns.take(inside), table)[0]

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(encode, range(folds)))
    return encoded


def _first_guess(columns: BasketColumns, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return beliefs [p, 4] and prior [4]: each basket's label is credited to its products, 1 / lines each."""
    weight = 1.0 / columns.sizes[columns.basket]
    of_line = label[columns.basket]
    credit = np.stack([_by_product(columns, weight * (of_line == k)) for k in range(4)], axis=1)
    prior = credit.sum(axis=0) / credit.sum()
    prior = np.maximum(prior, _LIKELIHOOD_FLOOR) / np.maximum(prior, _LIKELIHOOD_FLOOR).sum()
    return (credit + _PRIOR_BASKETS * prior) / (credit.sum(axis=1, keepdims=True) + _PRIOR_BASKETS), prior


def _line_likelihood(columns: BasketColumns, label: np.ndarray, beliefs: np.ndarray) -> np.ndarray:
    """Return [lines, 4] the probability of the basket's label for each class of the line's product."""
    low, high = _cuts(columns, label, beliefs)
    above_low = _above(columns, beliefs, low)
    above_high = _above(columns, beliefs, high)
    of_line = label[columns.basket][:, None]
    between = np.maximum(above_low - above_high, 0.0)
    likelihood = np.where(of_line == 0, 1 - above_low, np.where(of_line == 2, above_high, between))
    # A labelled basket has a counting line, an Unclassified one has none.
    log_not_counting = np.log(np.maximum(1 - (beliefs @ _COUNTS)[columns.product], 1e-6))
    of_others = _by_basket(columns, log_not_counting)[columns.basket] - log_not_counting
    no_other_counts = np.exp(np.minimum(of_others, 0.0))
    unclassified = of_line[:, 0] == UNCLASSIFIED_CODE
    likelihood[:, 3] *= 1 - no_other_counts
    likelihood[unclassified] = (0.0, 0.0, 0.0, 1.0)
    return np.maximum(likelihood, _LIKELIHOOD_FLOOR)


def _above(columns: BasketColumns, beliefs: np.ndarray, cut: float) -> np.ndarray:
    """Return [lines, 4] the probability that the basket's mean class is above the cut, for each class of the product.

    The mean class is above the cut when the sum of (class - cut) over counting lines is above 0.
    """
    value = _CLASS - cut * _COUNTS
    mean = (beliefs @ value)[columns.product]
    variance = (beliefs @ value**2)[columns.product] - mean**2
    rest_mean = _by_basket(columns, mean)[columns.basket] - mean
    rest_variance = np.maximum(_by_basket(columns, variance)[columns.basket] - variance, 0.0) + _VARIANCE_FLOOR
    probability: np.ndarray = ndtr((rest_mean[:, None] + value) / np.sqrt(rest_variance)[:, None])
    return probability


def _cuts(columns: BasketColumns, label: np.ndarray, beliefs: np.ndarray) -> tuple[float, float]:
    """Return the two cuts on the expected mean class that classify most labelled baskets correctly."""
    score = _by_basket(columns, (beliefs @ _CLASS)[columns.product])
    counting = _by_basket(columns, (beliefs @ _COUNTS)[columns.product])
    labelled = np.flatnonzero(label != UNCLASSIFIED_CODE)
    ratio = (score / np.maximum(counting, 1e-9))[labelled]
    order = np.argsort(ratio, kind="stable")
    ratio = ratio[order]
    truth = label[labelled][order]
    low = _best_cut(ratio, truth == 0, truth == 1)
    high = _best_cut(ratio[::-1], truth[::-1] == 2, truth[::-1] == 1)
    return low, high


def _best_cut(ratio: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> float:
    """Return the midpoint after the position in sorted `ratio` before which most `inside` and fewest `outside` lie."""
    best = int(np.argmax(np.cumsum(inside) - np.cumsum(outside)))
    return float(ratio[best] + ratio[min(best + 1, len(ratio) - 1)]) / 2


def _by_basket(columns: BasketColumns, values: np.ndarray) -> np.ndarray:
    """Return [n] the sum of values [lines] in each basket."""
    return np.bincount(columns.basket, weights=values, minlength=len(columns))


def _by_product(columns: BasketColumns, values: np.ndarray) -> np.ndarray:
    """Return [p] the sum of values [lines] of each product."""
    return np.bincount(columns.product, weights=values, minlength=len(columns.products))
