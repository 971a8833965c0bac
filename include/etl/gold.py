"""From silver lines to gold baskets: group the lines, hash a basket's content, choose its split."""

from hashlib import sha256
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from include.baskets.schema import LABEL_OF
from include.lake import SPLITS

_BUCKETS: Final = 10_000
_SPLIT_BOUNDS: Final = (7_000, 8_500)
"""Buckets below the first bound (70 %) are train, below the second (15 %) validation, the others test."""

_BASKET_COLUMNS: Final = (
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
_LINE_COLUMNS: Final = ("PROD_CODE", "QUANTITY", "SPEND_PENCE")
SILVER_COLUMNS: Final = ("BASKET_ID", *_BASKET_COLUMNS, *_LINE_COLUMNS)
"""The columns of silver from which baskets are made."""


def group(lines: pl.DataFrame) -> pl.DataFrame:
    """Return one row a basket with the columns of GOLD, in order of BASKET_ID.

    lines: SILVER_COLUMNS of whole baskets, in order of BASKET_ID, then PROD_CODE.
    """
    baskets = (
        lines.lazy()
        .with_columns(pl.col("BASKET_ID").set_sorted())
        .group_by("BASKET_ID", maintain_order=True)
        .agg(pl.col(_BASKET_COLUMNS).first(), pl.col(_LINE_COLUMNS))
        .collect()
    )
    return baskets.with_columns(
        pl.col("SHOP_WEEK").cast(pl.String),
        label=pl.col("BASKET_PRICE_SENSITIVITY").replace_strict(LABEL_OF, default=None, return_dtype=pl.String),
        fingerprint=_content_hashes(baskets, lines),
    ).drop("BASKET_PRICE_SENSITIVITY")


def _content_hashes(baskets: pl.DataFrame, lines: pl.DataFrame) -> pl.Series:
    """Return [baskets] 128 bits of SHA-256, in hexadecimal; the column is called `fingerprint` in gold.

    Hashes are equal for baskets of the same store, hour, products, quantities and spends. The public data repeat
    baskets under new ids and dates, so neither is part of the content, which is STORE_CODE|SHOP_HOUR| and, with
    semicolons between lines, PROD_CODE,QUANTITY,SPEND_PENCE.
    """
    prefixes = baskets.select(pl.format("{}|{}|", "STORE_CODE", "SHOP_HOUR")).to_series().to_list()
    formatted = lines.select(pl.format("{},{},{};", *_LINE_COLUMNS)).to_series()
    _, offsets, text = formatted.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    first_lines = np.concatenate([[0], baskets["PROD_CODE"].list.len().cum_sum().to_numpy()])
    bounds = np.frombuffer(offsets, np.int64)[first_lines].tolist()
    content = text.to_pybytes()
    return pl.Series(
        [
            sha256(prefix.encode() + content[begin : end - 1]).hexdigest()[:32]
            for prefix, (begin, end) in zip(prefixes, pairwise(bounds), strict=True)
        ],
        dtype=pl.String,
    )


def splits(baskets: pl.DataFrame, salt: str) -> pl.Series:
    """Return [n] the split of each basket, by a hash of its CUST_CODE, or of its content if it is anonymous.

    baskets: columns `CUST_CODE` and `fingerprint`. The bucket is the first 64 bits, big-endian, of
    SHA-256(salt + owner), modulo 10,000.
    """
    owners = baskets.select(pl.lit(salt) + pl.coalesce("CUST_CODE", "fingerprint")).to_series()
    hashes = np.frombuffer(b"".join([sha256(owner.encode()).digest() for owner in owners]), ">u8")[::4]
    return pl.Series(SPLITS).gather(np.searchsorted(_SPLIT_BOUNDS, hashes % _BUCKETS, side="right"))
