"""How a run is followed: what is printed, and how it ends. A real Airflow is asked in test_commands.py."""

from typing import Any

import pytest

from cli import follow as following
from cli.airflow_client import AirflowError
from cli.follow import RunError, changes, configuration, follow
from cli.run import require_dag
from local.stack import config


def task(name: str, state: str | None, end: str | None = None, index: int = -1) -> dict[str, Any]:
    return {"task_id": name, "state": state, "start_date": None, "end_date": end, "map_index": index, "try_number": 1}


class Airflow:
    """Answers from a script: (state of the run, its tasks), one at a look; the last one stays."""

    def __init__(self, tmp_path, *looks: tuple[str, list[dict[str, Any]]]):
        self.stack = config.LocalStack(tmp_path, airflow=8080, aws=2, endpoint=3, kube=4, block=0)
        self.looks = list(looks)

    def run(self, dag, run):
        return {"state": self.looks[0][0]}

    def task_instances(self, dag, run):
        return (self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])[1]

    def questions(self, dag, run):
        asked = {"subject": "Approve version 2?", "body": "| accuracy | 0.99 |"}
        return [asked | {"task_instance": {"task_id": "approve"}}, asked | {"task_instance": {"task_id": "ask"}}]

    def log(self, dag, run, task, try_number=None, map_index=-1):
        return "first line\nthe gate refuses the model\nT info ::group::Post Execute\nT info ::endgroup::"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0)
    monkeypatch.delenv(following.SUMMARY, raising=False)


def followed(airflow, dag="deploy", **options) -> tuple[list[str], str]:
    said: list[str] = []
    return said, follow(airflow, dag, "r", lambda line: said.append(line.split(maxsplit=1)[-1]), **options)


# --- what a person gives ---
def test_params_are_a_json_object_and_what_is_left_empty_is_left_out():
    assert configuration('{"image": "", "weeks": null, "force": false, "n": 0}') == {"force": False, "n": 0}
    assert configuration("") == {}


@pytest.mark.parametrize("text", ["{", "[1]", "true", "previous"])
def test_other_params_are_refused(text):
    with pytest.raises(RunError, match="CONF"):
        configuration(text)


def test_an_unknown_dag_is_refused_with_those_there_are():
    with pytest.raises(RunError, match=r"deploy, etl, .*train"):
        require_dag("depoly")
    assert require_dag("deploy") == "deploy"


# --- what is printed ---
def test_each_task_is_told_once_and_states_that_pass_by_themselves_never():
    before: dict[str, str] = {}
    look = [task("b", "success", "2"), task("a", "success", "1"), task("c", "queued"), task("d", None)]
    assert list(changes(before, look)) == [("a", "success"), ("b", "success")]
    assert list(changes(before, [*look, task("c", "failed", "3")])) == [("c", "failed")]


def test_a_retry_and_its_end_are_both_told_and_copies_of_a_task_apart():
    before: dict[str, str] = {}
    assert list(changes(before, [task("a", "up_for_retry", "1")])) == [("a", "up_for_retry")]
    assert list(changes(before, [task("a", "success", "2")])) == [("a", "success")]
    mapped = [task("m", "success", "3", 0), task("m", "success", "4", 1)]
    assert list(changes(before, mapped)) == [("m[0]", "success"), ("m[1]", "success")]


# --- how it ends ---
def test_a_run_that_succeeds_says_what_was_done_and_what_left_out(tmp_path):
    end = [task("a", "success", "1"), task("b", "skipped", "2"), task("c", "success", "3")]
    said, told = followed(Airflow(tmp_path, ("running", [task("a", "running")]), ("success", end)))
    assert [line.split() for line in said] == [["a", "success"], ["b", "skipped"], ["c", "success"]]
    assert told == "deploy succeeded: 2 success, 1 skipped"


def test_a_run_that_had_nothing_to_do_says_why(tmp_path):
    airflow = Airflow(tmp_path, ("success", [task("plan", "skipped", "1"), task("fit", "skipped", "2")]))
    airflow.log = lambda dag, run, name: "T info Skipping task. nothing new to learn\nT info ended"
    assert followed(airflow, "train")[1] == "train succeeded: 2 skipped\nplan skipped: nothing new to learn"


def test_a_run_that_fails_is_an_error_with_the_tasks_last_words(tmp_path):
    airflow = Airflow(tmp_path, ("failed", [task("gate", "failed", "1")]))
    with pytest.raises(RunError, match=r"(?s)train failed in gate: http.*the gate refuses the model$"):
        followed(airflow, "train")


def test_train_is_done_when_its_model_waits_for_a_person(tmp_path, monkeypatch):
    monkeypatch.setenv(following.SUMMARY, str(tmp_path / "summary.md"))
    waiting = [task("register", "success", "1"), task("approve", "awaiting_input")]
    said, told = followed(Airflow(tmp_path, ("running", waiting)), "train")
    assert told.startswith("train waits for a person, its model is PendingManualApproval: http://127.0.0.1:8080/")
    assert told.endswith("/dags/train/runs/r/tasks/approve")
    assert "| accuracy | 0.99 |" in said[-1]
    assert (tmp_path / "summary.md").read_text() == "## Approve version 2?\n\n| accuracy | 0.99 |\n"


def test_a_question_that_is_still_on_the_way_is_waited_for(tmp_path):
    airflow = Airflow(tmp_path, ("running", [task("approve", "awaiting_input")]))
    answers = iter([[], airflow.questions("train", "r")])
    airflow.questions = lambda dag, run: next(answers)
    said, _ = followed(airflow, "train")
    assert said[0].split() == ["approve", "awaiting_input"]
    assert "| accuracy | 0.99 |" in said[1]


def test_an_airflow_that_restarts_is_asked_again_and_one_that_stays_away_is_an_error(tmp_path, monkeypatch):
    airflow = Airflow(tmp_path, ("success", [task("a", "success", "1")]))
    answers = iter([AirflowError("does not answer"), {"state": "success"}])

    def answer(dag, run):
        found = next(answers)
        if isinstance(found, AirflowError):
            raise found
        return found

    airflow.run = answer
    assert followed(airflow)[1] == "deploy succeeded: 1 success"
    monkeypatch.setattr(following, "AIRFLOW_TIMEOUT", -1)
    answers = iter([AirflowError("does not answer")])
    with pytest.raises(RunError, match="does not answer; deploy is no longer followed: http"):
        followed(airflow)


def test_another_dag_that_asks_is_waited_for_until_somebody_answers(tmp_path):
    asking = ("running", [task("ask", "awaiting_input")])
    said, told = followed(Airflow(tmp_path, asking, asking, ("success", [task("ask", "success", "1")])), "teardown")
    assert sum("answer at" in line or "tasks/ask" in line for line in said) == 1
    assert told == "teardown succeeded: 1 success"


def test_a_run_that_takes_too_long_is_an_error_that_says_that_it_goes_on(tmp_path):
    airflow = Airflow(tmp_path, ("running", [task("a", "running")]))
    with pytest.raises(RunError, match="not done after 0 s and goes on: http"):
        followed(airflow, timeout=0)
