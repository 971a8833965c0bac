"""A basket's features: one basket in plain Python (serving), many in numpy (training, batches).

Both ways add in the same order, so they agree to the last bit: plain Python is the faster one for a single basket of
a few lines, numpy for more. Change one, change the other: a property test compares them.
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
"""Visible without knowing any product. price = SPEND / QUANTITY of a line, in pounds."""

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
"""From the product table: mean beliefs; expected mean class of the counting lines; extremes and spread of the lines'
scores; distance of the basket from each cut in standard deviations; share of lines whose product is known."""

FEATURES: Final = AGGREGATES + AFFINITY

_FORMAT = {name: float(position) for position, name in enumerate(STORE_FORMATS)}
_REGION = {name: float(position) for position, name in enumerate(STORE_REGIONS)}
_UNKNOWN_PLACE = -1.0
# Keeps the margins finite when every product of a basket is certain.
_VARIANCE_FLOOR = 1e-4
_COUNTING_FLOOR = 1e-9


@dataclass(frozen=True)
class BasketColumns:
    """Many baskets as columns. offsets [n + 1]: lines of basket i are offsets[i]:offsets[i + 1], at least one each;
    codes, quantity and spend (pounds) [lines]; weekday, hour, store_format, store_region [n], the latter two as
    positions in STORE_FORMATS and STORE_REGIONS, -1 if unknown. `products` [p] are the distinct product codes and
    `product` [lines] the positions in it."""

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
        """The baskets at positions `rows`, in that order; `products` stays whole."""
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
        """[n] lines of each basket."""
        return np.diff(self.offsets)

    @cached_property
    def basket(self) -> np.ndarray:
        """[lines] the basket of each line."""
        return np.repeat(np.arange(len(self)), self.sizes)


def store_format(name: str) -> float:
    return _FORMAT.get(name, _UNKNOWN_PLACE)


def store_region(name: str) -> float:
    return _REGION.get(name, _UNKNOWN_PLACE)


def columns_of(baskets: Sequence[Basket]) -> BasketColumns:
    """Baskets (lines merged by product, at least one each) as columns."""
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


def one(basket: Basket, table: ProductTable) -> tuple[list[float], int]:
    """Features of one basket (lines merged by product) in the order of FEATURES, and its number of known lines."""
    rows, unseen = table.rows, table.unseen_row
    lines = basket.lines
    size = len(lines)
    units = spend = price_sum = 0.0
    high = medium = low = score_sum = low_mean = low_variance = high_mean = high_variance = known = 0.0
    prices, scores = [], []
    for line in lines:
        quantity, paid = line.QUANTITY, line.SPEND
        price = paid / quantity
        units += quantity
        spend += paid
        price_sum += price
        prices.append(price)
        row = rows.get(line.PROD_CODE, unseen)
        low += row[0]
        medium += row[1]
        high += row[2]
        score = row[3]
        score_sum += score
        scores.append(score)
        low_mean += row[4]
        low_variance += row[5]
        high_mean += row[6]
        high_variance += row[7]
        known += row[8]
    price_mean, score_mean = price_sum / size, score_sum / size
    price_spread = score_spread = 0.0
    for price in prices:
        price_spread += (price - price_mean) * (price - price_mean)
    for score in scores:
        score_spread += (score - score_mean) * (score - score_mean)
    prices.sort()
    middle = size // 2
    median = prices[middle] if size % 2 else (prices[middle - 1] + prices[middle]) / 2
    counting = low + medium + high
    values = [
        float(size),
        units,
        spend,
        price_mean,
        median,
        prices[-1],
        prices[0],
        math.sqrt(price_spread / size),
        spend / units,
        spend / size,
        units / size,
        float(basket.SHOP_HOUR),
        float(basket.SHOP_WEEKDAY),
        _FORMAT.get(basket.STORE_FORMAT, _UNKNOWN_PLACE),
        _REGION.get(basket.STORE_REGION, _UNKNOWN_PLACE),
        low / size,
        medium / size,
        high / size,
        score_sum / (counting if counting > _COUNTING_FLOOR else _COUNTING_FLOOR),
        max(scores),
        min(scores),
        math.sqrt(score_spread / size),
        low_mean / math.sqrt(low_variance + _VARIANCE_FLOOR),
        high_mean / math.sqrt(high_variance + _VARIANCE_FLOOR),
        known / size,
    ]
    return values, int(known)


def many(columns: BasketColumns, table: ProductTable) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, len(FEATURES)] float64 of many baskets and their numbers of known lines [n] int64."""
    known = _sums(columns, table.known[table.positions(columns.products)].astype(np.float64)[columns.product])
    return np.hstack([aggregates(columns), affinity(columns, table, known)]), known.astype(np.int64)


def aggregates(columns: BasketColumns) -> np.ndarray:
    """[n, len(AGGREGATES)] float64."""
    size, starts = columns.sizes.astype(np.float64), columns.offsets[:-1]
    price = columns.spend / columns.quantity
    units, spend = _sums(columns, columns.quantity), _sums(columns, columns.spend)
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
            _spread(columns, price, price_mean),
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
    """[n, len(AFFINITY)] float64; known [n] is the number of known lines."""
    size, starts = columns.sizes.astype(np.float64), columns.offsets[:-1]
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
            _spread(columns, score, total["score"] / size),
            total["low_mean"] / np.sqrt(total["low_variance"] + _VARIANCE_FLOOR),
            total["high_mean"] / np.sqrt(total["high_variance"] + _VARIANCE_FLOOR),
            known / size,
        ],
        axis=1,
    )


def _sums(columns: BasketColumns, values: np.ndarray) -> np.ndarray:
    """[n] sum by basket. bincount adds line after line, as the plain Python way does (add.reduceat adds in pairs)."""
    return np.bincount(columns.basket, weights=values, minlength=len(columns))


def _spread(columns: BasketColumns, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """[n] population standard deviation by basket around `mean` [n]."""
    return np.sqrt(_sums(columns, (values - mean[columns.basket]) ** 2) / columns.sizes)
