"""The two pages of the API."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect


@pytest.fixture
def endpoint(demo: dict[str, Any]) -> str:
    return demo["endpoint"]


def test_the_front_page_names_the_model_and_scores_a_basket(page: Page, endpoint: str) -> None:
    page.goto(endpoint)
    expect(page.locator("#model")).to_contain_text("Approved by")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text('"prediction": ')


def test_the_front_page_says_what_is_wrong_with_a_basket(page: Page, endpoint: str) -> None:
    page.goto(endpoint)
    page.get_by_label("Basket").fill('{"SHOP_WEEKDAY": 9}')
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("SHOP_WEEKDAY")


def test_the_documentation_needs_nothing_from_the_internet(page: Page, endpoint: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{endpoint}/docs")
    expect(page.get_by_role("heading", name="/predict/batch")).to_be_visible()
    assert asked
    assert [url for url in asked if not url.startswith(endpoint)] == []
