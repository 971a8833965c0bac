"""Off for the night and on again, by a person's clicks."""

import urllib.error
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cli.airflow_client import Airflow
from tests.ui.conftest import open_form, show_log, submit

pytestmark = pytest.mark.timeout(600)


def release(demo: dict[str, Any]) -> str:
    with urllib.request.urlopen(demo["endpoint"] + "/ready", timeout=20) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(demo["endpoint"] + "/health", timeout=20) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def before(demo: dict[str, Any]) -> str:
    return release(demo)


def test_scale_down_leaves_no_node_and_no_endpoint(
    signed_in: Page, airflow: Airflow, demo: dict[str, Any], before: str
) -> None:
    run = submit(signed_in, open_form(signed_in, "scale_down"), "scale_down")
    assert airflow.wait("scale_down", run, timeout=300)["state"] == "success"
    show_log(signed_in, "scale_down", run, "verify_stopped")
    expect(signed_in.get_by_text("no node, no instance and no load balancer is left").first).to_be_visible()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(demo["endpoint"] + "/ready", timeout=5)


def test_scale_up_brings_the_same_release_back(
    signed_in: Page, airflow: Airflow, demo: dict[str, Any], before: str
) -> None:
    run = submit(signed_in, open_form(signed_in, "scale_up"), "scale_up")
    assert airflow.wait("scale_up", run, timeout=300)["state"] == "success"
    assert release(demo) == before
