"""The application: the pages and probes that FastAPI serves, behind the gateway that scores."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.http.auth import Keys
from api.http.gateway import Gateway
from api.http.openapi import DocumentedApp
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets.schema import LABELS, MAX_LINES

FREQUENT = 30
PAGES = Path(__file__).resolve().parents[1] / "pages"
Code = Annotated[str, StringConstraints(min_length=1, max_length=32)]
DESCRIPTION = """Predicts how price-sensitive the shopper behind a basket is: Low, Medium or High; Unclassified when no
product of the basket is known. The model that answers was approved by a person and is verified byte by byte."""


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


def create_app(state: State, log: Log, metrics: Metrics, keys: Keys | None = None) -> Gateway:
    """The ASGI application. The loader fills `state`; until then scoring and /ready answer 503."""
    docs, keys = state.config.docs, keys or Keys(state.config)
    app = DocumentedApp(
        title="Retail price sensitivity",
        version=state.config.model_version,
        description=DESCRIPTION,
        openapi_url="/openapi.json" if docs else None,
        docs_url=None,  # FastAPI's own page fetches its scripts from the internet
        redoc_url=None,
    )
    app.keyed = keys.wanted
    _add_probes(app, state)
    _add_model(app, state)
    _add_products(app, state)
    _add_metrics(app, metrics)
    _add_page(app, "/", "index.html")
    if docs:
        _add_page(app, "/docs", "docs.html")
    routes = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    return Gateway(state, log, metrics, keys, app, routes)


def _add_probes(app: FastAPI, state: State) -> None:
    @app.get("/health", tags=["probes"], summary="Is the process alive")
    async def health() -> Health:
        return Health(status="alive", release=state.config.release_id)

    @app.get(
        "/ready",
        tags=["probes"],
        summary="May it get traffic: the bundle is loaded and verified, and the process is not leaving",
        response_model=Readiness,
        responses={503: {"model": Readiness}},
    )
    async def ready() -> Response:
        reason = "draining" if state.draining else state.reason
        body = Readiness(status="ready" if state.ready else "not ready", reason=reason)
        return JSONResponse(body.model_dump(), 200 if state.ready else 503)


def _add_model(app: FastAPI, state: State) -> None:
    @app.get(
        "/model",
        tags=["model"],
        summary="Which model answers, how good it was on its test, who approved it",
        response_model=Model,
        responses={503: {"model": Problem}},
    )
    async def model() -> Response:
        package = state.package
        if package is None:
            return JSONResponse({"detail": f"no model is loaded yet: {state.reason}"}, 503)
        facts = Model(
            model_package_arn=package.arn,
            model_version=state.config.model_version,
            release=state.config.release_id,
            bundle_digest=state.config.bundle_digest,
            approval_status=package.status,
            approved_by=package.approval,
            created=package.created,
            metrics=_metrics(package.metadata),
            metadata=package.metadata,
        )
        return JSONResponse(facts.model_dump())


def _add_products(app: FastAPI, state: State) -> None:
    @app.get(
        "/products",
        tags=["model"],
        summary="What the model learned of products: how a product leans towards Low, Medium or High",
        description=f"""`affinity` is what the model believes of the product's hidden class: P(Low), P(Medium), P(High).
            What is missing to 1 is the probability that it does not count. It was learned from baskets; it is no claim
            about causes. Without a code: the {FREQUENT} most frequent products of the training.""",
        response_model=Products,
        responses={503: {"model": Problem}},
    )
    async def products(code: Annotated[list[Code], Query(default_factory=list, max_length=MAX_LINES)]) -> Response:
        if state.bundle is None:
            return JSONResponse({"detail": f"no model is loaded yet: {state.reason}"}, 503)
        table = state.bundle.table
        found = [(one, *table.belief(one)) for one in code or table.most_frequent(FREQUENT)]
        facts = Products(
            products=[
                Product(code=one, known=baskets > 0, baskets=baskets, affinity=dict(zip(LABELS, affinity, strict=True)))
                for one, baskets, affinity in found
            ]
        )
        return JSONResponse(facts.model_dump())


def _metrics(metadata: dict[str, str]) -> dict[str, float]:
    """The package's test figures, which SageMaker keeps as text."""
    found = {}
    for name in ("accuracy", "macro_f1"):
        try:
            found[name] = float(metadata[name])
        except (KeyError, ValueError):
            continue
    return found


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/metrics", tags=["probes"], summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _add_page(app: FastAPI, path: str, name: str) -> None:
    page = (PAGES / name).read_text()
    policy = _content_security_policy(page)

    @app.get(path, include_in_schema=False)
    async def html() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _content_security_policy(page: str) -> str:
    """Only the page's own script and style, each named by its hash; nothing from elsewhere."""

    def hashes(tag: str) -> str:
        found: list[Any] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
