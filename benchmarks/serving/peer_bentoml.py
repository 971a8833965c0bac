"""BentoML: a service with one worker that accepts the same bodies as the API."""

from typing import Any

import bentoml

from benchmarks.serving.forest import Forest


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Basket:
    def __init__(self) -> None:
        self._forest = Forest()

    @bentoml.api
    def predict(
        self,
        SHOP_WEEKDAY: int,  # noqa: N803
        SHOP_HOUR: int,  # noqa: N803
        STORE_FORMAT: str,  # noqa: N803
        STORE_REGION: str,  # noqa: N803
        lines: list[dict[str, Any]],
    ) -> dict[str, Any]:
        return self._forest.predict(
            {
                "SHOP_WEEKDAY": SHOP_WEEKDAY,
                "SHOP_HOUR": SHOP_HOUR,
                "STORE_FORMAT": STORE_FORMAT,
                "STORE_REGION": STORE_REGION,
                "lines": lines,
            }
        )
