"""The lake's layout: every key of the bucket is spelled here and nowhere else.

Keys are relative to the bucket (or to a local folder of the same shape). A week is `YYYYWW`, the retailer's
fiscal week.
"""

import datetime as dt
import re
from typing import Final

SPLITS: Final = ("train", "validation", "test")
_WEEK = re.compile(r"20\d\d(0[1-9]|[1-4]\d|5[0-3])")


def shop_week(text: str) -> str:
    """The shop week `YYYYWW` if it is one; ValueError otherwise."""
    if not _WEEK.fullmatch(text):
        raise ValueError(f"{text!r} is not a shop week: six digits YYYYWW, weeks 01 to 53, for example 200607")
    return text


def raw(week: str, gzipped: bool = True) -> str:
    return f"raw/shop_week={shop_week(week)}/transactions.csv{'.gz' if gzipped else ''}"


def raw_prefix(week: str) -> str:
    return f"raw/shop_week={shop_week(week)}/"


def silver(week: str, name: str = "part-0.parquet") -> str:
    """name: part-0.parquet, _quality.json or _rejected.parquet"""
    return f"silver/shop_week={shop_week(week)}/{name}"


def gold(split: str, week: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"{split!r} is not a split: one of {', '.join(SPLITS)}")
    return f"gold/split={split}/shop_week={shop_week(week)}/part-0.parquet"


def gold_products(week: str) -> str:
    """The week's product dimension (PROD_CODE -> PROD_CODE_10/20/30/40); only the ladder reads it."""
    return f"gold/_products/shop_week={shop_week(week)}/part-0.parquet"


GOLD_MANIFESTS: Final = "gold/_manifest/"


def gold_manifest(week: str) -> str:
    return f"{GOLD_MANIFESTS}{shop_week(week)}.json"


TRAINING: Final = "artifacts/training"


def model(job: str) -> str:
    return f"{TRAINING}/{job}/output/model.tar.gz"


def evaluation(job: str, name: str = "") -> str:
    """name: evaluation.json, report.html, model_card.md, *.png"""
    return f"artifacts/evaluation/{job}/{name}"


def release_model(release: str) -> str:
    """A release's own copy of its bundle: life-cycle rules of training artifacts never touch a live release."""
    return f"artifacts/releases/{release}/model.tar.gz"


SMOKE: Final = "artifacts/releases/.smoke"
"""What the smoke Job of provision reads with the API's role."""
SMOKE_DENIED: Final = "tmp/.smoke"
"""What it must not be able to read."""


DEPLOYMENTS: Final = "logs/deployments/"


def deployment(release: str) -> str:
    return f"{DEPLOYMENTS}{release}.json"


SCALED_DOWN: Final = "logs/environment/scaled-down.json"
"""What scale_up has to restore; it is there while the environment is scaled down, or on its way."""


def cost(day: dt.date) -> str:
    """Hours off and money saved on a local day."""
    return f"logs/cost/{day:%Y-%m-%d}.json"


def staging(job: str, layer: str = "") -> str:
    """Where a job writes before its output is published; layer: the part that becomes silver, or gold."""
    return f"tmp/{job}/{layer}/" if layer else f"tmp/{job}/"
