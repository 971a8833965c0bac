"""A tiny retailer whose rule is known: gold parts, product dimension and manifests of a few weeks, for tests only."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include import lake
from include.etl.columns import GOLD

PRODUCTS = 90
CUSTOMERS = 260
CLASSES = np.array([1.0] * 14 + [-1.0] * 14 + [0.0] * 58 + [np.nan] * 4)  # High, Low, Medium, does not count
CUTS = (-0.18, 0.226)
WEEKS = ("200607", "200609")


def code(product: int) -> str:
    return f"P{product:03d}"


def label_of(products: np.ndarray) -> str | None:
    """The rule: the mean class of the counting lines, cut twice."""
    classes = CLASSES[products]
    if np.isnan(classes).all():
        return None
    mean = np.nanmean(classes)
    return "High" if mean > CUTS[1] else "Low" if mean < CUTS[0] else "Medium"


def split_of(owner: str) -> str:
    place = int(hashlib.sha256(owner.encode()).hexdigest()[:8], 16) % 100
    return "train" if place < 60 else "validation" if place < 75 else "test"


def rows_of_week(week: str, baskets: int = 900, shuffled_labels: bool = False) -> list[dict]:
    """Gold rows of a week with their split, in order of BASKET_ID."""
    generator = np.random.default_rng(int(week))
    weights = 1.0 / np.arange(1, PRODUCTS + 1) ** 0.4
    weights = generator.permutation(weights)
    rows = []
    for number in range(baskets):
        size = 1 + min(int(generator.geometric(0.22)), 12)
        products = np.sort(generator.choice(PRODUCTS, size, replace=False, p=weights / weights.sum()))
        customer = f"CUST{generator.integers(CUSTOMERS):010d}" if generator.random() > 0.2 else None
        pence = generator.integers(20, 900, size)
        fingerprint = hashlib.sha256(f"{products}{pence}{number}".encode()).hexdigest()
        rows.append(
            {
                "BASKET_ID": 994100100000000 + int(week) * 1000 + number,
                "SHOP_WEEK": week,
                "SHOP_DATE": 20060410,
                "SHOP_WEEKDAY": int(generator.integers(1, 8)),
                "SHOP_HOUR": int(generator.integers(8, 22)),
                "STORE_CODE": f"STORE{number % 7:05d}",
                "STORE_FORMAT": ("LS", "MS", "SS", "XLS")[number % 4],
                "STORE_REGION": ("E01", "S02", "W03")[number % 3],
                "CUST_CODE": customer,
                "label": label_of(products),
                "fingerprint": fingerprint,
                "PROD_CODE": [code(product) for product in products],
                "QUANTITY": generator.integers(1, 4, size).tolist(),
                "SPEND_PENCE": pence.tolist(),
                "split": split_of(customer or fingerprint),
            }
        )
    if shuffled_labels:
        for row, other in zip(rows, generator.permutation(baskets), strict=True):
            row["label"] = label_of(np.array([int(name[1:]) for name in rows[other]["PROD_CODE"]]))
    return rows


def write_week(root: Path, week: str, rows: list[dict]) -> None:
    """The week's gold below root (= the lake's gold/): parts, products, manifest."""
    outputs = {}
    for split in lake.SPLITS:
        chosen = [{k: v for k, v in row.items() if k != "split"} for row in rows if row["split"] == split]
        outputs[lake.gold(split, week)] = _write(root, lake.gold(split, week), pa.Table.from_pylist(chosen, GOLD))
    names = [code(product) for product in range(PRODUCTS)]
    groups = {"PROD_CODE": names, "PROD_CODE_30": [n[:3] for n in names], "PROD_CODE_40": [n[:2] for n in names]}
    outputs[lake.gold_products(week)] = _write(root, lake.gold_products(week), pa.table(groups))
    manifest = root.parent / lake.gold_manifest(week)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"shop_week": week, "outputs": outputs}, sort_keys=True))


def write_gold(parent: Path, weeks=WEEKS, **changes) -> Path:
    """Gold of some weeks; the folder that stands for the lake's gold/."""
    for week in weeks:
        write_week(parent / "gold", week, rows_of_week(week, **changes))
    return parent / "gold"


def training_base(base: Path, gold: Path, **hyperparameters) -> Path:
    """A SageMaker base folder for fit; a few trees are enough for tests."""
    channels = base / "input" / "data"
    for split in ("train", "validation"):
        shutil.copytree(gold / f"split={split}", channels / split / f"split={split}")
    shutil.copytree(gold / "_manifest", channels / "manifest")
    (base / "input" / "config").mkdir(parents=True)
    values = {name: str(value) for name, value in ({"trees": 30} | hyperparameters).items()}
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    return base


def evaluation_base(base: Path, gold: Path, model: Path, champion: Path | None = None) -> Path:
    """A SageMaker base folder for evaluate; model and champion are bundle folders."""
    inputs = base / "processing" / "input"
    for split in lake.SPLITS:
        shutil.copytree(gold / f"split={split}", inputs / split)
    shutil.copytree(gold / "_manifest", inputs / "manifest")
    shutil.copytree(gold / "_products", inputs / "products")
    for name, folder in (("model", model), ("champion", champion)):
        if folder:
            (inputs / name).mkdir()
            shutil.make_archive(str(inputs / name / "model"), "gztar", folder)
    return base


def _write(root: Path, key: str, table: pa.Table) -> str:
    path = root.parent / key
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
