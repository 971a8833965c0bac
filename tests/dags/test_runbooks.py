"""The runbooks name tasks that their DAGs have."""

import re
from pathlib import Path

import airflow_env
import pytest

RUNBOOKS = airflow_env.ROOT / "docs" / "runbooks"
DAGS = {
    "deploy.md": {"deploy"},
    "provision.md": {"provision"},
    "public-endpoint.md": {"deploy", "provision", "scale_down", "scale_up"},
    "scale.md": {"scale_down", "scale_up", "deploy"},
    "teardown.md": {"teardown"},
}
"""Page -> the DAGs whose tasks it explains."""

TASK_TABLE = re.compile(r"^\| task \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
FIRST_WORD = re.compile(r"\| `(\w+…?)`(?=:| failed)")
"""A cell that begins with a task: what it does, or what one sees of it."""


def named_tasks(text: str) -> set[str]:
    """The tasks that a page names: in the first column of a table of tasks, or at the beginning of a cell."""
    rows = [row for table in TASK_TABLE.findall(text) for row in table.splitlines()]
    first = {name for row in rows for name in re.findall(r"`(\w+…?)`", row.split("|")[1])}
    return first | set(FIRST_WORD.findall(text))


def unknown(tasks: set[str], known: set[str]) -> set[str]:
    """Those that no DAG has; `stack_…` stands for every task that begins so."""
    return {
        name
        for name in tasks
        if not (any(task.startswith(name[:-1]) for task in known) if name.endswith("…") else name in known)
    }


@pytest.mark.parametrize("page", DAGS)
def test_named_tasks_exist(bag, page):
    known = {task for dag_id in DAGS[page] for task in bag.dags[dag_id].task_ids} | DAGS[page]
    tasks = named_tasks((RUNBOOKS / page).read_text())
    assert tasks
    assert unknown(tasks, known) == set()


@pytest.mark.parametrize(
    "text",
    [
        "| task | does |\n|---|---|\n| `gone` | nothing |\n",
        "| task | does |\n|---|---|\n| `here`, `gone` | nothing |\n",
        "| task | does |\n|---|---|\n| `gone_…` | nothing |\n",
        "| what you see | do |\n|---|---|\n| `gone`: *a message* | look |\n",
        "| 1 | `here`: starts | `gone`: ends |\n",
        "| `gone` failed | look |\n",
    ],
)
def test_a_task_that_does_not_exist_is_noticed(text):
    assert {name.rstrip("_…") for name in unknown(named_tasks(text), {"here"})} == {"gone"}


def test_every_runbook_that_explains_tasks_is_checked():
    explaining = {page.name for page in Path(RUNBOOKS).glob("*.md") if TASK_TABLE.search(page.read_text())}
    assert explaining
    assert explaining <= DAGS.keys()
