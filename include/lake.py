"""The lake's layout: every key of the bucket is defined here and nowhere else.

Keys are relative to the bucket, or to a local folder of the same layout. A week is `YYYYWW`, the retailer's fiscal
week; functions that take one raise ValueError for anything else.
"""

import datetime as dt
import re
from typing import Final

SPLITS: Final = ("train", "validation", "test")
_WEEK = re.compile(r"20\d\d(0[1-9]|[1-4]\d|5[0-3])")


def shop_week(text: str) -> str:
    """Return the text if it is a shop week `YYYYWW`. ValueError otherwise."""
    if not _WEEK.fullmatch(text):
        raise ValueError(f"{text!r} is not a shop week: six digits YYYYWW, weeks 01 to 53, for example 200607")
    return text


def raw(week: str, gzipped: bool = True) -> str:
    """Return the key of a week's raw file."""
    return f"raw/shop_week={shop_week(week)}/transactions.csv{'.gz' if gzipped else ''}"


def raw_prefix(week: str) -> str:
    """Return the prefix below which a week's raw file lies, gzipped or not."""
    return f"raw/shop_week={shop_week(week)}/"


def silver(week: str, name: str = "part-0.parquet") -> str:
    """Return the key of a silver file. name: part-0.parquet, _quality.json or _rejected.parquet."""
    return f"silver/shop_week={shop_week(week)}/{name}"


def gold(split: str, week: str) -> str:
    """Return the key of a week's part of a split. ValueError when it is not one of SPLITS."""
    if split not in SPLITS:
        raise ValueError(f"{split!r} is not a split: one of {', '.join(SPLITS)}")
    return f"gold/split={split}/shop_week={shop_week(week)}/part-0.parquet"


def gold_products(week: str) -> str:
    """Return the key of a week's product dimension (PROD_CODE -> PROD_CODE_10/20/30/40), which the baselines read."""
    return f"gold/_products/shop_week={shop_week(week)}/part-0.parquet"


GOLD_MANIFESTS: Final = "gold/_manifest/"


def gold_manifest(week: str) -> str:
    """Return the key of a gold week's manifest."""
    return f"{GOLD_MANIFESTS}{shop_week(week)}.json"


TRAINING: Final = "artifacts/training"


def model(job: str) -> str:
    """Return the key of the bundle that a training job wrote."""
    return f"{TRAINING}/{job}/output/model.tar.gz"


def evaluation(job: str, name: str = "") -> str:
    """Return the prefix of an evaluation, or the key of a file: evaluation.json, report.html, model_card.md, *.png."""
    return f"artifacts/evaluation/{job}/{name}"


def release_model(release: str) -> str:
    """Return the key of a release's own copy of its bundle, which no life-cycle rule of training artifacts deletes."""
    return f"artifacts/releases/{release}/model.tar.gz"


SMOKE: Final = "artifacts/releases/.smoke"
"""The object that the smoke Job of `provision` reads with the API's role."""
SMOKE_DENIED: Final = "tmp/.smoke"
"""The object that it must not be able to read."""

DEPLOYMENTS: Final = "logs/deployments/"


def deployment(release: str) -> str:
    """Return the key of a release's record."""
    return f"{DEPLOYMENTS}{release}.json"


SCALED_DOWN: Final = "logs/environment/scaled-down.json"
"""What scale_up has to restore. The object exists from the start of a scale-down to the end of the scale-up."""


def cost(day: dt.date) -> str:
    """Return the key of the record of hours off and money saved on a local day."""
    return f"logs/cost/{day:%Y-%m-%d}.json"


def staging(job: str, layer: str = "") -> str:
    """Return the prefix below which a job writes before its output is published. layer: silver or gold, if both."""
    return f"tmp/{job}/{layer}/" if layer else f"tmp/{job}/"
