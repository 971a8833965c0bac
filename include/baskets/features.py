"""A basket's features: one basket in plain Python (serving), many in numpy (training, batches).

Both implementations add in the same order, so they agree to the last bit. Plain Python is faster for a single basket
of a few lines, numpy for more. When you change one, change the other: a property test compares them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from include.baskets.products import LINE_COLUMNS, ProductTable
from include.baskets.schema import STORE_FORMATS, STORE_REGIONS, Basket

AGGREGATES: Final = (
    "lines",
    "units",
    "spend",
    "price_mean",
    "price_median",
    "price_max",
    "price_min",
    "price_std",
    "spend_per_unit",
    "spend_per_line",
    "units_per_line",
    "hour",
    "weekday",
    "store_format",
    "store_region",
)
"""Features that need no knowledge of products. price = SPEND / QUANTITY of a line; spend and prices in pounds."""

AFFINITY: Final = (
    "affinity_low",
    "affinity_medium",
    "affinity_high",
    "affinity_ratio",
    "affinity_max",
    "affinity_min",
    "affinity_std",
    "margin_low",
    "margin_high",
    "known_share",
)
"""Features from the product table: mean beliefs; expected mean class of the counting lines; extremes and standard
deviation of the lines' scores; distance of the basket from each cut in standard deviations; share of lines whose
product is known."""

FEATURES: Final = AGGREGATES + AFFINITY

_FORMAT = {name: float(position) for position, name in enumerate(STORE_FORMATS)}
_REGION = {name: float(position) for position, name in enumerate(STORE_REGIONS)}
_UNKNOWN = -1.0
# Keeps the margins finite when every product of a basket is certain.
_VARIANCE_FLOOR = 1e-4
_COUNTING_FLOOR = 1e-9


@dataclass(frozen=True)
class BasketColumns:
    """n baskets as columns.

    offsets [n + 1]: basket i has the lines offsets[i]:offsets[i + 1], at least one. products [p]: distinct product
    codes. product [lines]: positions in products. quantity, spend (pounds) [lines]. weekday, hour [n]. store_format,
    store_region [n]: positions in STORE_FORMATS and STORE_REGIONS, -1 if unknown.
    """

    offsets: np.ndarray
    products: Sequence[str]
    product: np.ndarray
    quantity: np.ndarray
    spend: np.ndarray
    weekday: np.ndarray
    hour: np.ndarray
    store_format: np.ndarray
    store_region: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray) -> "BasketColumns":
        """Return the baskets at positions `rows`, in that order. `products` stays as it is."""
        sizes = self.sizes[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        lines = np.repeat(self.offsets[:-1][rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return replace(
            self,
            offsets=offsets,
            product=self.product[lines],
            quantity=self.quantity[lines],
            spend=self.spend[lines],
            weekday=self.weekday[rows],
            hour=self.hour[rows],
            store_format=self.store_format[rows],
            store_region=self.store_region[rows],
        )

    @cached_property
    def sizes(self) -> np.ndarray:
        """[n] number of lines of each basket."""
        return np.diff(self.offsets)

    @cached_property
    def basket(self) -> np.ndarray:
        """[lines] position of each line's basket."""
        return np.repeat(np.arange(len(self)), self.sizes)


def store_format(name: str) -> float:
    """Return the position in STORE_FORMATS, -1 if unknown."""
    return _FORMAT.get(name, _UNKNOWN)


def store_region(name: str) -> float:
    """Return the position in STORE_REGIONS, -1 if unknown."""
    return _REGION.get(name, _UNKNOWN)


def columns_of(baskets: Sequence[Basket]) -> BasketColumns:
    """Return baskets (lines merged by product, at least one each) as columns."""
    lines = [line for basket in baskets for line in basket.lines]
    products = list(dict.fromkeys(line.PROD_CODE for line in lines))
    position = {code: number for number, code in enumerate(products)}
    return BasketColumns(
        offsets=np.cumsum([0, *(len(basket.lines) for basket in baskets)], dtype=np.int64),
        products=products,
        product=np.array([position[line.PROD_CODE] for line in lines], dtype=np.int64),
        quantity=np.array([line.QUANTITY for line in lines], dtype=np.float64),
        spend=np.array([line.SPEND for line in lines], dtype=np.float64),
        weekday=np.array([basket.SHOP_WEEKDAY for basket in baskets], dtype=np.float64),
        hour=np.array([basket.SHOP_HOUR for basket in baskets], dtype=np.float64),
        store_format=np.array([store_format(basket.STORE_FORMAT) for basket in baskets]),
        store_region=np.array([store_region(basket.STORE_REGION) for basket in baskets]),
    )


def compute_one(basket: Basket, table: ProductTable) -> tuple[list[float], int]:
    """Return the features of one basket in the order of FEATURES, and its number of known lines.

    basket: lines merged by product, at least one. `compute_many` is the same in numpy.
    """
    rows = table.rows
    unseen = table.unseen_row
    affinities, known = _affinity_of_one([rows.get(line.PROD_CODE, unseen) for line in basket.lines])
    return _aggregates_of_one(basket) + affinities, known


def _aggregates_of_one(basket: Basket) -> list[float]:
    """Return AGGREGATES of one basket."""
    lines = basket.lines
    size = len(lines)
    units = spend = price_sum = 0.0
    prices = []
    for line in lines:
        quantity = line.QUANTITY
        paid = line.SPEND
        price = paid / quantity
        units += quantity
        spend += paid
        price_sum += price
        prices.append(price)
    price_mean = price_sum / size
    price_squares = 0.0
    for price in prices:
        price_squares += (price - price_mean) * (price - price_mean)
    prices.sort()
    middle = size // 2
    return [
        float(size),
        units,
        spend,
        price_mean,
        prices[middle] if size % 2 else (prices[middle - 1] + prices[middle]) / 2,
        prices[-1],
        prices[0],
        math.sqrt(price_squares / size),
        spend / units,
        spend / size,
        units / size,
        float(basket.SHOP_HOUR),
        float(basket.SHOP_WEEKDAY),
        _FORMAT.get(basket.STORE_FORMAT, _UNKNOWN),
        _REGION.get(basket.STORE_REGION, _UNKNOWN),
    ]


def _affinity_of_one(rows: list[tuple[float, ...]]) -> tuple[list[float], int]:
    """Return AFFINITY of one basket, and its number of known lines. rows: of ProductTable.rows, one for each line."""
    size = len(rows)
    low = medium = high = score_sum = low_mean = low_variance = high_mean = high_variance = known = 0.0
    scores = []
    for row in rows:
        score = row[3]
        low += row[0]
        medium += row[1]
        high += row[2]
        score_sum += score
        scores.append(score)
        low_mean += row[4]
        low_variance += row[5]
        high_mean += row[6]
        high_variance += row[7]
        known += row[8]
    score_mean = score_sum / size
    score_squares = 0.0
    for score in scores:
        score_squares += (score - score_mean) * (score - score_mean)
    counting = low + medium + high
    values = [
        low / size,
        medium / size,
        high / size,
        score_sum / (counting if counting > _COUNTING_FLOOR else _COUNTING_FLOOR),
        max(scores),
        min(scores),
        math.sqrt(score_squares / size),
        low_mean / math.sqrt(low_variance + _VARIANCE_FLOOR),
        high_mean / math.sqrt(high_variance + _VARIANCE_FLOOR),
        known / size,
    ]
    return values, int(known)


def compute_many(columns: BasketColumns, table: ProductTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the features [n, len(FEATURES)] float64 of many baskets, and their numbers of known lines [n] int64.

    columns: lines merged by product. `compute_one` is the same in plain Python.
    """
    known = _sums(columns, table.known[table.positions(columns.products)].astype(np.float64)[columns.product])
    return np.hstack([aggregates(columns), affinity(columns, table, known)]), known.astype(np.int64)


def aggregates(columns: BasketColumns) -> np.ndarray:
    """Return [n, len(AGGREGATES)] float64."""
    size = columns.sizes.astype(np.float64)
    starts = columns.offsets[:-1]
    price = columns.spend / columns.quantity
    units = _sums(columns, columns.quantity)
    spend = _sums(columns, columns.spend)
    ordered = price[np.lexsort((price, columns.basket))]
    middle = columns.sizes // 2
    upper = ordered[starts + middle]
    lower = ordered[starts + np.maximum(middle - 1, 0)]
    price_mean = _sums(columns, price) / size
    return np.stack(
        [
            size,
            units,
            spend,
            price_mean,
            np.where(columns.sizes % 2 == 1, upper, (lower + upper) / 2),
            ordered[columns.offsets[1:] - 1],
            ordered[starts],
            _deviation(columns, price, price_mean),
            spend / units,
            spend / size,
            units / size,
            columns.hour,
            columns.weekday,
            columns.store_format,
            columns.store_region,
        ],
        axis=1,
    )


def affinity(columns: BasketColumns, table: ProductTable, known: np.ndarray) -> np.ndarray:
    """Return [n, len(AFFINITY)] float64. known [n]: number of known lines."""
    size = columns.sizes.astype(np.float64)
    starts = columns.offsets[:-1]
    line = table.line_numbers[table.positions(columns.products)][columns.product]
    total = {name: _sums(columns, line[:, column]) for column, name in enumerate(LINE_COLUMNS)}
    score = np.ascontiguousarray(line[:, LINE_COLUMNS.index("score")])
    counting = total["low"] + total["medium"] + total["high"]
    return np.stack(
        [
            total["low"] / size,
            total["medium"] / size,
            total["high"] / size,
            total["score"] / np.maximum(counting, _COUNTING_FLOOR),
            np.maximum.reduceat(score, starts),
            np.minimum.reduceat(score, starts),
            _deviation(columns, score, total["score"] / size),
            total["low_mean"] / np.sqrt(total["low_variance"] + _VARIANCE_FLOOR),
            total["high_mean"] / np.sqrt(total["high_variance"] + _VARIANCE_FLOOR),
            known / size,
        ],
        axis=1,
    )


def _sums(columns: BasketColumns, values: np.ndarray) -> np.ndarray:
    """Return [n] the sum of values [lines] in each basket.

    bincount adds line after line, as the plain Python implementation does; add.reduceat adds in pairs.
    """
    return np.bincount(columns.basket, weights=values, minlength=len(columns))


def _deviation(columns: BasketColumns, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return [n] the population standard deviation of values [lines] in each basket around `mean` [n]."""
    deviation: np.ndarray = np.sqrt(_sums(columns, (values - mean[columns.basket]) ** 2) / columns.sizes)
    return deviation
