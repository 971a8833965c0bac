"""Train a bundle of realistic size from synthetic weeks, once, and read request bodies from its held-out baskets."""

import hashlib
import json
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from benchmarks.common import ROOT, cache
from include.baskets import bundle
from include.etl import clean, split
from include.train import data, fit, held_out, model
from include.train.hyperparameters import Hyperparameters
from local.data import __main__ as generator

WEEKS = 9
HYPERPARAMETERS = {"min_samples_leaf": 16}
"""They give a forest of 21,000 nodes, as the defaults do on twelve real weeks (20,720); here they give 35,000."""
FIRST_WEEK = "200607"
LONG_BASKETS = (46, 87)
"""Lines of baskets that are longer than those of synthetic weeks: 1 in 3,000 of real weeks, 1 in 100 here."""
_SOURCES = ("include/**/*.py", "local/data/*.py", "benchmarks/serving/model.py", "requirements/dev.txt")


@dataclass(frozen=True)
class Model:
    """bundle: its folder. archive: the same as model.tar.gz. forest: a joblib file, which the other servers load.
    bodies: held-out baskets as clients send them."""

    bundle: Path
    archive: Path
    forest: Path
    bodies: list[bytes]

    @property
    def digest(self) -> str:
        """Return the digest of the bundle."""
        return bundle.bundle_digest(self.bundle)


def prepared() -> Model:
    """Return the model from the user's cache; train it (about a minute) when the code that it depends on changed."""
    folder = cache() / f"serving-{_sources_hash()}"
    if not folder.exists():
        print(f"Training a model on {WEEKS} synthetic weeks", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _train(Path(scratch)).rename(folder)
    samples = [json.loads(line) for line in (folder / "held_out.jsonl").read_text().splitlines()]
    baskets = with_long_baskets([sample["request"] for sample in samples])
    bodies = [json.dumps(basket).encode() for basket in baskets]
    return Model(folder / "bundle", folder / "model.tar.gz", folder / "forest.joblib", bodies)


def with_long_baskets(baskets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the baskets with one of each size in LONG_BASKETS inserted at equal distances.

    A long basket has lines of the other baskets, each product once.
    """
    lines = list({line["PROD_CODE"]: line for basket in baskets for line in basket["lines"]}.values())
    distance = len(baskets) // len(LONG_BASKETS)
    mixed = list(baskets)
    for number, size in enumerate(LONG_BASKETS):
        mixed.insert(number * (distance + 1), baskets[number * distance] | {"lines": lines[-size:]})
    return mixed


def _sources_hash() -> str:
    sources = sorted(path for pattern in _SOURCES for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def _train(scratch: Path) -> Path:
    """Run the ETL and the training below `scratch`; return the folder of what `prepared` reads."""
    gold = scratch / "gold"
    for week in _raw_weeks(scratch / "raw"):
        _run_etl(week, scratch / week.name, gold)
    result = scratch / "result"
    result.mkdir()
    _fit(gold, scratch / "fit").rename(result / "bundle")
    with tarfile.open(result / "model.tar.gz", "w:gz") as tar:
        for member in sorted((result / "bundle").iterdir()):
            tar.add(member, member.name)
    manifests = data.read_manifests(gold / "_manifest")
    train = data.read_split(gold / "split=train", "train", manifests)
    test = data.read_split(gold / "split=test", "test", manifests)
    # Train again, because a bundle holds the forest as ONNX only.
    forest = model.train(train, Hyperparameters(**HYPERPARAMETERS)).forest
    forest.n_jobs = 1
    joblib.dump(forest, result / "forest.joblib")
    (result / "held_out.jsonl").write_bytes(held_out.to_json_lines(bundle.load(result / "bundle"), test))
    return result


def _fit(gold: Path, base: Path) -> Path:
    """Run the training job on `gold`; return the folder of its bundle."""
    channels = base / "input" / "data"
    for channel, source in {"train": "split=train", "validation": "split=validation", "manifest": "_manifest"}.items():
        shutil.copytree(gold / source, channels / channel / source)
    (base / "input" / "config").mkdir()
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    fit.run(base)
    return base / "model"


def _raw_weeks(folder: Path) -> list[Path]:
    generator.main(["--out", str(folder), "--weeks", str(WEEKS), "--first", FIRST_WEEK])
    return sorted(folder.iterdir())


def _run_etl(raw: Path, base: Path, gold: Path) -> None:
    """Run both ETL jobs on a weekly file and add their gold to `gold`."""
    week = raw.name.removeprefix("transactions_").removesuffix(".csv.gz")
    job_input = base / "processing" / "input"
    job_output = base / "processing" / "output"
    (job_input / "raw").mkdir(parents=True)
    shutil.copy(raw, job_input / "raw" / "transactions.csv.gz")
    clean.run(base, week)
    (job_output / "silver").rename(job_input / "silver")
    split.run(base, week)
    shutil.copytree(job_output / "gold", gold, dirs_exist_ok=True)
