"""The champion: the approved model, measured on the candidate's test baskets."""

from pathlib import Path

import numpy as np

from include.baskets import bundle
from include.baskets.bundle import Bundle
from include.baskets.errors import BundleVersionError
from include.train import metrics
from include.train.data import Baskets
from include.train.errors import TrainingError
from include.train.evidence import Champion

LoadedChampion = Bundle | BundleVersionError | None
"""None: there is no champion. An error: its schema version is another one, so this code cannot score it."""


def model_archive(folder: Path) -> Path:
    """Return the only model archive below a folder. TrainingError when there is none or more than one."""
    archives = sorted(folder.rglob("*.tar.gz"))
    if len(archives) != 1:
        raise TrainingError(
            f"{folder} must hold one model.tar.gz, it holds {len(archives)}: give the job the model's output"
        )
    return archives[0]


def load(folder: Path, scratch: Path) -> LoadedChampion:
    """Load the champion's archive from a folder, unpacked into scratch. BundleError when it is damaged."""
    if not folder.is_dir() or not any(folder.rglob("*.tar.gz")):
        return None
    try:
        return bundle.load(bundle.unpack(model_archive(folder), scratch))
    except BundleVersionError as error:
        return error


def describe(champion: LoadedChampion) -> str:
    """Return the champion's digest, or why there is none, for the log."""
    if champion is None:
        return "none"
    return champion.digest if isinstance(champion, Bundle) else "of another schema version"


def compare(champion: LoadedChampion, test: Baskets, predicted: np.ndarray) -> Champion | None:
    """Compare the candidate's predictions [test] with the champion's on the same baskets; None without a champion."""
    if champion is None:
        return None
    if isinstance(champion, BundleVersionError):
        return Champion(comparable=False, note=f"the champion cannot be scored by this code: {champion}")
    champion_predicted = champion.score(test.columns).classes
    candidate_metrics = metrics.measure(test.label, predicted)
    champion_metrics = metrics.measure(test.label, champion_predicted)
    intervals = metrics.paired_bootstrap(test.label, predicted, champion_predicted)
    return Champion(
        comparable=True,
        note=f"scored on the same {len(test)} test baskets",
        bundle_digest=champion.digest,
        accuracy=champion_metrics.accuracy,
        macro_f1=champion_metrics.macro_f1,
        accuracy_difference=candidate_metrics.accuracy - champion_metrics.accuracy,
        accuracy_difference_interval=intervals.accuracy,
        macro_f1_difference=candidate_metrics.macro_f1 - champion_metrics.macro_f1,
        macro_f1_difference_interval=intervals.macro_f1,
    )
