"""A basket in training and serving: types, limits, labels.

The limits are those of the public API; `msgspec` enforces them when JSON is decoded into these types.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

LABELS: Final = ("Low", "Medium", "High")
"""The three classes of price sensitivity, in the order of every probability row."""

UNCLASSIFIED: Final = "Unclassified"
"""The answer for a basket without a known product. It is not a class of the model."""

UNCLASSIFIED_CODE: Final = len(LABELS)
"""Stands for Unclassified in arrays that hold labels or predictions as positions in LABELS."""

LABEL_OF: Final = {"LA": "High", "MM": "Medium", "UM": "Low"}
"""BASKET_PRICE_SENSITIVITY -> label. LA means *less affluent* shoppers, so the most price-sensitive baskets."""

STORE_FORMATS: Final = ("SS", "MS", "LS", "XLS")
"""Small to extra large. The position is the value of the feature."""

STORE_REGIONS: Final = tuple(f"{area}{number:02d}" for area in "ENSW" for number in (1, 2, 3))
"""The regions of the training data. Any other region of the same form counts as unknown (-1)."""

MAX_LINES: Final = 500
MAX_QUANTITY: Final = 1_000_000
MAX_SPEND: Final = 1_000_000

# `$` also matches before a final newline: the length bound closes that gap.
Region = Annotated[str, Meta(pattern="^[A-Z][0-9]{2}$", min_length=3, max_length=3)]


class Line(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One product of a basket. SPEND: price of the whole line, in pounds."""

    PROD_CODE: Annotated[str, Meta(min_length=1, max_length=32)]
    QUANTITY: Annotated[int, Meta(ge=1, le=MAX_QUANTITY)]
    SPEND: Annotated[float, Meta(ge=0, le=MAX_SPEND)]


class Basket(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One shopping basket. SHOP_WEEKDAY counts from 1 = Sunday to 7 = Saturday, as the retailer does."""

    SHOP_WEEKDAY: Annotated[int, Meta(ge=1, le=7)]
    SHOP_HOUR: Annotated[int, Meta(ge=0, le=23)]
    STORE_FORMAT: Literal["LS", "MS", "SS", "XLS"]
    STORE_REGION: Region
    lines: Annotated[list[Line], Meta(min_length=1, max_length=MAX_LINES)]


def merge_lines(lines: list[Line]) -> list[Line]:
    """Add up lines of the same product, so that there is one line for each product, as in the training data.

    Returns the list itself when no product repeats (the usual case), else products in order of first appearance.
    """
    if len({line.PROD_CODE for line in lines}) == len(lines):
        return lines
    products = dict.fromkeys(line.PROD_CODE for line in lines)
    quantity = dict.fromkeys(products, 0)
    spend = dict.fromkeys(products, 0.0)
    for line in lines:
        quantity[line.PROD_CODE] += line.QUANTITY
        spend[line.PROD_CODE] += line.SPEND
    return [Line(code, quantity[code], spend[code]) for code in products]
