"""Reads gold splits as the trainer needs them, after holding every file against its week's manifest."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import lake
from include.baskets import features
from include.baskets.features import BasketColumns
from include.baskets.schema import LABELS, STORE_FORMATS, UNCLASSIFIED, UNCLASSIFIED_CODE
from include.train.errors import GoldError

FINGERPRINT_LINES: Final = 5
"""Baskets of at least so many lines with equal content are copies of each other; smaller ones may be chance."""

_COLUMNS: Final = [
    "BASKET_ID",
    "SHOP_WEEK",
    "SHOP_WEEKDAY",
    "SHOP_HOUR",
    "STORE_FORMAT",
    "STORE_REGION",
    "CUST_CODE",
    "label",
    "fingerprint",
    "PROD_CODE",
    "QUANTITY",
    "SPEND_PENCE",
]


@dataclass(frozen=True)
class Baskets:
    """The baskets of a split. label [n]: position in LABELS or UNCLASSIFIED_CODE; week, fingerprint and region
    (STORE_REGION) [n] strings; customer [n] strings, None for anonymous baskets."""

    columns: BasketColumns
    label: np.ndarray
    week: np.ndarray
    customer: np.ndarray
    fingerprint: np.ndarray
    region: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def labelled(self) -> np.ndarray:
        """[n] bool: Low, Medium or High."""
        return self.label != UNCLASSIFIED_CODE

    def take(self, rows: np.ndarray) -> "Baskets":
        """The baskets at positions `rows`, or where a boolean `rows` holds."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Baskets(
            self.columns.take(positions),
            self.label[positions],
            self.week[positions],
            self.customer[positions],
            self.fingerprint[positions],
            self.region[positions],
        )

    def counts(self) -> dict[str, int]:
        """Baskets by label."""
        number = np.bincount(self.label, minlength=len(LABELS) + 1)
        return {name: int(number[code]) for code, name in enumerate((*LABELS, UNCLASSIFIED))}

    def folds(self, count: int) -> np.ndarray:
        """[n] fold of each basket: by customer (anonymous: by content), so that a customer is in one fold."""
        owners = [customer or content for customer, content in zip(self.customer, self.fingerprint, strict=True)]
        fold_of = {owner: int(hashlib.sha256(owner.encode()).hexdigest()[:8], 16) % count for owner in set(owners)}
        return np.array([fold_of[owner] for owner in owners], dtype=np.int64)

    @property
    def is_large(self) -> np.ndarray:
        """[n] bool: at least FINGERPRINT_LINES lines."""
        return self.columns.sizes >= FINGERPRINT_LINES

    def large_fingerprints(self) -> np.ndarray:
        """Fingerprints of the large baskets."""
        return self.fingerprint[self.is_large]


@dataclass(frozen=True)
class Manifests:
    """What the ETL says it wrote: outputs {lake key: sha256}, weeks in order, digest over all manifests."""

    weeks: tuple[str, ...]
    outputs: Mapping[str, str]
    digest: str


@dataclass(frozen=True)
class Leaks:
    """What two splits must not share; clones are copies inside one split, which do no harm and are counted."""

    customers: int
    fingerprints: int
    clones: int


def read_manifests(folder: Path) -> Manifests:
    """All manifests below a folder; GoldError when there is none or one is not a manifest."""
    found: dict[str, bytes] = {}
    outputs: dict[str, str] = {}
    for path in sorted(folder.rglob("*.json")):
        data = path.read_bytes()
        try:
            manifest = json.loads(data)
            week = lake.shop_week(manifest["shop_week"])
            outputs |= {str(key): str(digest) for key, digest in manifest["outputs"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GoldError(
                f"{path} is not a manifest of a gold week ({error!r}): run the etl for that week again"
            ) from error
        found[week] = data
    if not found:
        raise GoldError(f"no manifest below {folder}: run the etl for at least one week, then train")
    digest = hashlib.sha256()
    for week in sorted(found):
        digest.update(f"{week} {hashlib.sha256(found[week]).hexdigest()}\n".encode())
    return Manifests(tuple(sorted(found)), outputs, digest.hexdigest())


def read_split(folder: Path, split: str, manifests: Manifests) -> Baskets:
    """A split's baskets of all weeks of the manifests, ordered by week and BASKET_ID."""
    parts = _verified_parts(folder, manifests, lambda week: lake.gold(split, week))
    table = pa.concat_tables([pq.read_table(part, columns=_COLUMNS, partitioning=None) for part in parts])
    return _baskets(table.sort_by([("SHOP_WEEK", "ascending"), ("BASKET_ID", "ascending")]))


def read_groups(folder: Path, manifests: Manifests, column: str) -> dict[str, str]:
    """Product -> its group (column: PROD_CODE_10 to PROD_CODE_40), from the weeks' product dimension."""
    parts = _verified_parts(folder, manifests, lake.gold_products)
    tables = [pq.read_table(part, columns=["PROD_CODE", column], partitioning=None) for part in parts]
    groups: dict[str, str] = {}
    for table in tables:
        groups.update(zip(table["PROD_CODE"].to_pylist(), table[column].to_pylist(), strict=True))
    return groups


def leaks_between(splits: Iterable[Baskets]) -> Leaks:
    """Customers and fingerprints (of at least FINGERPRINT_LINES lines) that are in more than one split."""
    customers, fingerprints, clones = [], [], 0
    for split in splits:
        customers.append({customer for customer in split.customer if customer})
        large = split.large_fingerprints()
        fingerprints.append(set(large))
        clones += len(large) - len(fingerprints[-1])
    return Leaks(_shared(customers), _shared(fingerprints), clones)


def refuse_leaks(leaks: Leaks) -> None:
    """GoldError when two splits share a customer or a basket's content."""
    if leaks.customers or leaks.fingerprints:
        raise GoldError(
            f"{leaks.customers} customers and {leaks.fingerprints} baskets' contents are in more than one split: what "
            "is learned from one split would be known in the other. Build all weeks of gold with one split salt and "
            "one code version, then train again"
        )


def _shared(sets: list[set[str]]) -> int:
    return sum(len(group) for group in sets) - len(set().union(*sets))


def _verified_parts(folder: Path, manifests: Manifests, key_of: Callable[[str], str]) -> list[Path]:
    """One file a week of the manifests, in their order, each with the SHA-256 that its manifest names."""
    keys = {key_of(week): week for week in manifests.weeks}
    ending = {"/".join(key.rsplit("/", 2)[1:]): key for key in keys}  # shop_week=YYYYWW/part-0.parquet
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.parquet")):
        key = ending.get(f"{path.parent.name}/{path.name}")
        if key is None:
            raise GoldError(
                f"{path} belongs to no week of the manifests ({', '.join(manifests.weeks)}): "
                "remove it, or add its manifest"
            )
        found[key] = path
    for key, week in keys.items():
        if key not in found:
            raise GoldError(f"{folder} lacks {key}, although week {week} has a manifest: give the job that file too")
        if key not in manifests.outputs:
            raise GoldError(f"the manifest of week {week} does not name {key}: run the etl for that week again")
        actual = hashlib.sha256(found[key].read_bytes()).hexdigest()
        if actual != manifests.outputs[key]:
            raise GoldError(
                f"{found[key]} has SHA-256 {actual}, its manifest says {manifests.outputs[key]}: the file was changed "
                f"after the etl wrote it. Run the etl for week {week} again"
            )
    return [found[key] for key in keys]


def _baskets(table: pa.Table) -> Baskets:
    codes = {name: position for position, name in enumerate(LABELS)} | {None: UNCLASSIFIED_CODE}
    labels = table["label"].to_pylist()
    strange = sorted({str(label) for label in labels if label not in codes})
    if strange:
        raise GoldError(
            f"gold holds labels {', '.join(strange)}; there are {', '.join(LABELS)} and null: run the etl again"
        )
    formats = set(table["STORE_FORMAT"].to_pylist())
    if formats - set(STORE_FORMATS):
        raise GoldError(
            f"gold holds store formats {formats - set(STORE_FORMATS)}, known: {STORE_FORMATS}: run the etl again"
        )
    lines = table["PROD_CODE"].combine_chunks()
    product = lines.flatten().cast(pa.string()).dictionary_encode()
    sizes = pc.list_value_length(table["PROD_CODE"]).to_numpy().astype(np.int64)
    if len(sizes) and sizes.min() < 1:
        raise GoldError("gold holds a basket without lines: run the etl again")
    return Baskets(
        columns=BasketColumns(
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            products=product.dictionary.to_pylist(),
            product=product.indices.to_numpy().astype(np.int64),
            quantity=_flat(table, "QUANTITY"),
            spend=_flat(table, "SPEND_PENCE") / 100,
            weekday=table["SHOP_WEEKDAY"].to_numpy().astype(np.float64),
            hour=table["SHOP_HOUR"].to_numpy().astype(np.float64),
            store_format=np.array([features.store_format(name) for name in table["STORE_FORMAT"].to_pylist()]),
            store_region=np.array([features.store_region(name) for name in table["STORE_REGION"].to_pylist()]),
        ),
        label=np.array([codes[label] for label in labels], dtype=np.int64),
        week=np.array(table["SHOP_WEEK"].to_pylist(), dtype=object),
        customer=np.array(table["CUST_CODE"].to_pylist(), dtype=object),
        fingerprint=np.array([_hex(value) for value in table["fingerprint"].to_pylist()], dtype=object),
        region=np.array(table["STORE_REGION"].to_pylist(), dtype=object),
    )


def _flat(table: pa.Table, name: str) -> np.ndarray:
    return table[name].combine_chunks().flatten().to_numpy().astype(np.float64)


def _hex(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value
