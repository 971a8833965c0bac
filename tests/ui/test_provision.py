"""The first thing a person does with an account: make the environment."""

from playwright.sync_api import Page, expect

from cli.airflow_client import Airflow
from tests.ui.conftest import open_form, show_log, submit


def test_dry_run_shows_the_change_sets_and_makes_nothing(signed_in: Page, airflow: Airflow) -> None:
    form = open_form(signed_in, "provision")
    form.locator("label:has(input[name=element_dry_run])").click()
    run = submit(signed_in, form, "provision")
    assert airflow.wait("provision", run, timeout=240)["state"] == "success"
    show_log(signed_in, "provision", run, "lake")
    expect(signed_in.get_by_text("dry run: ").first).to_contain_text("AWS::S3::Bucket")


def test_environment_is_made_from_nothing(signed_in: Page, airflow: Airflow) -> None:
    run = submit(signed_in, open_form(signed_in, "provision"), "provision")
    assert airflow.wait("provision", run, timeout=240)["state"] == "success"
    expect(signed_in.get_by_text("Success").first).to_be_visible()
    show_log(signed_in, "provision", run, "prepare_smoke_test")
    expect(signed_in.get_by_text("make image").first).to_be_visible()
