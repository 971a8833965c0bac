"""The API's answers equal the scores of the evaluation job: no skew between training and serving."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.scoring import Predict
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets import features
from include.baskets.bundle import Bundle
from include.baskets.schema import LABELS, STORE_FORMATS, STORE_REGIONS, UNCLASSIFIED, Basket, merge_lines
from tests.api.conftest import Release
from tests.api.tiny import PRODUCTS

NAMES = (*LABELS, UNCLASSIFIED)  # by the codes of Scores.classes
LINES = st.fixed_dictionaries(
    {
        "PROD_CODE": st.sampled_from([*PRODUCTS, "NEW1", "NEW2"]) | st.text(min_size=1, max_size=32),
        "QUANTITY": st.integers(1, 12) | st.integers(1, 1_000_000),
        "SPEND": st.integers(0, 2000).map(lambda pence: pence / 100) | st.floats(0, 1_000_000),
    }
)
BASKETS = st.fixed_dictionaries(
    {
        "SHOP_WEEKDAY": st.integers(1, 7),
        "SHOP_HOUR": st.integers(0, 23),
        "STORE_FORMAT": st.sampled_from(STORE_FORMATS),
        "STORE_REGION": st.sampled_from([*STORE_REGIONS, "Z99"]),
        "lines": st.lists(LINES, min_size=1, max_size=40),
    }
)


@pytest.fixture(scope="module")
def endpoint(release: Release) -> Predict:
    return Predict(State(release.config()), Log(), Metrics(), chance=lambda: 1.0)


@settings(max_examples=60, deadline=None)
@given(requests=st.lists(BASKETS, min_size=1, max_size=8))
def test_answers_equal_the_scores_of_the_evaluation_job(
    endpoint: Predict, loaded: Bundle, requests: list[dict[str, Any]]
) -> None:
    bodies = [json.dumps(request).encode() for request in requests]
    together = endpoint.answer_all(loaded, bodies, ["-"] * len(bodies))
    one_by_one = [endpoint.answer_all(loaded, [body], ["-"])[0] for body in bodies]

    baskets = [msgspec.convert(request, Basket) for request in requests]
    merged = [msgspec.structs.replace(basket, lines=merge_lines(basket.lines)) for basket in baskets]
    scores = loaded.score(features.columns_of(merged))
    class_mix = [loaded.baseline["classes"][label] for label in LABELS]
    assert together == one_by_one
    assert len(together) == len(requests)
    for row, answer in enumerate(map(json.loads, together)):
        assert answer["prediction"] == NAMES[scores.classes[row]]
        assert answer["known_lines"] == scores.known[row]
        probabilities = [answer["probability"][label] for label in LABELS]
        expected = class_mix if answer["prediction"] == UNCLASSIFIED else scores.probabilities[row]
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
