"""The two endpoints that score baskets, from bytes to bytes: one basket in plain Python, many in numpy by slices."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Annotated, Protocol

import msgspec

from api.errors import HttpError, invalid_body
from api.http import body
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets.bundle import Bundle, Prediction
from include.baskets.schema import Basket

MAX_BASKETS = 1000
SLICE_LINES = 1000  # lines scored between two looks at the other connections: about 2 ms
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Answer(msgspec.Struct):
    """What the model believes of one basket. `probability` sums to 1; Unclassified when no line's product is known."""

    prediction: str
    probability: dict[str, float]
    confidence: float
    known_lines: int
    model_version: str


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    baskets: Annotated[list[Basket], msgspec.Meta(min_length=1, max_length=MAX_BASKETS)]


class RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    """A batch whose baskets are still bytes, so that they can be validated in slices and named one by one."""

    baskets: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BASKETS)]


class BatchAnswer(msgspec.Struct):
    predictions: list[Answer]
    count: int


class Endpoint(Protocol):
    limit: int  # bytes of a body

    async def answer(self, bundle: Bundle, content: bytes, request_id: str) -> bytes:
        """The JSON of the answer; HttpError 422."""
        ...


class _Scoring:
    """What both endpoints do with a prediction: word it, count it, log a sample of it for the monitor."""

    def __init__(self, state: State, log: Log, metrics: Metrics, chance: Callable[[], float] = random.random) -> None:
        self._log, self._metrics, self._chance = log, metrics, chance
        self._sample, self._version = state.config.prediction_log_sample, state.config.model_version
        self._basket = msgspec.json.Decoder(Basket).decode
        self._encode = msgspec.json.Encoder().encode

    def _word(self, bundle: Bundle, basket: Basket, found: Prediction, request_id: str) -> Answer:
        answer = Answer(found.prediction, found.probability, found.confidence, found.known_lines, self._version)
        self._metrics.prediction(answer.prediction)
        if self._sample and self._chance() < self._sample:
            self._log.line(
                "prediction",
                id=request_id,
                prediction=answer.prediction,
                probability=answer.probability,
                known_lines=answer.known_lines,
                lines=len(basket.lines),
                features=bundle.features_of(basket),
            )
        return answer


class Predict(_Scoring):
    """POST /predict: one basket."""

    limit = body.PREDICT_BYTES

    async def answer(self, bundle: Bundle, content: bytes, request_id: str) -> bytes:
        [outcome] = self.answers(bundle, [content], [request_id])
        if isinstance(outcome, HttpError):
            raise outcome
        return outcome

    def answers(self, bundle: Bundle, contents: list[bytes], request_ids: list[str]) -> list[bytes | HttpError]:
        """For each body the JSON of its answer, or its refusal; one run of the model for all of them."""
        read = [self._read(content) for content in contents]
        found = iter(bundle.predict_few([basket for basket in read if isinstance(basket, Basket)]))
        return [
            self._encode(self._word(bundle, one, next(found), request_id)) if isinstance(one, Basket) else one
            for one, request_id in zip(read, request_ids, strict=True)
        ]

    def _read(self, content: bytes) -> Basket | HttpError:
        try:
            return self._basket(content)
        except _UNREADABLE as error:
            return invalid_body(error)


class PredictBatch(_Scoring):
    """POST /predict/batch: up to a thousand baskets, in slices that let single requests through in between."""

    limit = body.BATCH_BYTES

    def __init__(self, state: State, log: Log, metrics: Metrics) -> None:
        super().__init__(state, log, metrics)
        self._batch = msgspec.json.Decoder(RawBatch).decode

    async def answer(self, bundle: Bundle, content: bytes, request_id: str) -> bytes:
        try:
            raw = self._batch(content).baskets
        except _UNREADABLE as error:
            raise invalid_body(error) from None
        baskets = []
        for index, item in enumerate(raw):
            baskets.append(self._one(item, index))
            if index % 64 == 63:
                await asyncio.sleep(0)
        answers: list[Answer] = []
        for part in _slices(baskets):
            answers += [
                self._word(bundle, basket, found, request_id)
                for basket, found in zip(part, bundle.predict_many(part), strict=True)
            ]
            await asyncio.sleep(0)
        return self._encode(BatchAnswer(answers, len(answers)))

    def _one(self, item: msgspec.Raw, index: int) -> Basket:
        try:
            return self._basket(item)
        except _UNREADABLE as error:
            raise invalid_body(error, "baskets", index) from None


def _slices(baskets: list[Basket]) -> Iterator[list[Basket]]:
    part: list[Basket] = []
    lines = 0
    for basket in baskets:
        part.append(basket)
        lines += len(basket.lines)
        if lines >= SLICE_LINES:
            yield part
            part, lines = [], 0
    if part:
        yield part


def not_ready(state: State) -> HttpError:
    return HttpError(503, f"no model is loaded yet: {state.reason}", ((b"retry-after", b"5"),))


BUSY = HttpError(503, "too many requests at once: try again in a second", ((b"retry-after", b"1"),))
