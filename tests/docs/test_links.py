"""Every page of the repository links to what exists and names files that exist."""

import re
import subprocess
from pathlib import Path

import pytest

from local.stack.config import ROOT

PAGES = [ROOT / name for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).split()]
TRACKED = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
FOLDERS = {parent.as_posix() for name in TRACKED for parent in Path(name).parents} - {"."}
TOP = {folder for folder in FOLDERS if "/" not in folder}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
URL = re.compile(r"\w+://\S+")
PATH = re.compile(r"(?<![\w./~$<>{}=-])([\w.-]+(?:/[\w.*-]+)+/?|[\w-]+/)(?![\w/<>{}…-])")
KINDS = {".py", ".yaml", ".yml", ".toml", ".md", ".html", ".json", ".in", ".txt", ".sha256"}
ELSEWHERE = {
    *("raw", "silver", "gold", "artifacts", "logs", "tmp", "predictions"),  # the lake
    *(".local", ".venv", "dist", "bin"),  # made on the user's machine
}
"""First part of paths that are not in the repository."""


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """The relative links of a page whose file, folder or heading does not exist."""
    broken = []
    for link in LINK.findall(page.read_text()):
        if URL.match(link) or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def exists(path: str) -> bool:
    """Whether git knows a file, folder or glob of the repository. One part alone is a folder's name anywhere."""
    name = path.rstrip("/")
    if "*" in name:
        return any(Path(tracked).match(name) for tracked in TRACKED)
    if "/" not in name:
        return any(Path(folder).name == name for folder in FOLDERS)
    return name in TRACKED or name in FOLDERS


def named_paths(text: str) -> set[str]:
    """The words of a text that are paths of the repository: below a folder that it has, or with a known suffix."""
    without_links = LINK.sub("", URL.sub("", text))
    return {
        path
        for path in (found.rstrip(".") for found in PATH.findall(without_links))
        if path.split("/")[0] not in ELSEWHERE
        and (path.split("/")[0] in TOP or path.endswith("/") or Path(path).suffix in KINDS)
    }


def missing_paths(text: str) -> list[str]:
    return sorted(path for path in named_paths(text) if not exists(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_what_exists(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_paths_exist(page):
    assert missing_paths(page.read_text()) == []


def test_pages_have_links_and_name_paths():
    assert len(PAGES) > 10
    assert len({link for page in PAGES for link in LINK.findall(page.read_text())}) > 50
    assert len({path for page in PAGES for path in named_paths(page.read_text())}) > 50


# --- the checks can fail ---
@pytest.mark.parametrize("link", ["gone.md", "other.md#no-such-heading", "#nor-this-one", "folder/"])
def test_a_broken_link_is_noticed(tmp_path, link):
    (tmp_path / "other.md").write_text("# A heading\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n[good](other.md#a-heading), [self](#page), [web](https://a.b/c), [bad]({link})\n")
    assert broken_links(page) == [link]


@pytest.mark.parametrize(
    "text",
    [
        "see `include/gone.py`",
        "see `gone/file.py`",
        "`.venv/dev/bin/pytest tests/gone.py`",
        "    api/gone.py   what it does",
        "`include/gone/`",
        "the folder `include/gone`",
        "`nowhere/`",
        "`requirements/*.gone`",
    ],
)
def test_a_missing_path_is_noticed(text):
    assert len(missing_paths(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`include/lake.py`, include/lake.py. (`include/etl/`) and `include/etl`",
        "`requirements/*.in` below `requirements/`",
        "`raw/shop_week=YYYYWW/`, `logs/deployments/<release>.json`, `.venv/dev/bin/pytest`",
        "https://example.org/gone/file.py and s3://bucket/gone.json",
        "and/or 1/2 owner/name",
    ],
)
def test_other_words_are_no_missing_paths(text):
    assert missing_paths(text) == []
