"""The two pages of the API."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect


@pytest.fixture
def endpoint(demo: dict[str, Any]) -> str:
    return demo["endpoint"]


def test_the_front_page_names_the_model_and_scores_a_basket(page: Page, endpoint: str) -> None:
    page.goto(endpoint)
    expect(page.locator("#model")).to_contain_text("Approved by")
    expect(page.get_by_label("Product 3")).not_to_have_value("")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#prediction")).to_have_text(re.compile("^(Low|Medium|High)$"))
    expect(page.locator("#known")).to_contain_text("3 of 3 lines")


def test_a_basket_is_built_with_the_keyboard_alone(page: Page, endpoint: str) -> None:
    page.goto(endpoint)
    expect(page.locator("#lines meter").last).to_be_visible()
    page.get_by_role("button", name="Add a product").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("NO SUCH PRODUCT")
    page.keyboard.press("Tab")
    page.keyboard.type("2")
    expect(page.locator("#lines tr").last).to_contain_text("not known to the model")
    page.keyboard.press("Enter")
    expect(page.locator("#known")).to_contain_text("3 of 4 lines")


def test_the_front_page_says_what_is_wrong_with_a_basket(page: Page, endpoint: str) -> None:
    page.goto(endpoint)
    for _ in range(3):
        page.get_by_role("button", name="Remove").first.click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#problem")).to_contain_text("lines")


def test_the_documentation_needs_nothing_from_the_internet(page: Page, endpoint: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{endpoint}/docs")
    expect(page.get_by_role("heading", name="/predict/batch")).to_be_visible()
    assert asked
    assert [url for url in asked if not url.startswith(endpoint)] == []
