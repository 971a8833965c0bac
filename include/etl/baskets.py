"""From lines to baskets: grouping, the fingerprint of a basket's content, the split that it belongs to."""

from hashlib import sha256
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from include.baskets.schema import LABEL_OF
from include.lake import SPLITS

_BUCKETS: Final = 10_000
_SPLIT_ENDS: Final = (7_000, 8_500)
"""Of the buckets 70 % are train, 15 % validation, the others test."""

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
LINE: Final = ("BASKET_ID", *_OF_BASKET, *_OF_LINE)
"""The columns of silver that become baskets."""


def group(lines: pl.DataFrame) -> pl.DataFrame:
    """Baskets with the columns of GOLD, in order of BASKET_ID.

    lines: the columns LINE of whole baskets, in order of BASKET_ID, then PROD_CODE.
    """
    baskets = (
        lines.lazy()
        .with_columns(pl.col("BASKET_ID").set_sorted())
        .group_by("BASKET_ID", maintain_order=True)
        .agg(pl.col(_OF_BASKET).first(), pl.col(_OF_LINE))
        .collect()
    )
    return baskets.with_columns(
        pl.col("SHOP_WEEK").cast(pl.String),
        label=pl.col("BASKET_PRICE_SENSITIVITY").replace_strict(LABEL_OF, default=None, return_dtype=pl.String),
        fingerprint=_fingerprints(baskets, lines),
    ).drop("BASKET_PRICE_SENSITIVITY")


def _fingerprints(baskets: pl.DataFrame, lines: pl.DataFrame) -> pl.Series:
    """128 bits of SHA-256, in hexadecimal: equal for baskets of the same store, hour, products, quantities, spends.

    The public data repeat baskets under new ids and dates; so neither is part of the content, which is
    STORE_CODE|SHOP_HOUR| and, with semicolons between lines, PROD_CODE,QUANTITY,SPEND_PENCE.
    """
    places = baskets.select(pl.format("{}|{}|", "STORE_CODE", "SHOP_HOUR")).to_series().to_list()
    told = lines.select(pl.format("{},{},{};", *_OF_LINE)).to_series().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, text = told.buffers()
    first_lines = np.concatenate([[0], baskets["PROD_CODE"].list.len().cum_sum().to_numpy()])
    bounds = np.frombuffer(offsets, np.int64)[first_lines].tolist()
    content = text.to_pybytes()
    return pl.Series(
        [
            sha256(place.encode() + content[begin : end - 1]).hexdigest()[:32]
            for place, (begin, end) in zip(places, pairwise(bounds), strict=True)
        ],
        dtype=pl.String,
    )


def splits(baskets: pl.DataFrame, salt: str) -> pl.Series:
    """The split of each basket, by a hash of CUST_CODE, or of the fingerprint of an anonymous basket."""
    owners = baskets.select(pl.lit(salt) + pl.coalesce("CUST_CODE", "fingerprint")).to_series()
    hashes = np.frombuffer(b"".join([sha256(owner.encode()).digest() for owner in owners]), ">u8")[::4]
    return pl.Series(SPLITS).gather(np.searchsorted(_SPLIT_ENDS, hashes % _BUCKETS, side="right"))
