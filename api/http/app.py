"""Assemble the application: FastAPI with its routes and pages, behind the gateway that scores baskets."""

from api.http import routes
from api.http.auth import Keys
from api.http.gateway import Gateway
from api.http.openapi import DocumentedApp
from api.http.pages import add_page
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics

DESCRIPTION = """Predicts how price-sensitive the shopper of a basket is: Low, Medium or High; Unclassified when no
product of the basket is known. A person approved the model that answers, and every byte of it is verified."""


def create_app(state: State, log: Log, metrics: Metrics, keys: Keys | None = None) -> Gateway:
    """Return the ASGI application. The loader fills `state`; until then, scoring and /ready answer 503."""
    keys = keys or Keys(state.config)
    docs = state.config.docs
    app = DocumentedApp(
        title="Retail price sensitivity",
        version=state.config.model_version,
        description=DESCRIPTION,
        openapi_url="/openapi.json" if docs else None,
        docs_url=None,  # FastAPI's own page loads its scripts from the Internet
        redoc_url=None,
    )
    app.key_required = keys.required
    routes.add_probes(app, state)
    routes.add_model(app, state)
    routes.add_products(app, state)
    routes.add_metrics(app, metrics)
    add_page(app, "/", "index.html")
    if docs:
        add_page(app, "/docs", "docs.html")
    paths = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    return Gateway(state, log, metrics, keys, app, paths)
