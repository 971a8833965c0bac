"""Documents the two scoring endpoints, which FastAPI does not route: schemas come from the very types they decode."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.body import BATCH_BYTES, PREDICT_BYTES
from api.http.endpoints import MAX_BASKETS, Answer, Batch, BatchAnswer
from include.baskets.schema import Basket

EXAMPLE = {
    "SHOP_WEEKDAY": 5,
    "SHOP_HOUR": 19,
    "STORE_FORMAT": "LS",
    "STORE_REGION": "E02",
    "lines": [{"PROD_CODE": "PRD0900033", "QUANTITY": 1, "SPEND": 0.93}],
}
_TEXT_ERROR = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
_FIELD_ERROR = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "loc", "msg"],
                "properties": {
                    "type": {"type": "string"},
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        }
    },
}
_KEY = {"ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}


class DocumentedApp(FastAPI):
    """FastAPI whose OpenAPI document also describes the gateway's endpoints."""

    keyed = False

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            document = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            document["paths"] |= scoring_paths(self.keyed)
            components = document.setdefault("components", {})
            _, schemas = msgspec.json.schema_components(
                [Basket, Batch, Answer, BatchAnswer], ref_template="#/components/schemas/{name}"
            )
            components.setdefault("schemas", {}).update(schemas)
            if self.keyed:
                components["securitySchemes"] = _KEY
            self.openapi_schema = document
        return self.openapi_schema


def scoring_paths(keyed: bool) -> dict[str, Any]:
    """OpenAPI path items of POST /predict and POST /predict/batch."""
    return {
        "/predict": {
            "post": _operation("predict", "Score one basket", "Basket", "Answer", PREDICT_BYTES, keyed, EXAMPLE)
        },
        "/predict/batch": {
            "post": _operation(
                "predict_batch",
                f"Score 1 to {MAX_BASKETS} baskets; one bad basket fails the call and is named",
                "Batch",
                "BatchAnswer",
                BATCH_BYTES,
                keyed,
                {"baskets": [EXAMPLE]},
            )
        },
    }


def _operation(
    name: str, summary: str, takes: str, gives: str, limit: int, keyed: bool, example: dict[str, Any]
) -> dict[str, Any]:
    responses = {
        "200": _response("the model's answer", {"$ref": f"#/components/schemas/{gives}"}),
        "413": _response(f"the body is larger than {limit} bytes", _TEXT_ERROR),
        "422": _response("what is wrong, and in which field", _FIELD_ERROR),
        "503": _response("no model is loaded yet, or too many requests at once: see Retry-After", _TEXT_ERROR),
    }
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "tags": ["scoring"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{takes}"}, "example": example}},
        },
        "responses": responses,
    }
    if keyed:
        responses["401"] = _response("the key is missing or wrong", _TEXT_ERROR)
        operation["security"] = [{"ApiKey": []}]
    return operation


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    headers = {"X-Model-Version": {"schema": {"type": "string"}, "description": "version of the model package"}}
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}
