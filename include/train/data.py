"""Read gold splits for training, after every file has been verified against its week's manifest."""

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

DUPLICATE_MIN_LINES: Final = 5
"""Baskets of at least so many lines with equal content are duplicates; equal smaller ones may be chance."""

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
    """The n baskets of a split. label [n]: position in LABELS or UNCLASSIFIED_CODE. week, content_hash (gold's column
    `fingerprint`) and region (STORE_REGION) [n]: strings. customer [n]: strings, None for anonymous baskets."""

    columns: BasketColumns
    label: np.ndarray
    week: np.ndarray
    customer: np.ndarray
    content_hash: np.ndarray
    region: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def labelled(self) -> np.ndarray:
        """[n] bool: whether the label is Low, Medium or High."""
        is_labelled: np.ndarray = self.label != UNCLASSIFIED_CODE
        return is_labelled

    def take(self, rows: np.ndarray) -> "Baskets":
        """Return the baskets at positions `rows`, or where a boolean `rows` [n] is true."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Baskets(
            self.columns.take(positions),
            self.label[positions],
            self.week[positions],
            self.customer[positions],
            self.content_hash[positions],
            self.region[positions],
        )

    def counts(self) -> dict[str, int]:
        """Return the number of baskets by label."""
        number = np.bincount(self.label, minlength=len(LABELS) + 1)
        return {name: int(number[code]) for code, name in enumerate((*LABELS, UNCLASSIFIED))}

    def folds(self, count: int) -> np.ndarray:
        """Return [n] the fold of each basket, 0 to count - 1.

        Folds go by customer, of anonymous baskets by content, so that a customer is in one fold only."""
        owners = [customer or content for customer, content in zip(self.customer, self.content_hash, strict=True)]
        fold_of = {owner: int(hashlib.sha256(owner.encode()).hexdigest()[:8], 16) % count for owner in set(owners)}
        return np.array([fold_of[owner] for owner in owners], dtype=np.int64)

    @property
    def is_large(self) -> np.ndarray:
        """[n] bool: whether the basket has at least DUPLICATE_MIN_LINES lines."""
        is_large: np.ndarray = self.columns.sizes >= DUPLICATE_MIN_LINES
        return is_large

    def large_content_hashes(self) -> np.ndarray:
        """Return the content hashes of the large baskets."""
        hashes: np.ndarray = self.content_hash[self.is_large]
        return hashes


@dataclass(frozen=True)
class Manifests:
    """The manifests of all weeks. weeks: in order. outputs: lake key -> SHA-256. digest: over all manifests' bytes."""

    weeks: tuple[str, ...]
    outputs: Mapping[str, str]
    digest: str


@dataclass(frozen=True)
class Leaks:
    """How many customers and contents of baskets are in more than one split; neither may be.

    duplicates: repeated contents inside one split, which do no harm."""

    customers: int
    content_hashes: int
    duplicates: int


def read_manifests(folder: Path) -> Manifests:
    """Read all manifests below a folder. GoldError when there is none, or a file is not a manifest."""
    content_of: dict[str, bytes] = {}
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
        content_of[week] = data
    if not content_of:
        raise GoldError(f"no manifest below {folder}: run the etl for at least one week, then train")
    digest = hashlib.sha256()
    for week in sorted(content_of):
        digest.update(f"{week} {hashlib.sha256(content_of[week]).hexdigest()}\n".encode())
    return Manifests(tuple(sorted(content_of)), outputs, digest.hexdigest())


def read_split(folder: Path, split: str, manifests: Manifests) -> Baskets:
    """Read a split's baskets of all weeks of the manifests, ordered by week and BASKET_ID.

    folder: holds the split's parts at any depth. GoldError when a part is missing, changed, or in no manifest."""
    parts = _verified_parts(folder, manifests, lambda week: lake.gold(split, week))
    table = pa.concat_tables([pq.read_table(part, columns=_COLUMNS, partitioning=None) for part in parts])
    return _baskets(table.sort_by([("SHOP_WEEK", "ascending"), ("BASKET_ID", "ascending")]))


def read_groups(folder: Path, manifests: Manifests, column: str) -> dict[str, str]:
    """Return product -> group, from the weeks' product dimension. column: PROD_CODE_10 to PROD_CODE_40."""
    parts = _verified_parts(folder, manifests, lake.gold_products)
    tables = [pq.read_table(part, columns=["PROD_CODE", column], partitioning=None) for part in parts]
    groups: dict[str, str] = {}
    for table in tables:
        groups.update(zip(table["PROD_CODE"].to_pylist(), table[column].to_pylist(), strict=True))
    return groups


def leaks_between(splits: Iterable[Baskets]) -> Leaks:
    """Count the customers, and the contents of large baskets, that are in more than one split."""
    customers: list[set[str]] = []
    contents: list[set[str]] = []
    duplicates = 0
    for split in splits:
        customers.append({customer for customer in split.customer if customer})
        hashes = split.large_content_hashes()
        contents.append(set(hashes))
        duplicates += len(hashes) - len(contents[-1])
    return Leaks(_shared(customers), _shared(contents), duplicates)


def refuse_leaks(leaks: Leaks) -> None:
    """Raise GoldError when two splits share a customer or a basket's content."""
    if leaks.customers or leaks.content_hashes:
        raise GoldError(
            f"{leaks.customers} customers and {leaks.content_hashes} baskets' contents are in more than one split, so "
            "the evaluation would test what training has seen. Build all weeks of gold with one split salt and one "
            "code version, then train again"
        )


def _shared(sets: list[set[str]]) -> int:
    return sum(len(group) for group in sets) - len(set().union(*sets))


def _verified_parts(folder: Path, manifests: Manifests, key_of: Callable[[str], str]) -> list[Path]:
    """Return one file for each week of the manifests, in their order, each with the SHA-256 that its manifest names."""
    week_of = {key_of(week): week for week in manifests.weeks}
    key_by_ending = {"/".join(key.rsplit("/", 2)[1:]): key for key in week_of}  # shop_week=YYYYWW/part-0.parquet
    parts: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.parquet")):
        key = key_by_ending.get(f"{path.parent.name}/{path.name}")
        if key is None:
            raise GoldError(
                f"{path} belongs to no week of the manifests ({', '.join(manifests.weeks)}): "
                "remove it, or add its manifest"
            )
        parts[key] = path
    for key, week in week_of.items():
        if key not in parts:
            raise GoldError(f"{folder} lacks {key}, although week {week} has a manifest: give the job that file too")
        _verify_part(parts[key], key, week, manifests)
    return [parts[key] for key in week_of]


def _verify_part(part: Path, key: str, week: str, manifests: Manifests) -> None:
    """Raise GoldError when a file is not the one that its manifest names under a lake key."""
    if key not in manifests.outputs:
        raise GoldError(f"the manifest of week {week} does not name {key}: run the etl for that week again")
    actual = hashlib.sha256(part.read_bytes()).hexdigest()
    if actual != manifests.outputs[key]:
        raise GoldError(
            f"{part} has SHA-256 {actual}, its manifest says {manifests.outputs[key]}: the file was changed after the "
            f"etl wrote it. Run the etl for week {week} again"
        )


def _refuse_unknown_values(table: pa.Table) -> None:
    """Raise GoldError for labels and store formats that this code does not know."""
    labels = sorted(map(str, set(table["label"].to_pylist()) - {*LABELS, None}))
    if labels:
        raise GoldError(
            f"gold holds labels {', '.join(labels)}, known: {', '.join(LABELS)} and null: run the etl again"
        )
    formats = sorted(map(str, set(table["STORE_FORMAT"].to_pylist()) - set(STORE_FORMATS)))
    if formats:
        raise GoldError(
            f"gold holds store formats {', '.join(formats)}, known: {', '.join(STORE_FORMATS)}: run the etl again"
        )


def _baskets(table: pa.Table) -> Baskets:
    """Return the baskets of a table with _COLUMNS, in its order."""
    _refuse_unknown_values(table)
    codes = {name: position for position, name in enumerate(LABELS)} | {None: UNCLASSIFIED_CODE}
    labels = table["label"].to_pylist()
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
        content_hash=np.array([_hex(value) for value in table["fingerprint"].to_pylist()], dtype=object),
        region=np.array(table["STORE_REGION"].to_pylist(), dtype=object),
    )


def _flat(table: pa.Table, name: str) -> np.ndarray:
    """Return [lines] the values of a list column."""
    values: np.ndarray = table[name].combine_chunks().flatten().to_numpy().astype(np.float64)
    return values


def _hex(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value
