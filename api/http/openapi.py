"""Describe the two scoring endpoints, which FastAPI does not route. Their schemas come from the types they decode."""

from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.body import MAX_BATCH_BYTES, MAX_PREDICT_BYTES
from api.http.scoring import MAX_BASKETS, Answer, Batch, BatchAnswer
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
_KEY_SCHEME = {"ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}


class DocumentedApp(FastAPI):
    """FastAPI whose OpenAPI document also describes the gateway's endpoints."""

    key_required = False

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; it is built once."""
        if not self.openapi_schema:
            document = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            document["paths"] |= scoring_paths(self.key_required)
            components = document.setdefault("components", {})
            _, schemas = msgspec.json.schema_components(
                [Basket, Batch, Answer, BatchAnswer], ref_template="#/components/schemas/{name}"
            )
            components.setdefault("schemas", {}).update(schemas)
            if self.key_required:
                components["securitySchemes"] = _KEY_SCHEME
            self.openapi_schema = document
        return self.openapi_schema


@dataclass(frozen=True)
class Operation:
    """A scoring endpoint. request, answer: names of schemas; max_bytes: of the body."""

    name: str
    summary: str
    request: str
    answer: str
    max_bytes: int
    example: dict[str, Any]


OPERATIONS = {
    "/predict": Operation("predict", "Score one basket", "Basket", "Answer", MAX_PREDICT_BYTES, EXAMPLE),
    "/predict/batch": Operation(
        "predict_batch",
        f"Score 1 to {MAX_BASKETS} baskets; an invalid basket fails the request, and the answer names it",
        "Batch",
        "BatchAnswer",
        MAX_BATCH_BYTES,
        {"baskets": [EXAMPLE]},
    ),
}


def scoring_paths(key_required: bool) -> dict[str, Any]:
    """Return the OpenAPI path items of POST /predict and POST /predict/batch."""
    return {path: {"post": _described(operation, key_required)} for path, operation in OPERATIONS.items()}


def _described(operation: Operation, key_required: bool) -> dict[str, Any]:
    schema = _reference(operation.request)
    responses = {
        "200": _response("the prediction", _reference(operation.answer)),
        "413": _response(f"the body is larger than {operation.max_bytes} bytes", _TEXT_ERROR),
        "422": _response("the body is invalid; `loc` is the path of the field", _FIELD_ERROR),
        "503": _response("the model is not loaded yet, or too many requests: see Retry-After", _TEXT_ERROR),
    }
    document: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": ["scoring"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": operation.example}},
        },
        "responses": responses,
    }
    if key_required:
        responses["401"] = _response("the key is missing or not valid", _TEXT_ERROR)
        document["security"] = [{"ApiKey": []}]
    return document


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    headers = {"X-Model-Version": {"schema": {"type": "string"}, "description": "version of the model package"}}
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}
