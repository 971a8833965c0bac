"""The columns of a weekly file, of silver and of gold: names, order and types, defined here and nowhere else."""

from typing import Final

import polars as pl
import pyarrow as pa

SEGMENTS: Final = {"seg_1": "CUST_PRICE_SENSITIVITY", "seg_2": "CUST_LIFESTAGE"}
"""The two columns whose name depends on the variant of the header: other name -> name in RAW."""

SEGMENT_CODES: Final = {
    "CUST_PRICE_SENSITIVITY": {"AZ": "LA", "CT": "MM", "BG": "UM", "DY": "XX"},
    "CUST_LIFESTAGE": {"AT": "YA", "BU": "OT", "CZ": "OA", "DI": "YF", "EQ": "OF", "FN": "PE"},
}
"""The codes of the variant seg_1, seg_2 -> the codes of the other variant. Silver holds the latter."""

RAW: Final = {
    "SHOP_WEEK": pl.Int32,
    "SHOP_DATE": pl.Int32,
    "SHOP_WEEKDAY": pl.Int8,
    "SHOP_HOUR": pl.Int8,
    "QUANTITY": pl.Int32,
    "SPEND": pl.Float64,
    "PROD_CODE": pl.String,
    "PROD_CODE_10": pl.String,
    "PROD_CODE_20": pl.String,
    "PROD_CODE_30": pl.String,
    "PROD_CODE_40": pl.String,
    "CUST_CODE": pl.String,
    "CUST_PRICE_SENSITIVITY": pl.String,
    "CUST_LIFESTAGE": pl.String,
    "BASKET_ID": pl.Int64,
    "BASKET_SIZE": pl.String,
    "BASKET_PRICE_SENSITIVITY": pl.String,
    "BASKET_TYPE": pl.String,
    "BASKET_DOMINANT_MISSION": pl.String,
    "STORE_CODE": pl.String,
    "STORE_FORMAT": pl.String,
    "STORE_REGION": pl.String,
}
"""The 22 columns of a weekly file in their order, with the types as which they are parsed. SPEND is in pounds; silver
holds SPEND_PENCE instead, so that sums are exact."""

HEADERS: Final = {
    "CUST_PRICE_SENSITIVITY,CUST_LIFESTAGE": tuple(RAW),
    "seg_1,seg_2": tuple({name: alias for alias, name in SEGMENTS.items()}.get(name, name) for name in RAW),
}

LINE: Final = ("QUANTITY", "SPEND", "PROD_CODE", "PROD_CODE_10", "PROD_CODE_20", "PROD_CODE_30", "PROD_CODE_40")
BASKET: Final = tuple(name for name in RAW if name not in LINE and name != "BASKET_ID")
"""The columns that have the same value in all lines of a basket."""

_ARROW: Final = {
    pl.Int8: pa.int8(),
    pl.Int32: pa.int32(),
    pl.Int64: pa.int64(),
    pl.String: pa.string(),
}

SILVER: Final = pa.schema(
    [("SPEND_PENCE", pa.int64()) if name == "SPEND" else (name, _ARROW[kind]) for name, kind in RAW.items()]
)
"""One row for each line, in order of BASKET_ID, then PROD_CODE. A basket never spans two row groups."""

GOLD: Final = pa.schema(
    [
        ("BASKET_ID", pa.int64()),
        ("SHOP_WEEK", pa.string()),
        ("SHOP_DATE", pa.int32()),
        ("SHOP_WEEKDAY", pa.int8()),
        ("SHOP_HOUR", pa.int8()),
        ("STORE_CODE", pa.string()),
        ("STORE_FORMAT", pa.string()),
        ("STORE_REGION", pa.string()),
        ("CUST_CODE", pa.string()),
        ("label", pa.string()),
        ("fingerprint", pa.string()),
        ("PROD_CODE", pa.list_(pa.string())),
        ("QUANTITY", pa.list_(pa.int32())),
        ("SPEND_PENCE", pa.list_(pa.int64())),
    ]
)
"""One row for each basket, in order of BASKET_ID; lists in order of PROD_CODE. label: Low, Medium, High, or null for
Unclassified. CUST_CODE: null for anonymous baskets. fingerprint: the hash of the basket's content, see gold.py."""

PRODUCTS: Final = pa.schema([(name, pa.string()) for name in LINE if name.startswith("PROD_CODE")])
