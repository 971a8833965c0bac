"""The hyperparameters that a user may set. SageMaker passes the values as strings."""

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.train.errors import HyperparametersError


class Hyperparameters(BaseModel):
    """The hyperparameters of a training. Unknown names and values out of range are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: Annotated[int, Field(ge=1, le=1000, description="trees of the forest")] = 100
    min_samples_leaf: Annotated[int, Field(ge=1, le=1000, description="training baskets in a leaf, at least")] = 5
    max_features: Annotated[
        Literal["sqrt"] | Annotated[float, Field(gt=0, le=1)],
        Field(description="features tried at a split: sqrt, or a share of them"),
    ] = "sqrt"
    folds: Annotated[int, Field(ge=2, le=20, description="customer folds by which training baskets are encoded")] = 5
    iterations: Annotated[int, Field(ge=1, le=200, description="rounds of expectation-maximisation")] = 20
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="of the forest")] = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read SageMaker's hyperparameters.json; the defaults when there is no such file.

        HyperparametersError names what is wrong, and the known names."""
        if not path.exists():
            return cls()
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
            known = ", ".join(cls.model_fields)
            raise HyperparametersError(
                f"{path.name}: {wrong}. Known hyperparameters: {known}. Correct it and train again"
            ) from error
        except ValueError as error:
            raise HyperparametersError(f"{path} is not JSON ({error}): write an object of names and values") from error
