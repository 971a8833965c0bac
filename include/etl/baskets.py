"""From lines to baskets: grouping, the fingerprint of a basket's content, the split that it belongs to."""

import hashlib
from typing import Final

import polars as pl

from include.baskets.schema import LABEL_OF

_BUCKETS: Final = 10_000
_BOUNDS: Final = {"train": 7_000, "validation": 8_500, "test": _BUCKETS}
"""Buckets below the bound that are not below an earlier one: 70, 15 and 15 %."""

_OF_BASKET: Final = (
    "SHOP_WEEK",
    "SHOP_DATE",
    "SHOP_WEEKDAY",
    "SHOP_HOUR",
    "STORE_CODE",
    "STORE_FORMAT",
    "STORE_REGION",
    "CUST_CODE",
    "BASKET_PRICE_SENSITIVITY",
)
_OF_LINE: Final = ("PROD_CODE", "QUANTITY", "SPEND_PENCE")


def group(lines: pl.DataFrame) -> pl.DataFrame:
    """Baskets with the columns of GOLD, in order of BASKET_ID.

    lines: silver rows of whole baskets, in order of BASKET_ID, then PROD_CODE.
    """
    content = pl.concat_str(_OF_LINE, separator=",")
    baskets = (
        lines.lazy()
        .with_columns(content=content)
        .group_by("BASKET_ID", maintain_order=True)
        .agg(pl.col(_OF_BASKET).first(), pl.col(_OF_LINE), pl.col("content").str.join(";"))
        .collect()
    )
    told = baskets.select(pl.concat_str("STORE_CODE", "SHOP_HOUR", "content", separator="|")).to_series()
    return baskets.with_columns(
        pl.col("SHOP_WEEK").cast(pl.String),
        label=pl.col("BASKET_PRICE_SENSITIVITY").replace_strict(LABEL_OF, default=None, return_dtype=pl.String),
        fingerprint=pl.Series([fingerprint(text) for text in told.to_list()], dtype=pl.String),
    ).drop("content", "BASKET_PRICE_SENSITIVITY")


def fingerprint(content: str) -> str:
    """128 bits of SHA-256, in hexadecimal: equal for baskets of the same store, hour, products, quantities, spends.

    The public data repeat baskets under new ids and dates; so neither is part of the content.
    """
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def split_of(owner: str, salt: str) -> str:
    """train, validation or test; owner: CUST_CODE, or the fingerprint of an anonymous basket."""
    bucket = int.from_bytes(hashlib.sha256((salt + owner).encode()).digest()[:8]) % _BUCKETS
    return next(split for split, bound in _BOUNDS.items() if bucket < bound)


def splits(baskets: pl.DataFrame, salt: str) -> pl.Series:
    """The split of each basket."""
    owners = baskets.select(pl.coalesce("CUST_CODE", "fingerprint")).to_series()
    return pl.Series([split_of(owner, salt) for owner in owners.to_list()], dtype=pl.String)
