"""The routes that FastAPI serves: probes, /model, /products, /metrics."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.model.state import State
from api.telemetry.metrics import Metrics
from include.baskets.schema import LABELS, MAX_LINES

FREQUENT_PRODUCTS = 30
Code = Annotated[str, StringConstraints(min_length=1, max_length=32)]


class Health(BaseModel):
    status: str
    release: str


class Readiness(BaseModel):
    status: str
    reason: str


class Model(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_package_arn: str
    model_version: str
    release: str
    bundle_digest: str
    approval_status: str
    approved_by: str
    created: str
    metrics: dict[str, float]
    metadata: dict[str, str]


class Product(BaseModel):
    code: str
    known: bool
    baskets: int
    affinity: dict[str, float]


class Products(BaseModel):
    products: list[Product]


class Problem(BaseModel):
    detail: str


def add_probes(app: FastAPI, state: State) -> None:
    """Add GET /health and GET /ready."""

    @app.get("/health", tags=["probes"], summary="Report that the process is alive")
    async def health() -> Health:
        return Health(status="alive", release=state.config.release_id)

    @app.get(
        "/ready",
        tags=["probes"],
        summary="Report whether traffic is welcome: the bundle is loaded and verified, and the process is not draining",
        response_model=Readiness,
        responses={503: {"model": Readiness}},
    )
    async def ready() -> Response:
        reason = "draining" if state.draining else state.reason
        body = Readiness(status="ready" if state.ready else "not ready", reason=reason)
        return JSONResponse(body.model_dump(), 200 if state.ready else 503)


def add_model(app: FastAPI, state: State) -> None:
    """Add GET /model."""

    @app.get(
        "/model",
        tags=["model"],
        summary="Describe the served model: its version, its test metrics, its approval",
        response_model=Model,
        responses={503: {"model": Problem}},
    )
    async def model() -> Response:
        package = state.package
        if package is None:
            return _not_loaded(state)
        body = Model(
            model_package_arn=package.arn,
            model_version=state.config.model_version,
            release=state.config.release_id,
            bundle_digest=state.config.bundle_digest,
            approval_status=package.status,
            approved_by=package.approval,
            created=package.created,
            metrics=_test_metrics(package.metadata),
            metadata=package.metadata,
        )
        return JSONResponse(body.model_dump())


def add_products(app: FastAPI, state: State) -> None:
    """Add GET /products."""

    @app.get(
        "/products",
        tags=["model"],
        summary="Show what the model learned about products: the affinity of each to Low, Medium and High",
        description=f"""`affinity` holds the probabilities of the product's hidden class: P(Low), P(Medium), P(High).
            They may add up to less than 1: the rest is the probability that the product does not count. The model
            learned them from baskets; they make no claim about causes.
            Without a code: the {FREQUENT_PRODUCTS} most frequent products of the training data.""",
        response_model=Products,
        responses={503: {"model": Problem}},
    )
    async def products(code: Annotated[list[Code], Query(default_factory=list, max_length=MAX_LINES)]) -> Response:
        if state.bundle is None:
            return _not_loaded(state)
        table = state.bundle.table
        body = Products(
            products=[_product(name, *table.belief(name)) for name in code or table.most_frequent(FREQUENT_PRODUCTS)]
        )
        return JSONResponse(body.model_dump())


def add_metrics(app: FastAPI, metrics: Metrics) -> None:
    """Add GET /metrics."""

    @app.get("/metrics", tags=["probes"], summary="Show Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _product(code: str, baskets: int, affinity: Sequence[float]) -> Product:
    return Product(code=code, known=baskets > 0, baskets=baskets, affinity=dict(zip(LABELS, affinity, strict=True)))


def _not_loaded(state: State) -> Response:
    return JSONResponse({"detail": f"the model is not loaded yet ({state.reason}): try again later"}, 503)


def _test_metrics(metadata: dict[str, str]) -> dict[str, float]:
    """Return the package's test metrics as numbers; SageMaker stores them as text."""
    metrics = {}
    for name in ("accuracy", "macro_f1"):
        try:
            metrics[name] = float(metadata[name])
        except (KeyError, ValueError):
            continue
    return metrics
