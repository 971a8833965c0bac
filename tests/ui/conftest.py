"""A real browser, signed in to the Airflow of a local stack of the tests' own."""

import json
import os
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from cli.airflow_client import Airflow
from local.stack import config
from local.stack.airflow_environment import USER, load_secrets
from tests.private_stack import private_stack, run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30_000
"""Milliseconds that a page may take: two cores may be shared with a training job."""
expect.set_options(timeout=PATIENCE)


STORY = ("test_provision", "test_airflow", "test_api_pages", "test_cost_schedule", "test_teardown")
"""The life of an environment: each file finds what the ones before it made."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: STORY.index(item.path.stem))
    for item in items:
        item.add_marker(pytest.mark.timeout(900))  # the first one that needs it waits for a whole demo


@pytest.fixture(scope="session")
def private(browser: Browser) -> Iterator[tuple[Path, dict[str, str]]]:  # no local stack is started without a browser
    with private_stack() as made:
        yield made


@pytest.fixture(scope="session")
def airflow(private: tuple[Path, dict[str, str]]) -> Airflow:
    """The REST API beside the browser: what a test waits for, and what a click has really done."""
    state, env = private
    run(env, "cli", "up")
    return Airflow(config.load(state))


@pytest.fixture(scope="session")
def demo(private: tuple[Path, dict[str, str]], airflow: Airflow) -> dict[str, Any]:
    """What `make demo` says of itself, after it ran in this local stack."""
    state, env = private
    run(env, "cli", "demo")
    return json.loads((state / "demo.json").read_text())


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("PLAYWRIGHT_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not executable:
        pytest.fail(
            "no Chromium found: install one (Debian: `apt-get install chromium`, macOS: `brew install --cask "
            "google-chrome`), or name one in PLAYWRIGHT_CHROMIUM",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--disable-gpu", "--disable-sync"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, airflow: Airflow, tmp_path: Path) -> Iterator[Page]:
    """A fresh page; its last view is left as last.png in the test's temporary folder."""
    with browser.new_context(base_url=airflow.stack.airflow_url, viewport={"width": 1400, "height": 1000}) as context:
        context.set_default_timeout(PATIENCE)
        opened = context.new_page()
        yield opened
        opened.screenshot(path=tmp_path / "last.png")


@pytest.fixture
def signed_in(page: Page, airflow: Airflow) -> Page:
    sign_in(page, load_secrets(airflow.stack).password)
    page.get_by_text("Welcome", exact=True).wait_for()
    return page


def sign_in(page: Page, password: str) -> None:
    page.goto("/")
    page.locator("input[name=username]").fill(USER)
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").click()


# --- what a person does in many places ---
def open_form(page: Page, dag: str) -> Locator:
    page.goto(f"/dags/{dag}")
    page.get_by_role("button", name="Trigger").first.click()
    return page.get_by_role("dialog").first


def submit(page: Page, form: Locator, dag: str) -> str:
    """Starts the run that the form describes; its id, from the page that Airflow opens."""
    form.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url(f"**/dags/{dag}/runs/*")
    return urllib.parse.unquote(page.url.rpartition("/")[2])


def show_log(page: Page, dag: str, run_id: str, task: str) -> Page:
    page.goto(f"/dags/{dag}/runs/{urllib.parse.quote(run_id)}/tasks/{task}")
    return page


def answer(page: Page, subject: str, option: str, reason: str, shown: list[str]) -> None:
    """Finds a question in Required Actions, reads what stands below it, gives a reason and answers."""
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_text("Required Actions", exact=True).last.click()
    page.get_by_role("row").filter(has_text="Approval Required").get_by_role("link", name=subject).click()
    for text in shown:
        expect(page.get_by_text(text).first).to_be_visible()
    button = page.get_by_test_id(f"hitl-option-{option}")
    expect(button).to_be_disabled()  # until there is a reason
    page.locator("[name=element_reason]").fill(reason)
    button.click()
    expect(page.get_by_text("Response received at")).to_be_visible()


def wait_for_question(airflow: Airflow, dag: str, run_id: str, task: str) -> None:
    def answered(seen: dict[str, Any]) -> bool:
        return seen[task] == "awaiting_input" or "failed" in seen.values()

    until = time.monotonic() + 420
    while not answered(states := airflow.states(dag, run_id)):
        assert time.monotonic() < until, states
        time.sleep(1)
    assert states[task] == "awaiting_input", states
