"""Serve the HTML pages of api/pages, each with a Content-Security-Policy that allows only its own script and style."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

PAGES = Path(__file__).resolve().parents[1] / "pages"


def add_page(app: FastAPI, path: str, name: str) -> None:
    """Serve the page `name` at `path`."""
    page = (PAGES / name).read_text()
    policy = content_security_policy(page)

    @app.get(path, include_in_schema=False)
    async def html() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def content_security_policy(page: str) -> str:
    """Return a policy that names the page's script and style by their hashes and allows nothing from other hosts."""
    return (
        f"default-src 'none'; script-src {_hashes(page, 'script')}; style-src {_hashes(page, 'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(page: str, tag: str) -> str:
    elements: list[str] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in elements]
    return " ".join(f"'sha256-{digest}'" for digest in digests)
