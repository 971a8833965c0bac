"""The end of an environment, and a new one after it."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cli.airflow_client import Airflow
from tests.ui.conftest import answer, open_form, show_log, submit, wait_for_question

pytestmark = pytest.mark.timeout(600)


def test_wrong_name_is_refused(signed_in: Page, airflow: Airflow, demo: dict[str, Any]) -> None:
    form = open_form(signed_in, "teardown")
    form.locator("[name=element_confirm]").fill("production")
    run = submit(signed_in, form, "teardown")
    assert airflow.wait("teardown", run, timeout=60)["state"] == "failed"
    show_log(signed_in, "teardown", run, "plan_deletion")
    expect(signed_in.get_by_text("nothing was touched").first).to_be_visible()


def test_environment_goes_after_a_second_question(signed_in: Page, airflow: Airflow, demo: dict[str, Any]) -> None:
    form = open_form(signed_in, "teardown")
    form.locator("[name=element_confirm]").fill(demo["environment"])
    run = submit(signed_in, form, "teardown")
    wait_for_question(airflow, "teardown", run, "confirm_deletion")
    answer(signed_in, "Delete the environment for good?", "Approve", "the course is over", ["USD"])
    assert airflow.wait("teardown", run, timeout=300)["state"] == "success"
    show_log(signed_in, "teardown", run, "verify_deleted")
    expect(signed_in.get_by_text("is left", exact=False).first).to_be_visible()


def test_nothing_stands_in_the_way_of_a_new_one(signed_in: Page, airflow: Airflow) -> None:
    run = submit(signed_in, open_form(signed_in, "provision"), "provision")
    assert airflow.wait("provision", run, timeout=240)["state"] == "success"
