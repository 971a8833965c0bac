"""Whether a week is built, and what its publication copies, in which order."""

from fnmatch import fnmatch
from types import SimpleNamespace

import pytest

from include import lake
from retail_mlops.common.errors import RetailError
from retail_mlops.common.job_requests import key as lake_key
from retail_mlops.common.names import job_name
from retail_mlops.etl import tasks as etl
from retail_mlops.etl.tasks import publication, raw_key, reason_to_run
from retail_mlops.etl.timetable import ShopWeekError

RAW = "raw/shop_week=200607/transactions.csv.gz"
MANIFEST = {"inputs": {RAW: "a" * 64}}


@pytest.mark.parametrize("name", ["transactions.csv", "transactions.csv.gz"])
def test_raw_file_is_found_gzipped_or_not(name):
    key = f"raw/shop_week=200607/{name}"
    assert raw_key("200607", [f"{key}.part", key]) == key


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([], "found neither"),
        ([RAW, RAW.removesuffix(".gz")], r"found raw/.*, raw/"),
        (["raw/shop_week=200607/data.csv"], "has raw/shop_week=200607/data.csv"),
    ],
)
def test_no_file_or_two_are_refused(keys, text):
    with pytest.raises(RetailError, match=text):
        raw_key("200607", keys)


def reason(manifest=MANIFEST, digest="a" * 64, accept_new_raw=False, force=False):
    return reason_to_run(manifest, RAW, digest, accept_new_raw, force)


def test_first_time_is_built():
    assert "no gold yet" in reason(manifest=None)


def test_same_file_is_not_built_again():
    assert reason() is None


def test_same_file_is_built_again_by_force():
    assert "force" in reason(force=True)


def test_accepting_new_files_does_not_build_the_same_one_again():
    assert reason(accept_new_raw=True) is None


@pytest.mark.parametrize("force", [False, True])
def test_replaced_file_is_refused_and_the_text_says_the_way_out(force):
    with pytest.raises(RetailError, match=r'Raw files are immutable.*conf \{"accept_new_raw": true\}'):
        reason(digest="b" * 64, force=force)


def test_replaced_file_is_built_when_meant():
    assert "accepted" in reason(digest="b" * 64, accept_new_raw=True)


CLEANED = ["tmp/j/silver/_quality.json", "tmp/j/silver/part-0.parquet"]
SPLIT = [
    "tmp/j/gold/_manifest/200607.json",
    "tmp/j/gold/_products/shop_week=200607/part-0.parquet",
    *(f"tmp/j/gold/split={name}/shop_week=200607/part-0.parquet" for name in lake.SPLITS),
]


def test_publication_copies_everything_and_the_manifest_last():
    copies = publication("200607", CLEANED, SPLIT, "j")

    assert len(copies) == 7
    assert copies[-1] == ("tmp/j/gold/_manifest/200607.json", "gold/_manifest/200607.json")
    assert ("tmp/j/silver/_quality.json", "silver/shop_week=200607/_quality.json") in copies
    assert ("tmp/j/gold/split=test/shop_week=200607/part-0.parquet", lake.gold("test", "200607")) in copies


@pytest.mark.parametrize("lost", range(5))
def test_incomplete_output_is_not_published(lost):
    with pytest.raises(RetailError, match="did not write gold/"):
        publication("200607", CLEANED, SPLIT[:lost] + SPLIT[lost + 1 :], "j")


def test_output_without_silver_is_not_published():
    with pytest.raises(RetailError, match="did not write silver/"):
        publication("200607", CLEANED[:1], SPLIT, "j")


class Lake:
    """A lake of documents in memory; counts what is written."""

    def __init__(self, documents):
        self.documents, self.copied, self.removed = documents, [], []

    def keys(self, prefix):
        return sorted(key for key in self.documents if key.startswith(prefix))

    def document(self, key):
        return self.documents.get(key)

    def copy(self, source, target):
        self.copied.append(target)

    def remove(self, keys):
        self.removed += keys


def staged(**published):
    new = {"shop_week": "200607", "rows": 2, "baskets": 1, "counts": {}}
    return Lake({**dict.fromkeys(CLEANED + SPLIT, new), **published})


def test_changed_week_is_published_with_its_manifest_last(monkeypatch):
    lake_ = staged(**{"gold/_manifest/200607.json": {"rows": 1}, "silver/shop_week=200607/_rejected.parquet": {}})
    monkeypatch.setattr(etl, "LakeHook", lambda: lake_)

    assert etl.publish("j")["rows"] == 2

    assert lake_.copied[-1] == "gold/_manifest/200607.json"
    assert lake_.removed == ["silver/shop_week=200607/_rejected.parquet"]


def test_unchanged_week_writes_nothing(monkeypatch):
    lake_ = staged()
    lake_.documents["gold/_manifest/200607.json"] = lake_.documents["tmp/j/gold/_manifest/200607.json"]
    monkeypatch.setattr(etl, "LakeHook", lambda: lake_)

    etl.publish("j")

    assert (lake_.copied, lake_.removed) == ([], [])


def of_week(key):
    """A task's context, of a run with this partition key."""
    return {"dag_run": SimpleNamespace(partition_key=key)}


@pytest.fixture(autouse=True)
def context(monkeypatch):
    monkeypatch.setattr(etl, "get_current_context", lambda: of_week("200607"))


@pytest.mark.parametrize("key", [None, ""])
def test_run_without_partition_key_is_refused(key):
    with pytest.raises(RetailError, match="no partition key"):
        etl.shop_week(of_week(key))


def test_run_without_partition_key_is_refused_before_it_waits_for_a_file():
    with pytest.raises(RetailError, match="no partition key"):
        etl.raw_pattern(of_week(None))


def test_week_outside_the_calendar_is_refused():
    with pytest.raises(ShopWeekError, match="no shop week 200653"):
        etl.raw_pattern(of_week("200653"))


def test_file_is_awaited_gzipped_or_not():
    pattern = etl.raw_pattern(of_week("200607"))
    assert [fnmatch(lake.raw("200607", gzipped), pattern) for gzipped in (True, False)] == [True, True]
    assert not fnmatch(lake.raw("200608"), pattern)


def test_one_job_stages_silver_and_gold():
    ti = SimpleNamespace(
        dag_id="etl",
        run_id="r",
        task_id="build",
        try_number=1,
        xcom_pull=lambda task_ids, **_: {"plan": "image@sha256:1"}[task_ids],
    )
    request = etl.build_request(of_week("200607") | {"ti": ti})

    assert request["AppSpecification"]["ImageUri"] == "image@sha256:1"
    assert request["AppSpecification"]["ContainerArguments"] == ["build", "--shop-week", "200607"]
    outputs = {one["OutputName"]: one["S3Output"] for one in request["ProcessingOutputConfig"]["Outputs"]}
    name = job_name(ti)
    assert {layer: lake_key(output["S3Uri"]) for layer, output in outputs.items()} == {
        "silver": lake.staging(name, "silver"),
        "gold": lake.staging(name, "gold"),
    }
    assert outputs["gold"]["LocalPath"] == "/opt/ml/processing/output/gold"
