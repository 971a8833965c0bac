"""A real browser, signed in to the Airflow of a world in which the demo has run (LOCAL_STATE, or .local/)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from local import config
from local.airflow.api import Airflow, AirflowError
from local.airflow.environment import USER, load_secrets

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30_000
"""Milliseconds that a page may take: two cores may be shared with a training job."""


@pytest.fixture(scope="session")
def airflow() -> Airflow:
    """The REST API beside the browser: what a test waits for, and what a click has really done."""
    state = config.state_dir()
    if not (state / "demo.json").exists():
        pytest.fail(f"no finished demo in {state}: run `make demo`, then `make test-ui`", pytrace=False)
    client = Airflow(config.load(state))
    try:
        client.health()
    except AirflowError as error:
        pytest.fail(f"{error}; `make up` starts it again", pytrace=False)
    return client


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
    with browser.new_context(base_url=airflow.world.airflow_url, viewport={"width": 1400, "height": 1000}) as context:
        context.set_default_timeout(PATIENCE)
        opened = context.new_page()
        yield opened
        opened.screenshot(path=tmp_path / "last.png")


@pytest.fixture
def signed_in(page: Page, airflow: Airflow) -> Page:
    sign_in(page, load_secrets(airflow.world).password)
    page.get_by_text("Welcome", exact=True).wait_for()
    return page


def sign_in(page: Page, password: str) -> None:
    page.goto("/")
    page.locator("input[name=username]").fill(USER)
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").click()
