"""The lake's keys are a contract: other programs, roles and life-cycle rules spell them out."""

import datetime as dt

import pytest

from include import lake

KEYS = {
    lake.raw("200607"): "raw/shop_week=200607/transactions.csv.gz",
    lake.raw("200607", gzipped=False): "raw/shop_week=200607/transactions.csv",
    lake.raw_prefix("200607"): "raw/shop_week=200607/",
    lake.silver("200607"): "silver/shop_week=200607/part-0.parquet",
    lake.silver("200607", "_quality.json"): "silver/shop_week=200607/_quality.json",
    lake.gold("train", "200607"): "gold/split=train/shop_week=200607/part-0.parquet",
    lake.gold_products("200607"): "gold/_products/shop_week=200607/part-0.parquet",
    lake.gold_manifest("200607"): "gold/_manifest/200607.json",
    lake.model("fit-1"): "artifacts/training/fit-1/output/model.tar.gz",
    lake.evaluation("evaluate-1", "evaluation.json"): "artifacts/evaluation/evaluate-1/evaluation.json",
    lake.evaluation("evaluate-1"): "artifacts/evaluation/evaluate-1/",
    lake.release_model("r-1"): "artifacts/releases/r-1/model.tar.gz",
    lake.deployment("r-1"): "logs/deployments/r-1.json",
    lake.cost(dt.date(2026, 12, 1)): "logs/cost/2026-12-01.json",
    lake.staging("clean-1"): "tmp/clean-1/",
    lake.staging("build-1", "silver"): "tmp/build-1/silver/",
}


@pytest.mark.parametrize(("key", "expected"), KEYS.items(), ids=KEYS.values())
def test_keys_are_those_of_the_contract(key, expected):
    assert key == expected


@pytest.mark.parametrize("week", ["200600", "200654", "199907", "20067", "2006070", "", "abcdef", "200607\n"])
def test_what_is_no_shop_week_is_refused(week):
    with pytest.raises(ValueError, match="is not a shop week: six digits YYYYWW"):
        lake.raw(week)


@pytest.mark.parametrize("week", ["200601", "200653"])
def test_weeks_01_to_53_are_shop_weeks(week):
    assert lake.shop_week(week) == week


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'all' is not a split: one of train, validation, test"):
        lake.gold("all", "200607")
