"""What a user may turn when training; SageMaker hands the values over as strings."""

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.train.errors import HyperparametersError


class Hyperparameters(BaseModel):
    """Unknown names and values out of range are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(100, ge=1, le=1000, description="trees of the forest")
    min_samples_leaf: int = Field(5, ge=1, le=1000, description="training baskets in a leaf, at least")
    max_features: Literal["sqrt"] | Annotated[float, Field(gt=0, le=1)] = Field(
        "sqrt", description="features tried at a split: sqrt, or a share of them"
    )
    folds: int = Field(5, ge=2, le=20, description="customer folds by which training baskets are encoded")
    iterations: int = Field(20, ge=1, le=200, description="rounds of expectation-maximisation")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the forest")

    @classmethod
    def read(cls, path: Path) -> Self:
        """From SageMaker's hyperparameters.json; the defaults when there is no such file."""
        if not path.exists():
            return cls()
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
            known = ", ".join(cls.model_fields)
            raise HyperparametersError(f"{path.name}: {wrong}. Known hyperparameters: {known}") from error
        except ValueError as error:
            raise HyperparametersError(f"{path} is not JSON ({error}): write an object of names and values") from error
