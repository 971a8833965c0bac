"""The price table and the questions asked of it."""

import datetime as dt

import pytest
from pydantic import ValidationError

from include.costs import Kind, Prices, hourly, monthly, prices
from include.settings import REGION, Settings


def test_a_kind_billed_by_the_hour_costs_730_hours_a_month():
    assert hourly(Kind.EKS_CLUSTER) == 0.10
    assert monthly(Kind.EKS_CLUSTER) == pytest.approx(73)


def test_a_kind_billed_by_the_month_costs_a_730th_an_hour():
    assert monthly(Kind.EBS_GP3_GB, count=20) == pytest.approx(20 * 0.096)
    assert hourly(Kind.EBS_GP3_GB, count=730) == pytest.approx(0.096)


def test_a_detail_chooses_the_price_and_has_a_default_where_one_is_meant():
    assert hourly(Kind.EC2_INSTANCE, "t3.medium", 2) == pytest.approx(2 * 0.0528)
    assert monthly(Kind.S3_GB) == monthly(Kind.S3_GB, "STANDARD") > monthly(Kind.S3_GB, "GLACIER_IR")
    assert hourly(Kind.LOAD_BALANCER) == hourly(Kind.LOAD_BALANCER, "network")


def test_spot_is_cheaper_and_only_where_aws_sells_it():
    assert 0 < hourly(Kind.EC2_INSTANCE, "t3.medium", spot=True) < hourly(Kind.EC2_INSTANCE, "t3.medium")
    with pytest.raises(ValueError, match="eks_cluster is not sold on Spot"):
        hourly(Kind.EKS_CLUSTER, spot=True)


@pytest.mark.parametrize("detail", ["x9.huge", ""])
def test_an_unknown_instance_type_says_where_to_add_it(detail):
    with pytest.raises(
        ValueError, match=r"\[ec2_instance.usd\] in include/prices.toml from https://aws.amazon.com/ec2"
    ):
        hourly(Kind.EC2_INSTANCE, detail)


def test_free_things_cost_nothing():
    assert monthly(Kind.FREE, count=100) == 0


def test_the_table_says_where_and_when_it_is_from():
    table = prices()
    assert dt.date.fromisoformat(table.date) <= dt.date.today()
    assert table.region == REGION
    assert "Price List" in table.source
    assert all(group.page.host == "aws.amazon.com" for group in table.groups.values())


def test_every_default_of_the_settings_has_a_price():
    defaults = Settings()
    for instance in defaults.node_instance_types.split(","):
        assert hourly(Kind.EC2_INSTANCE, instance) > 0
    for instance in (defaults.training_instance, defaults.processing_instance):
        assert hourly(Kind.SAGEMAKER_INSTANCE, instance) > 0


def test_a_table_that_lacks_a_kind_is_refused():
    groups = prices().model_dump()["groups"]
    groups.pop(Kind.KMS_KEY)
    with pytest.raises(ValidationError, match="kms_key"):
        Prices(date="2026-01-01", region=REGION, source="test", groups=groups)


def test_a_table_of_another_region_is_refused():
    with pytest.raises(ValidationError, match="prices of us-east-1"):
        Prices(date="2026-01-01", region="us-east-1", source="test", groups=prices().model_dump()["groups"])


def test_an_unverified_entry_without_a_price_is_refused():
    groups = prices().model_dump()["groups"]
    groups[Kind.ALARM]["unverified"] = ["gone"]
    with pytest.raises(ValidationError, match="gone"):
        Prices(date="2026-01-01", region=REGION, source="test", groups=groups)
