"""A large batch does not block small requests."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.api.conftest import Served
from tests.api.tiny import basket


async def call(app: Any, path: str, content: dict[str, Any], done: list[str]) -> int:
    """Send a request to an ASGI application; add its path to `done` when it is answered."""
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
    done.append(path)
    return statuses[0]


def test_small_requests_are_answered_during_a_large_batch(serve: Callable[..., Served]) -> None:
    app, done = serve().client.app, []
    batch = {"baskets": [basket(seed, lines=40) for seed in range(1000)]}

    async def both() -> list[int]:
        big = asyncio.create_task(call(app, "/predict/batch", batch, done))
        await asyncio.sleep(0)
        small = [call(app, "/predict", basket(1), done) for _ in range(5)]
        return await asyncio.gather(big, *small)

    assert set(asyncio.run(both())) == {200}
    assert done == ["/predict"] * 5 + ["/predict/batch"]
