import shutil
from pathlib import Path

import pytest

from include.etl import clean, split
from local.data.__main__ import main


@pytest.fixture(scope="session")
def weekly_files(tmp_path_factory) -> Path:
    """Six weeks of the default size, and their files."""
    folder = tmp_path_factory.mktemp("weeks")
    assert main(["--out", str(folder), "--weeks", "6"]) == 0
    return folder


@pytest.fixture(scope="session")
def gold(weekly_files, tmp_path_factory) -> Path:
    """The gold of the six weeks, made by the jobs themselves."""
    folder = tmp_path_factory.mktemp("gold")
    for path in sorted(weekly_files.glob("*.gz")):
        week, base = path.name[13:19], folder / path.name[13:19]
        (base / "processing" / "input" / "raw").mkdir(parents=True)
        shutil.copy(path, base / "processing" / "input" / "raw" / "transactions.csv.gz")
        clean.run(base, week)
        (base / "processing" / "output" / "silver").rename(base / "processing" / "input" / "silver")
        split.run(base, week)
        shutil.copytree(base / "processing" / "output" / "gold", folder / "gold", dirs_exist_ok=True)
    return folder / "gold"
