"""docs/costs.md is what the templates, the settings and the price table say."""

import subprocess
import sys

import pytest

from include import costs
from include.costs import HOURS_A_MONTH, Kind
from include.settings import settings
from tools.costs import __main__ as command
from tools.costs import page, resources, scenarios
from tools.costs.resources import Resource
from tools.costs.scenarios import Lives, Scenario

ROWS = {row.what: row for row in page.table()}


def by_scenario(what):
    return ROWS[what].usd


def test_the_page_in_the_repository_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "-m", "tools.costs", "--check"], cwd=resources.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_page_is_refused(tmp_path, monkeypatch):
    stale = tmp_path / "costs.md"
    stale.write_text(command.PAGE.read_text().replace("always on", "always off"))
    monkeypatch.setattr(command, "PAGE", stale)
    monkeypatch.setattr(sys, "argv", ["costs.py", "--check"])
    assert command.main() == 1


@pytest.mark.parametrize(("kind", "endpoints"), [("nlb", 7), ("alb", 8)])
def test_interface_endpoints_are_counted_in_each_zone_as_the_settings_make_them(monkeypatch, kind, endpoints):
    monkeypatch.setenv("RETAIL_ENDPOINT_KIND", kind)
    settings.cache_clear()
    rows = {row.what: row for row in page.table()}
    monkeypatch.undo()
    settings.cache_clear()
    expected = costs.monthly(Kind.INTERFACE_ENDPOINT, count=2 * endpoints)
    assert rows["interface endpoints"].usd[Scenario.ALWAYS] == pytest.approx(expected)
    assert f"load balancer ({kind.upper()})" in rows


def test_schedule_is_off_at_night_and_at_weekends():
    assert scenarios.hours_up_a_week() == 5 * 15


def test_nodes_are_paid_while_up_and_the_control_plane_until_teardown():
    nodes, plane = by_scenario("nodes t3.medium Spot"), by_scenario("EKS control plane")
    assert nodes[Scenario.SCHEDULE] / nodes[Scenario.ALWAYS] == pytest.approx(75 / 168)
    assert plane[Scenario.SCHEDULE] == plane[Scenario.ALWAYS] == pytest.approx(73)
    assert plane[Scenario.DEMO] == pytest.approx(3 * 0.10)


def test_nothing_is_paid_after_teardown_but_kept_data():
    assert sum(row.usd[Scenario.GONE] for row in ROWS.values()) == 0
    kept = {what for what, row in ROWS.items() if row.usd[Scenario.KEPT]}
    assert kept == {"lake, S3 Standard"}


def test_hours_of_each_scenario():
    paid = scenarios.hours_paid(Lives.DATA)
    assert [paid[scenario] for scenario in Scenario] == [HOURS_A_MONTH, HOURS_A_MONTH, 3, HOURS_A_MONTH, 0]


@pytest.mark.parametrize("type_name", ["AWS::RDS::DBInstance", "AWS::EC2::NatGateway"])
def test_a_resource_without_a_price_is_refused(monkeypatch, type_name):
    monkeypatch.setattr(resources, "resources", lambda: [Resource("lake", "Surprise", type_name, {})])
    with pytest.raises(ValueError, match=r"Surprise of infra/lake\.yaml"):
        resources.from_templates()


def test_a_condition_that_is_not_understood_is_refused():
    with pytest.raises(ValueError, match="extend _holds"):
        resources._holds({"Fn::Contains": []}, {})
