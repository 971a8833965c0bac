"""How the demo's stages wait for Airflow: gold of every week, the question of `train`, the run that it starts."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from cli.demo import stages
from cli.demo.run import Demo, DemoError, Stage
from local.stack import config


class Airflow:
    """Answers from a script: one (state of the run, its tasks) at a look; the last one stays."""

    def __init__(self, stack: config.LocalStack, *looks: tuple[str, dict[str, str]]):
        self.stack = stack
        self.looks = list(looks)
        self.answered: list[tuple[str, ...]] = []
        self.triggered: list[str] = []
        self.listed: list[dict[str, Any]] = []

    def trigger(self, dag: str, conf: Any = None, partition_key: str | None = None) -> str:
        self.triggered.append(f"{dag} {partition_key}" if partition_key else dag)
        return partition_key or "r"

    def run(self, dag: str, run: str) -> dict[str, Any]:
        return {"state": self.looks[0][0], "start_date": "2026-01-02"}

    def runs(self, dag: str) -> list[dict[str, Any]]:
        return self.listed

    def wait(self, dag: str, run: str, timeout: float, progress: Any) -> dict[str, Any]:
        return {"state": self.looks[-1][0]}

    def states(self, dag: str, run: str) -> dict[str, str]:
        return (self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])[1]

    def task_instances(self, dag: str, run: str) -> list[dict[str, Any]]:
        return [{"task_id": task, "state": state} for task, state in self.looks[0][1].items()]

    def log(self, dag: str, run: str, task: str) -> str:
        return "row 3 is not a transaction"

    def answer(self, *words: Any) -> None:
        self.answered.append(words[:4])


@pytest.fixture
def stack(tmp_path: Path) -> config.LocalStack:
    return config.LocalStack(tmp_path, airflow=8080, aws=2, endpoint=3, kube=4, block=0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "POLL_SECONDS", 0)
    monkeypatch.setattr(stages, "ANSWER_DELAY", 0)


def demo_of(airflow: Airflow) -> Demo:
    return Demo(airflow.stack, airflow, boto3.Session())


def stage() -> Stage:
    return Stage(lambda text: None)


QUESTION = ("running", {"approve": "awaiting_input"})
FITTING = ("running", {"fit": "running"})
DONE = ("success", {"approve": "success"})


def test_the_question_of_train_is_answered_once(stack: config.LocalStack) -> None:
    airflow = Airflow(stack, FITTING, QUESTION, DONE)
    assert stages.train(demo_of(airflow), stage(), wait_for_person=False) == "r"
    assert airflow.answered == [("train", "r", "approve", "Approve")]


def test_a_person_who_approves_is_waited_for(stack: config.LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    airflow = Airflow(stack, FITTING, QUESTION, QUESTION, QUESTION, DONE)
    stages.train(demo_of(airflow), stage(), wait_for_person=True)
    assert airflow.answered == []
    assert "http://127.0.0.1:8080/dags/train/runs/r/tasks/approve" in "".join(capsys.readouterr().out.split())


def test_a_training_without_a_new_model_asks_nothing(stack: config.LocalStack) -> None:
    airflow = Airflow(stack, ("success", {"approve": "skipped"}))
    stages.train(demo_of(airflow), stage(), wait_for_person=False)
    assert airflow.answered == []


def test_a_training_that_fails_stops_the_demo(stack: config.LocalStack) -> None:
    airflow = Airflow(stack, ("failed", {"gate": "failed"}))
    with pytest.raises(DemoError, match=r"(?s)train failed in gate: http.*row 3"):
        stages.train(demo_of(airflow), stage(), wait_for_person=False)


def test_weeks_without_gold_are_built_and_the_others_are_not(
    stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = Airflow(stack, DONE)
    airflow.listed = [{"dag_run_id": week, "state": "success"} for week in ("200608", "200609")]
    monkeypatch.setattr(Demo, "keys", lambda _demo, _prefix: {stages.lake.gold_manifest("200607")})
    shown = stage()
    stages.build_gold(demo_of(airflow), shown, ["200607", "200608", "200609"])
    assert airflow.triggered == ["etl 200608", "etl 200609"]
    assert shown.result == "2 weeks built, 1 existed"


def test_a_week_that_fails_stops_the_demo(stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow(stack, ("failed", {"clean": "failed"}))
    airflow.listed = [{"dag_run_id": "200607", "state": "failed"}]
    monkeypatch.setattr(Demo, "keys", lambda _demo, _prefix: set())
    with pytest.raises(DemoError, match=r"(?s)etl failed in clean: http.*row 3"):
        stages.build_gold(demo_of(airflow), stage(), ["200607"])


def test_the_deploy_run_of_the_approval_is_found(stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow(stack, DONE)
    manual = {"dag_run_id": "manual", "run_type": "manual", "run_after": "2026-01-03"}
    earlier = {"dag_run_id": "earlier", "run_type": "asset_triggered", "run_after": "2026-01-01"}
    ours = {"dag_run_id": "ours", "run_type": "asset_triggered", "run_after": "2026-01-03"}
    airflow.listed = [manual, ours, earlier]
    assert stages.deploy_run_of(demo_of(airflow), "r") == "ours"
    airflow.listed = [manual, earlier]
    monkeypatch.setattr(stages, "TRIGGER_TIMEOUT", 0)
    with pytest.raises(DemoError, match="did not start deploy"):
        stages.deploy_run_of(demo_of(airflow), "r")


def test_a_folder_without_weekly_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=f"no weekly files in {tmp_path}"):
        stages.weekly_files(str(tmp_path), tmp_path)
