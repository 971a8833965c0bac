"""What a person does in Airflow: looks around, backfills, trains with other Params, approves, sees it released."""

import json
import time
import urllib.parse
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from cli.airflow_client import Airflow
from local.stack import config
from tests.ui.conftest import answer, open_form, sign_in, submit, wait_for_question

pytestmark = pytest.mark.usefixtures("demo")

WEEKS = ["200607", "200608", "200609"]
TREES = 40


def test_a_wrong_password_is_refused(page: Page) -> None:
    sign_in(page, "not the password")
    expect(page.get_by_text("Invalid credentials")).to_be_visible()


def test_every_dag_is_listed_with_its_own_description(signed_in: Page) -> None:
    dags = [path.stem for path in (config.ROOT / "dags").glob("[a-z]*.py")]
    assert dags
    signed_in.goto("/dags")
    for dag in dags:
        expect(signed_in.get_by_role("link", name=dag, exact=True)).to_be_visible()
    signed_in.goto("/dags/train")
    signed_in.get_by_role("button", name="Dag Docs").click()
    expect(signed_in.get_by_text("From gold to a model that a person approved or rejected")).to_be_visible()


def test_a_range_of_dates_is_backfilled_by_shop_week(signed_in: Page, airflow: Airflow) -> None:
    before = {run["dag_run_id"] for run in airflow.runs("etl")}
    form = open_form(signed_in, "etl")
    form.get_by_text("Run this Dag for a range of dates").click()
    choose_date(form, "2006/04/10")
    choose_date(form, "2006/04/24")
    form.get_by_text("All Runs", exact=True).click()
    expect(form.get_by_text("3 runs will be triggered")).to_be_visible()
    form.get_by_role("button", name="Run Backfill").click()
    expect(signed_in.get_by_text("Backfill generated").first).to_be_visible()
    runs = [run for run in airflow.runs("etl") if run["dag_run_id"] not in before]
    assert sorted(run["partition_key"] for run in runs) == WEEKS
    assert {airflow.wait("etl", run["dag_run_id"], timeout=240)["state"] for run in runs} == {"success"}


@pytest.mark.timeout(900)
def test_a_model_trained_with_other_params_is_approved_and_then_served(signed_in: Page, airflow: Airflow) -> None:
    run = train_with_params(signed_in, airflow)
    version = approve(signed_in, airflow, run, "as good with fewer trees")
    assert airflow.wait("train", run, timeout=120)["state"] == "success"
    release = wait_for_release(airflow, run)
    assert airflow.wait("deploy", release, timeout=240)["state"] == "success"
    signed_in.goto(f"/dags/deploy/runs/{urllib.parse.quote(release)}")
    expect(signed_in.get_by_text("Success").first).to_be_visible()
    served = model(airflow)
    assert served["model_version"] == version
    assert "as good with fewer trees" in served["approved_by"]


def train_with_params(page: Page, airflow: Airflow) -> str:
    """Starts a training with a changed form; the run's id, from the page that Airflow opens."""
    form = open_form(page, "train")
    form.locator("#element_hyperparameters .monaco-editor").first.click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(json.dumps({"trees": TREES}))
    form.locator("label:has(input[name=element_force])").click()
    run = submit(page, form, "train")
    asked = airflow.run("train", run)["conf"]
    assert (asked["hyperparameters"], asked["force"]) == ({"trees": TREES}, True)
    return run


def approve(page: Page, airflow: Airflow, run: str, reason: str) -> str:
    """Reads the evidence and approves; the version of the model."""
    wait_for_question(airflow, "train", run, "approve")
    (question,) = airflow.questions("train", run)
    version = question["subject"].removeprefix("Approve version ").partition(" ")[0]
    evidence = [f"Version {version}", "macro F1", f'{{"trees": {TREES},']
    answer(page, question["subject"], "Approve", reason, evidence)
    return version


def choose_date(form: Locator, day: str) -> None:
    """Fills the form's next empty date."""
    form.get_by_text("Select date and time").first.click()
    picker = form.page.get_by_placeholder("YYYY/MM/DD").last
    picker.fill(day)
    time_of_day = form.page.get_by_placeholder("HH:mm").last
    time_of_day.fill("00:00")
    time_of_day.press("Enter")
    form.page.keyboard.press("Escape")
    expect(picker).not_to_be_visible()


def wait_for_release(airflow: Airflow, training: str) -> str:
    """The id of the run of deploy that the training's approval started."""
    began, until = airflow.run("train", training)["start_date"], time.monotonic() + 60
    while not (runs := [run for run in airflow.runs("deploy") if run["run_after"] > began]):
        assert time.monotonic() < until, "the approval started no run of deploy"
        time.sleep(1)
    assert [run["run_type"] for run in runs] == ["asset_triggered"]
    return runs[0]["dag_run_id"]


def model(airflow: Airflow) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{airflow.stack.endpoint}/model", timeout=20) as answer:
        return json.loads(answer.read())
