"""The OpenAPI document: complete, and true for fuzzed requests."""

from collections.abc import Callable
from typing import Any

from tests.api.conftest import Served

KEY = "a-key-of-sixteen-characters"
EXAMPLES = 60


def test_every_route_is_described(served: Served) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]

    assert set(paths) == {"/predict", "/predict/batch", "/health", "/ready", "/model", "/products", "/metrics"}
    for path, methods in paths.items():
        for operation in methods.values():
            assert operation["summary"], path


def test_described_examples_are_accepted(served: Served) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]

    for path in ("/predict", "/predict/batch"):
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert served.client.post(path, json=example).status_code == 200


def test_limits_are_described(served: Served) -> None:
    schemas = served.client.get("/openapi.json").json()["components"]["schemas"]

    assert schemas["Basket"]["additionalProperties"] is False
    assert schemas["Basket"]["properties"]["lines"]["maxItems"] == 500
    assert schemas["Batch"]["properties"]["baskets"]["maxItems"] == 1000
    assert schemas["Line"]["properties"]["SPEND"]["maximum"] == 1_000_000


def test_api_key_is_described_when_required(serve: Callable[..., Served]) -> None:
    document = serve(API_KEY=KEY).client.get("/openapi.json").json()

    assert document["paths"]["/predict"]["post"]["security"] == [{"ApiKey": []}]
    assert "401" in document["paths"]["/predict"]["post"]["responses"]


def test_fuzzed_requests_are_answered_as_described(served: Served) -> None:
    # here, so that a worker that does not run this test does not import them: a second of CPU
    import hypothesis
    import schemathesis
    from hypothesis import strategies
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_asgi("/openapi.json", served.client.app)
    tried: list[int] = []

    for result in schema.get_all_operations():
        operation = result.ok()
        cases = strategies.one_of(operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode)

        @hypothesis.settings(
            max_examples=EXAMPLES if operation.method == "post" else 5,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=cases)
        def answers_as_described(case: Any) -> None:
            response = case.call()
            tried.append(response.status_code)
            # JSON Schema accepts 119.0 as an integer; the API does not, and OpenAPI cannot express that
            spelt_as_float = "Expected `int`, got `float`" in response.text
            case.validate_response(response, excluded_checks=[positive_data_acceptance] if spelt_as_float else None)

        answers_as_described()

    assert {200, 422} <= set(tried)
    assert len(tried) > EXAMPLES
