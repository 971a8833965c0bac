"""Each route: its answer and its refusals."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api.http.body import MAX_BATCH_BYTES, MAX_PREDICT_BYTES
from include.baskets.bundle import Bundle
from tests.api.conftest import Served
from tests.api.tiny import basket

KEY = "a-key-of-sixteen-characters"


def change(**fields: Any) -> dict[str, Any]:
    return basket(1) | fields


def line(**fields: Any) -> dict[str, Any]:
    return change(lines=[{"PROD_CODE": "PRD0000001", "QUANTITY": 1, "SPEND": 1.0} | fields])


# --- /predict ---


def test_basket_is_scored(served: Served) -> None:
    answer = served.client.post("/predict", json=basket(1))

    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["X-Model-Version"] == body["model_version"] == "3"
    assert body["confidence"] == max(body["probability"].values()) == body["probability"][body["prediction"]]
    assert sum(body["probability"].values()) == pytest.approx(1, abs=1e-5)
    assert body["known_lines"] >= 1


def test_unknown_products_are_unclassified(served: Served) -> None:
    body = served.client.post("/predict", json=basket(1, known=False)).json()

    assert (body["prediction"], body["known_lines"]) == ("Unclassified", 0)


def test_largest_basket_is_scored(served: Served) -> None:
    assert served.client.post("/predict", json=basket(1, lines=500)).status_code == 200


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (change(SHOP_WEEKDAY=0), ["SHOP_WEEKDAY"]),
        (change(SHOP_WEEKDAY=8), ["SHOP_WEEKDAY"]),
        (change(SHOP_WEEKDAY="5"), ["SHOP_WEEKDAY"]),
        (change(SHOP_WEEKDAY=True), ["SHOP_WEEKDAY"]),
        (change(SHOP_HOUR=24), ["SHOP_HOUR"]),
        (change(SHOP_HOUR=-1), ["SHOP_HOUR"]),
        (change(STORE_FORMAT="XXL"), ["STORE_FORMAT"]),
        (change(STORE_REGION="e01"), ["STORE_REGION"]),
        (change(STORE_REGION="E01\n"), ["STORE_REGION"]),
        (change(lines=[]), ["lines"]),
        (change(lines=basket(1, lines=500)["lines"] * 2), ["lines"]),
        (change(lines=None), ["lines"]),
        (line(PROD_CODE=""), ["lines", 0, "PROD_CODE"]),
        (line(PROD_CODE="P" * 33), ["lines", 0, "PROD_CODE"]),
        (line(PROD_CODE=7), ["lines", 0, "PROD_CODE"]),
        (line(QUANTITY=0), ["lines", 0, "QUANTITY"]),
        (line(QUANTITY=1_000_001), ["lines", 0, "QUANTITY"]),
        (line(QUANTITY=1.5), ["lines", 0, "QUANTITY"]),
        (line(QUANTITY=10**400), ["lines", 0, "QUANTITY"]),
        (line(SPEND=-0.01), ["lines", 0, "SPEND"]),
        (line(SPEND=1_000_000.01), ["lines", 0, "SPEND"]),
        (line(SPEND="1"), ["lines", 0, "SPEND"]),
        (line(DISCOUNT=1), ["lines", 0]),
        (change(CUST_CODE="CUST0000000001"), []),
        ([], []),
    ],
    ids=str,
)
def test_invalid_basket_is_refused_with_the_path(served: Served, content: Any, where: list[Any]) -> None:
    answer = served.client.post("/predict", content=json.dumps(content))

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", *where]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[" * 30_000,
        b'{"x":' + b"[" * 30_000,
        b"\x00",
        b"\xff\xfe",
        b'{"STORE_REGION":"\\ud800"}',
        json.dumps(line()).replace("1.0", "NaN").encode(),
        json.dumps(line()).replace("1.0", "Infinity").encode(),
        json.dumps(line()).replace("1.0", "1e999").encode(),
        json.dumps(line()).replace("PRD0000001", "\\u0000").encode()[:-1],
    ],
    ids=lambda content: repr(content[:30]),
)
def test_hostile_bytes_are_refused(served: Served, content: bytes) -> None:
    assert served.client.post("/predict", content=content).status_code == 422


def test_large_body_is_refused_and_the_connection_closed(served: Served) -> None:
    answer = served.client.post("/predict", content=b" " * (MAX_PREDICT_BYTES + 1))

    assert (answer.status_code, answer.headers["Connection"]) == (413, "close")


def test_large_body_without_a_length_is_refused(served: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b" " * 40_000
        yield b" " * 40_000

    answer = served.client.post("/predict", content=chunks())

    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_scoring_accepts_post_only(served: Served, method: str, path: str) -> None:
    answer = served.client.request(method, path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_nothing_is_scored_before_the_model_is_loaded(serve: Callable[..., Served]) -> None:
    answer = serve(loaded_bundle=None).client.post("/predict", json=basket(1))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


# --- /predict/batch ---


def test_batch_answers_equal_single_answers(served: Served) -> None:
    baskets = [basket(seed, known=seed % 7 != 0) for seed in range(300)]

    batch = served.client.post("/predict/batch", json={"baskets": baskets}).json()

    assert batch["count"] == 300
    assert batch["predictions"] == [served.client.post("/predict", json=single).json() for single in baskets]


def test_invalid_basket_of_a_batch_is_named(served: Served) -> None:
    baskets = [basket(seed) for seed in range(20)]
    baskets[17]["lines"][0]["SPEND"] = -1

    answer = served.client.post("/predict/batch", json={"baskets": baskets})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "baskets", 17, "lines", 0, "SPEND"]


@pytest.mark.parametrize(
    "content",
    [
        {"baskets": []},
        {"baskets": [basket(1)] * 1001},
        {"baskets": basket(1)},
        {"baskets": [None]},
        {"baskets": [basket(1)], "more": 1},
        {},
        [],
    ],
    ids=lambda content: str(content)[:40],
)
def test_invalid_batch_is_refused(served: Served, content: Any) -> None:
    answer = served.client.post("/predict/batch", content=json.dumps(content))

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


def test_largest_batch_is_scored(served: Served) -> None:
    answer = served.client.post("/predict/batch", json={"baskets": [basket(seed) for seed in range(1000)]})

    assert answer.json()["count"] == 1000


def test_large_batch_body_is_refused(served: Served) -> None:
    assert served.client.post("/predict/batch", content=b" " * (MAX_BATCH_BYTES + 1)).status_code == 413


# --- probes, model, metrics, page ---


def test_probes_of_a_loaded_process(served: Served) -> None:
    assert served.client.get("/health").json() == {"status": "alive", "release": "r-1"}
    assert served.client.get("/ready").json() == {"status": "ready", "reason": "ready"}


def test_probes_before_the_model_is_loaded(serve: Callable[..., Served]) -> None:
    client = serve(loaded_bundle=None).client

    assert client.get("/health").status_code == 200
    assert (client.get("/ready").status_code, client.get("/model").status_code) == (503, 503)


def test_draining_process_is_unready(served: Served) -> None:
    served.state.draining = True

    answer = served.client.post("/predict", json=basket(1))
    assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
    assert served.client.get("/ready").json()["reason"] == "draining"


def test_model_shows_its_approval_and_metrics(served: Served) -> None:
    model = served.client.get("/model").json()

    assert model["approval_status"] == "Approved"
    assert model["approved_by"] == "approved by a person"
    assert model["metrics"] == {"accuracy": 0.99, "macro_f1": 0.98}
    assert model["bundle_digest"] == served.state.config.bundle_digest


def test_metrics_have_no_label_from_a_request_path(served: Served) -> None:
    served.client.post("/predict", json=basket(1))
    served.client.get("/a/path/that/does/not/exist")

    text = served.client.get("/metrics").text
    assert 'retail_api_requests_total{route="/predict",status="200"} 1.0' in text
    assert 'route="other",status="404"' in text
    assert "/a/path" not in text


def test_products_show_the_models_affinities(served: Served, loaded: Bundle) -> None:
    frequent = served.client.get("/products").json()["products"]
    counts = [product["baskets"] for product in frequent]
    assert counts == sorted(counts, reverse=True)
    assert all(product["known"] for product in frequent)

    codes = {"code": [frequent[0]["code"], "NEVER SEEN"]}
    known, unknown = served.client.get("/products", params=codes).json()["products"]
    assert known == frequent[0]
    assert (unknown["known"], unknown["baskets"]) == (False, 0)
    for product in (known, unknown):
        assert list(product["affinity"]) == ["Low", "Medium", "High"]
        assert 0 < sum(product["affinity"].values()) <= 1 + 1e-9
    row = list(loaded.table.codes).index(known["code"])
    assert list(known["affinity"].values()) == loaded.table.beliefs[row].tolist()


def test_products_require_a_key_a_model_and_valid_codes(serve: Callable[..., Served]) -> None:
    assert serve(API_KEY="a-key-of-sixteen-characters").client.get("/products").status_code == 401
    assert serve(None).client.get("/products").status_code == 503
    assert serve().client.get("/products", params={"code": "x" * 33}).status_code == 422


@pytest.mark.parametrize(("path", "title"), [("/", "Retail price sensitivity"), ("/docs", "API: retail price sens")])
def test_page_allows_only_its_own_script_and_style(served: Served, path: str, title: str) -> None:
    page = served.client.get(path)

    assert page.status_code == 200
    assert f"<title>{title}" in page.text
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    for tag in ("script", "style"):
        [content] = re.findall(f"<{tag}.*?>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_unknown_paths_and_methods_answer_json(served: Served) -> None:
    assert served.client.get("/nowhere").json() == {"detail": "Not Found"}
    assert served.client.post("/health").status_code == 405


def test_docs_can_be_switched_off(serve: Callable[..., Served]) -> None:
    client = serve(DOCS="false").client

    assert {client.get(path).status_code for path in ("/docs", "/openapi.json")} == {404}


def test_every_answer_has_the_common_headers(served: Served) -> None:
    for path in ("/", "/health", "/nowhere", "/predict"):
        headers = served.client.get(path).headers
        assert headers["X-Model-Version"] == "3"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Request-ID"]
        assert "server" not in headers


def test_safe_request_id_is_kept_and_unsafe_one_replaced(served: Served) -> None:
    kept = served.client.get("/health", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"]
    replaced = served.client.get("/health", headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"]

    assert kept == "abc-1"
    assert replaced != "a b\tc"


# --- key ---


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_scoring_requires_the_key(serve: Callable[..., Served], path: str) -> None:
    client = serve(API_KEY=KEY).client
    content = basket(1) if path == "/predict" else {"baskets": [basket(1)]}

    assert client.post(path, json=content).status_code == 401
    assert client.post(path, json=content, headers={"X-API-Key": KEY + "x"}).status_code == 401
    assert client.post(path, json=content, headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize("path", ["/model", "/metrics"])
def test_guarded_routes_require_the_key(serve: Callable[..., Served], path: str) -> None:
    client = serve(API_KEY=KEY).client

    assert client.get(path).status_code == 401
    assert client.get(path, headers={"X-API-Key": KEY}).status_code == 200


def test_probes_require_no_key(serve: Callable[..., Served]) -> None:
    client = serve(API_KEY=KEY).client

    assert (client.get("/health").status_code, client.get("/ready").status_code) == (200, 200)


# --- internal errors ---


def test_internal_error_of_scoring_shows_no_traceback(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a secret path /srv/model")

    monkeypatch.setattr(Bundle, "predict_few", broken)
    answer = served.client.post("/predict", json=basket(1))

    assert answer.status_code == 500
    assert "secret" not in answer.text
    failure = next(entry for entry in served.lines if entry["event"] == "failure")
    assert failure["id"] == answer.headers["X-Request-ID"]
    assert "a secret path" in failure["traceback"]


def test_internal_error_of_a_route_shows_no_traceback(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> bytes:
        raise RuntimeError("a secret")

    monkeypatch.setattr(type(served.metrics), "text", broken)
    answer = served.client.get("/metrics")

    assert answer.status_code == 500
    assert "secret" not in answer.text
