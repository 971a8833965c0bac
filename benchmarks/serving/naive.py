"""A straightforward service: FastAPI, pydantic, pandas, scikit-learn."""

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.forest import Forest

app = FastAPI()
forest = Forest()


class Line(BaseModel):
    PROD_CODE: str
    QUANTITY: int
    SPEND: float


class Basket(BaseModel):
    SHOP_WEEKDAY: int
    SHOP_HOUR: int
    STORE_FORMAT: str
    STORE_REGION: str
    lines: list[Line]


class Answer(BaseModel):
    prediction: str
    probability: dict[str, float]
    confidence: float
    known_lines: int
    model_version: str


@app.post("/predict")
async def predict(basket: Basket) -> Answer:
    return Answer(**forest.predict(basket.model_dump()))
