"""The columns of a weekly file, of silver and of gold; everything that is spelled by column name starts here."""

from typing import Final

import polars as pl
import pyarrow as pa

SEGMENTS: Final = {"seg_1": "CUST_PRICE_SENSITIVITY", "seg_2": "CUST_LIFESTAGE"}
"""The two columns that have another name in the other variant of the header."""

SEGMENT_CODES: Final = {
    "CUST_PRICE_SENSITIVITY": {"AZ": "LA", "CT": "MM", "BG": "UM", "DY": "XX"},
    "CUST_LIFESTAGE": {"AT": "YA", "BU": "OT", "CZ": "OA", "DI": "YF", "EQ": "OF", "FN": "PE"},
}
"""How the variant seg_1, seg_2 writes the values of the other; silver holds the other's."""

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
"""The 22 columns in their order, as they are parsed. SPEND becomes SPEND_PENCE, so that sums are exact."""

HEADERS: Final = {
    "CUST_PRICE_SENSITIVITY,CUST_LIFESTAGE": tuple(RAW),
    "seg_1,seg_2": tuple({name: alias for alias, name in SEGMENTS.items()}.get(name, name) for name in RAW),
}

LINE: Final = ("QUANTITY", "SPEND", "PROD_CODE", "PROD_CODE_10", "PROD_CODE_20", "PROD_CODE_30", "PROD_CODE_40")
BASKET: Final = tuple(name for name in RAW if name not in LINE and name != "BASKET_ID")
"""Columns that have one value in a basket."""

_ARROW: Final = {
    pl.Int8: pa.int8(),
    pl.Int32: pa.int32(),
    pl.Int64: pa.int64(),
    pl.String: pa.string(),
}

SILVER: Final = pa.schema(
    [("SPEND_PENCE", pa.int64()) if name == "SPEND" else (name, _ARROW[kind]) for name, kind in RAW.items()]
)
"""One row a line, in order of BASKET_ID, then PROD_CODE; a basket never spans two row groups."""

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
"""One row a basket, in order of BASKET_ID; lists in order of PROD_CODE. label: Low, Medium, High, or null for
Unclassified. CUST_CODE: null for anonymous baskets. fingerprint: see baskets.py."""

PRODUCTS: Final = pa.schema([(name, pa.string()) for name in LINE if name.startswith("PROD_CODE")])
