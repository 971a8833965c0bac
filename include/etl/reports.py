"""The JSON documents that the ETL jobs write beside their tables."""

from typing import TypedDict


class QualityReport(TypedDict):
    """`silver/shop_week=YYYYWW/_quality.json`: what the cleaning job read, kept and rejected.

    inputs, outputs: lake key -> SHA-256. rows = accepted + rejected, counted in the raw file. rules: rejected rows by
    the first rule that they break. baskets, labels: baskets in silver, in all and by label.
    """

    shop_week: str
    code_version: str
    header: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    rows: int
    accepted: int
    rejected: int
    rules: dict[str, int]
    baskets: int
    labels: dict[str, int]


class GoldManifest(TypedDict):
    """`gold/_manifest/YYYYWW.json`: the files of a gold week. Readers open only what a manifest names.

    inputs, outputs: lake key -> SHA-256. rows: lines in silver. baskets: in all splits. counts: split -> label ->
    baskets.
    """

    shop_week: str
    code_version: str
    split_salt: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    rows: int
    baskets: int
    counts: dict[str, dict[str, int]]
