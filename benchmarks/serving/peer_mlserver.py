"""MLServer: a model with a custom handler, which accepts the same bodies as the API."""

import sys
from typing import Any

from mlserver import MLModel
from mlserver.cli import main
from mlserver.handlers import custom_handler

from benchmarks.serving.forest import Forest


class Basket(MLModel):
    async def load(self) -> bool:
        self._forest = Forest()
        return True

    @custom_handler(rest_path="/predict")
    async def answer(self, basket: dict[str, Any]) -> dict[str, Any]:
        return self._forest.predict(basket)


if __name__ == "__main__":
    sys.argv = ["mlserver", "start", sys.argv[1]]
    main()
