"""The retailer's calendar and what is sold in one of its weeks."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from include.etl.columns import RAW, SEGMENT_CODES, SEGMENTS
from local.data import catalogue, customers
from local.data.catalogue import LA, MM, NON_FOOD, UM, UNCLASSIFIED, XX, Catalogue
from local.data.customers import Customers

BASKETS_A_WEEK: Final = 4_200
CUSTOMERS: Final = 5_000
LINES_A_BASKET: Final = 6.4
CUTS: Final = (-0.1827, 0.2266)
"""Where the mean class of a basket's lines becomes Up Market or Less Affluent."""

_FIRST_MONDAYS: Final = {2006: date(2006, 2, 27), 2007: date(2007, 2, 26), 2008: date(2008, 2, 25)}
_ANONYMOUS: Final = 0.205
_SIZES: Final = (  # from, to, share of baskets
    (1, 1, 0.193), (2, 2, 0.157), (3, 3, 0.117), (4, 4, 0.085), (5, 5, 0.066), (6, 7, 0.095), (8, 10, 0.091),
    (11, 15, 0.093), (16, 20, 0.053), (21, 30, 0.041), (31, 45, 0.009),
)  # fmt: skip
_QUANTITIES: Final = {1: 0.823, 3: 0.134, 4: 0.019, 6: 0.0074, 5: 0.0043, 7: 0.002, 8: 0.0018, 9: 0.0014, 12: 0.002}
_HOURS: Final = np.array([6.1, 4.2, 5.7, 7.3, 8.0, 8.9, 9.6, 8.6, 8.2, 7.5, 6.8, 5.8, 4.9, 9.4])
"""Of 8 to 21 o'clock."""
_UNCLASSIFIED_BASKETS: Final = {1: 0.089, 2: 0.006}
"""Share of baskets of so many lines that hold XX products only."""
_MISSIONS: Final = ("Fresh", "Mixed", "Grocery", "Nonfood", "XX")
_MISSION_SHARES: Final = np.array([0.523, 0.247, 0.195, 0.035])
_DEPARTMENTS_OF_MISSION: Final = np.array(
    [
        [0.112, 0.629, 0.189, 0.002, 0.060, 0.001, 0.0, 0.006, 0.001],
        [0.074, 0.409, 0.358, 0.006, 0.132, 0.001, 0.0, 0.018, 0.002],
        [0.050, 0.190, 0.602, 0.003, 0.055, 0.003, 0.0, 0.071, 0.026],
        [0.029, 0.095, 0.084, 0.090, 0.688, 0.007, 0.001, 0.006, 0.0],
    ]
)
_LEANING: Final = np.array(
    [
        [0.9, 0.95, 1.25],
        [0.85, 0.95, 1.4],
        [1.3, 1.1, 0.5],
        [1.0, 1.0, 1.0],
        [0.8, 1.1, 0.9],
        [1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
        [1.2, 1.1, 0.5],
        [1.0, 1.0, 1.0],
    ]
)
"""By department: how much more of LA, MM, UM is bought there than a customer's taste says."""
_UNCLASSIFIED_IN_NON_FOOD: Final = 0.16
_ALONE_IS_MEDIUM: Final = 0.4
"""A single product is often an everyday one: so many single-line baskets take an MM product whatever the taste."""
_AT_HOME: Final = 0.8
_CLONED: Final = 0.96
_FULL_SHOP_GROUPS: Final = 8
_FULL_SHOP_LINES: Final = 14
_SMALL_SHOP_LINES: Final = 4


@dataclass(frozen=True)
class Retailer:
    """Everything that stays the same from week to week."""

    seed: int
    baskets: int
    products: Catalogue
    customers: Customers


@dataclass(frozen=True)
class Sales:
    """n baskets and their lines. customer [n] (-1: anonymous); store, hour, mission [n]; basket, product, quantity
    [lines]: position of the basket, ascending; number of the product."""

    customer: np.ndarray
    store: np.ndarray
    hour: np.ndarray
    mission: np.ndarray
    basket: np.ndarray
    product: np.ndarray
    quantity: np.ndarray


def retailer(seed: int, scale: float = 1.0) -> Retailer:
    """Draw the products and customers. scale: how many times the size of the public sample."""
    generator = np.random.default_rng([seed, 0])
    products = catalogue.make(generator)
    return Retailer(
        seed, round(BASKETS_A_WEEK * scale), products, customers.make(round(CUSTOMERS * max(scale, 1.0)), generator)
    )


def monday(week: str) -> date:
    """Return the first day of a shop week, 200601 to 200852."""
    year, number = int(week[:4]), int(week[4:])
    if year not in _FIRST_MONDAYS or not 1 <= number <= 52:
        raise ValueError(f"{week} is not a week of the calendar: 200601 to 200852")
    return _FIRST_MONDAYS[year] + timedelta(weeks=number - 1)


def following(first: str, count: int) -> list[str]:
    """Return `count` shop weeks from `first` on. Raise ValueError when the calendar ends before."""
    monday(first)
    start = (int(first[:4]) - 2006) * 52 + int(first[4:]) - 1
    weeks = [f"{2006 + place // 52}{place % 52 + 1:02d}" for place in range(start, start + count)]
    monday(weeks[-1])
    return weeks


def sales(of: Retailer, week: str) -> Sales:
    """Draw a week's baskets: the same for the same seed and week, whatever else is drawn."""
    generator = np.random.default_rng([of.seed, int(week)])
    count, people = of.baskets, of.customers
    customer = generator.choice(len(people.activity), count, p=people.activity)
    customer[generator.random(count) < _ANONYMOUS] = -1
    named = customer >= 0
    elsewhere = generator.choice(len(people.store_weight), count, p=people.store_weight)
    at_home = named & (generator.random(count) < _AT_HOME)
    lines = _sizes(count, generator)
    taste = np.where(named[:, None], people.taste[customer], customers.anonymous_tastes(count, generator))
    taste[(lines == 1) & (generator.random(count) < _ALONE_IS_MEDIUM)] = np.eye(3)[MM]
    mission = generator.choice(len(_MISSION_SHARES), count, p=_MISSION_SHARES)
    odd = np.zeros(count, dtype=bool)
    for size, share in _UNCLASSIFIED_BASKETS.items():
        odd |= (lines == size) & (generator.random(count) < share)
    basket = np.repeat(np.arange(count), lines)
    product = np.full(len(basket), -1)
    todo = np.arange(len(basket))
    for _ in range(12):  # a product is in a basket once: draw again what was drawn twice
        product[todo] = _products(of.products, basket[todo], taste, mission, odd, generator)
        order = np.lexsort((product, basket))
        twice = (np.diff(basket[order]) == 0) & (np.diff(product[order]) == 0)
        todo = order[1:][twice]
        if not len(todo):
            break
    keep = np.ones(len(basket), dtype=bool)
    keep[todo] = False
    basket, product = basket[keep], product[keep]
    shares = np.array(list(_QUANTITIES.values()))
    return Sales(
        customer=customer,
        store=np.where(at_home, people.home[customer], elsewhere),
        hour=8 + generator.choice(len(_HOURS), count, p=_HOURS / _HOURS.sum()),
        mission=_dominant(of.products, basket, product, mission, odd),
        basket=basket,
        product=product,
        quantity=generator.choice(list(_QUANTITIES), len(basket), p=shares / shares.sum()),
    )


def with_clones(copied: Sales, fresh: Sales, seed: list[int]) -> Sales:
    """Return copies of named customers' baskets of an earlier week, and some of `fresh`: as the public data end."""
    generator = np.random.default_rng(seed)
    chosen = np.flatnonzero((copied.customer >= 0) & (generator.random(len(copied.customer)) < _CLONED))
    rest = generator.permutation(len(fresh.customer))[: max(0, len(fresh.customer) - len(chosen))]
    first, second = _take(copied, chosen), _take(fresh, np.sort(rest))
    return Sales(
        basket=np.concatenate([first.basket, second.basket + len(chosen)]),
        **{
            name: np.concatenate([getattr(first, name), getattr(second, name)])
            for name in ("customer", "store", "hour", "mission", "product", "quantity")
        },
    )


def frame(of: Retailer, week: str, sold: Sales) -> pl.DataFrame:
    """Return the week's rows as published: the 22 columns, blanks null, baskets mixed, labelled by the rule."""
    generator = np.random.default_rng([of.seed, int(week), 1])
    baskets = _basket_columns(of, week, sold, generator)
    rows = pl.concat([_line_columns(of.products, sold), baskets[sold.basket]], how="horizontal").select(*RAW)
    return rows[generator.permutation(len(sold.basket))]


def _basket_columns(of: Retailer, week: str, sold: Sales, generator: np.random.Generator) -> pl.DataFrame:
    """Return the columns that all lines of a basket share, a row per basket."""
    goods, people = of.products, of.customers
    count = len(sold.customer)
    day = generator.integers(7, size=count)
    dates = np.array([int(f"{monday(week) + timedelta(days=place):%Y%m%d}") for place in range(7)])
    units = np.bincount(sold.basket, weights=sold.quantity, minlength=count)
    named = sold.customer >= 0
    regions = [f"{area}{number:02d}" for area in "ENSW" for number in (1, 2, 3)]
    first_id = 994_100_100_000_000 + (monday(week) - monday("200601")).days // 7 * max(of.baskets, 10_000)
    return pl.DataFrame(
        {
            "SHOP_WEEK": np.full(count, int(week)),
            "SHOP_DATE": dates[day],
            "SHOP_WEEKDAY": (day + 1) % 7 + 1,
            "SHOP_HOUR": sold.hour,
            "CUST_CODE": _coded("CUST", 10, sold.customer + 1, named),
            "CUST_PRICE_SENSITIVITY": _named(customers.SEGMENTS, np.where(named, people.segment[sold.customer], -1)),
            "CUST_LIFESTAGE": _named(customers.LIFESTAGES, np.where(named, people.lifestage[sold.customer], -1)),
            "BASKET_ID": first_id + 1 + generator.permutation(count),
            "BASKET_SIZE": np.where(units <= 2, "S", np.where(units <= 9, "M", "L")),
            "BASKET_PRICE_SENSITIVITY": _labels(goods, sold.basket, sold.product, count),
            "BASKET_TYPE": _types(goods, sold.basket, sold.product, sold.mission),
            "BASKET_DOMINANT_MISSION": _named(_MISSIONS, sold.mission),
            "STORE_CODE": _coded("STORE", 5, sold.store + 1),
            "STORE_FORMAT": _named(customers.STORE_FORMATS, people.store_format[sold.store]),
            "STORE_REGION": _named(regions, people.store_region[sold.store]),
        }
    )


def _line_columns(goods: Catalogue, sold: Sales) -> pl.DataFrame:
    """Return the columns of the lines."""
    return pl.DataFrame(
        {
            "QUANTITY": sold.quantity,
            "SPEND": sold.quantity * goods.pence[sold.product] / 100,
            "PROD_CODE": _coded("PRD09", 5, sold.product + 1),
            "PROD_CODE_10": _coded("CL", 5, goods.levels[0][sold.product] + 1),
            "PROD_CODE_20": _coded("DEP", 5, goods.levels[1][sold.product] + 1),
            "PROD_CODE_30": _coded("G", 5, goods.levels[2][sold.product] + 1),
            "PROD_CODE_40": _coded("D", 5, goods.levels[3][sold.product] + 1),
        }
    )


def as_seg(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the same rows under the header seg_1, seg_2, with its codes."""
    back = {name: {value: code for code, value in codes.items()} for name, codes in SEGMENT_CODES.items()}
    recoded = rows.with_columns(pl.col(name).replace(codes) for name, codes in back.items())
    return recoded.rename({name: alias for alias, name in SEGMENTS.items()})


def _sizes(count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw how many lines each basket has."""
    shares = np.array([share for _, _, share in _SIZES])
    low, high = (np.array([size[end] for size in _SIZES]) for end in (0, 1))
    chosen = generator.choice(len(_SIZES), count, p=shares / shares.sum())
    place = generator.random(count) ** 1.25  # smaller sizes of a range are the more frequent ones
    sizes: np.ndarray = low[chosen] + (place * (high - low + 1)[chosen]).astype(np.int64)
    return sizes


def _products(
    goods: Catalogue,
    basket: np.ndarray,
    taste: np.ndarray,
    mission: np.ndarray,
    odd: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw one product per line: the department by the basket's mission, the class by the customer's taste."""
    is_odd = odd[basket]
    shares = _DEPARTMENTS_OF_MISSION.cumsum(axis=1)
    department = (generator.random(len(basket))[:, None] > (shares / shares[:, -1:])[mission[basket]]).sum(axis=1)
    odd_departments = np.array([*UNCLASSIFIED, NON_FOOD])
    department[is_odd] = generator.choice(odd_departments, int(is_odd.sum()), p=[0.2, 0.35, 0.02, 0.43])
    wish = (taste[basket] * _LEANING[department]).cumsum(axis=1)
    tag = np.minimum((generator.random(len(basket))[:, None] * wish[:, -1:] > wish).sum(axis=1), UM)
    without_class = (department == NON_FOOD) & (generator.random(len(basket)) < _UNCLASSIFIED_IN_NON_FOOD)
    tag[is_odd | without_class | np.isin(department, UNCLASSIFIED)] = XX
    empty = goods.cell_start[tag, department] == goods.cell_end[tag, department]
    tag[empty] = MM
    return goods.draw(tag, department, generator)


def _dominant(
    goods: Catalogue, basket: np.ndarray, product: np.ndarray, mission: np.ndarray, odd: np.ndarray
) -> np.ndarray:
    """Return the mission as published: baskets of XX products only are Nonfood, or XX when none of them is known."""
    known = np.bincount(basket, weights=goods.levels[3][product] == NON_FOOD, minlength=len(mission)) > 0
    return np.where(odd, np.where(known, 3, 4), mission)


def _labels(goods: Catalogue, basket: np.ndarray, product: np.ndarray, count: int) -> np.ndarray:
    """Return LA, MM, UM by the mean class of the lines; XX without a line that counts."""
    tag = goods.tag[product]
    counted = np.bincount(basket, weights=tag != XX, minlength=count)
    less, up = (np.bincount(basket, weights=tag == which, minlength=count) for which in (LA, UM))
    mean = (less - up) / np.maximum(counted, 1)
    labels = np.where(mean > CUTS[1], "LA", np.where(mean < CUTS[0], "UM", "MM"))
    return np.where(counted == 0, "XX", labels)


def _types(goods: Catalogue, basket: np.ndarray, product: np.ndarray, mission: np.ndarray) -> np.ndarray:
    """Return the basket type by the number of lines and product groups."""
    lines = np.bincount(basket, minlength=len(mission))
    group = goods.levels[2]
    pairs = np.unique(basket * (group.max() + 1) + group[product]) // (group.max() + 1)
    groups = np.bincount(pairs, minlength=len(mission))
    full = (groups >= _FULL_SHOP_GROUPS) & (lines >= _FULL_SHOP_LINES)
    kind = np.where(lines <= _SMALL_SHOP_LINES, "Small Shop", np.where(full, "Full Shop", "Top Up"))
    return np.where(mission == _MISSIONS.index("XX"), "XX", kind)


def _take(sold: Sales, chosen: np.ndarray) -> Sales:
    """Return the chosen baskets, with their lines."""
    place = np.full(len(sold.customer), -1)
    place[chosen] = np.arange(len(chosen))
    lines = place[sold.basket] >= 0
    return Sales(
        sold.customer[chosen],
        sold.store[chosen],
        sold.hour[chosen],
        sold.mission[chosen],
        place[sold.basket[lines]],
        sold.product[lines],
        sold.quantity[lines],
    )


def _coded(prefix: str, digits: int, number: np.ndarray, known: np.ndarray | None = None) -> pl.Series:
    """Return codes like CUST0000000001; null where not known."""
    text = pl.Series(number).cast(pl.String).str.zfill(digits)
    codes = pl.select(pl.lit(prefix) + text).to_series()
    return codes if known is None else pl.select(pl.when(pl.Series(known)).then(codes)).to_series()


def _named(names: tuple[str, ...] | list[str], number: np.ndarray) -> pl.Series:
    """Return names by position; null for -1."""
    values = np.array([*names, None], dtype=object)
    return pl.Series(values[number].tolist(), dtype=pl.String)
