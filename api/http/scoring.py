"""Score baskets, from request bytes to answer bytes: one basket in plain Python, a batch in numpy, slice by slice."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Annotated, Protocol

import msgspec

from api.errors import HttpError, invalid_body
from api.http.body import MAX_BATCH_BYTES, MAX_PREDICT_BYTES
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets.bundle import Bundle, Prediction
from include.baskets.schema import Basket

MAX_BASKETS = 1000
SLICE_LINES = 1000
"""Lines that a batch scores (about 2 ms) before other connections get their turn."""
DECODE_SLICE_BASKETS = 64
"""Baskets that a batch decodes before other connections get their turn."""
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Answer(msgspec.Struct):
    """The prediction for one basket. The values of `probability` add up to 1; the prediction is Unclassified when no
    line has a known product."""

    prediction: str
    probability: dict[str, float]
    confidence: float
    known_lines: int
    model_version: str


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    baskets: Annotated[list[Basket], msgspec.Meta(min_length=1, max_length=MAX_BASKETS)]


class RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    """A batch with its baskets still encoded: they are decoded in slices, and an error names the basket."""

    baskets: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BASKETS)]


class BatchAnswer(msgspec.Struct):
    predictions: list[Answer]
    count: int


class Endpoint(Protocol):
    """What the gateway calls to score a request."""

    max_bytes: int

    async def answer(self, bundle: Bundle, content: bytes, request_id: str) -> bytes:
        """Return the answer as JSON. Raise HttpError 422 for an invalid body."""
        ...


class _Scoring:
    """What both endpoints do with a prediction: build the answer, count it, log a sample of them for monitoring."""

    def __init__(self, state: State, log: Log, metrics: Metrics, chance: Callable[[], float] = random.random) -> None:
        self._log = log
        self._metrics = metrics
        self._chance = chance
        self._sample = state.config.prediction_log_sample
        self._version = state.config.model_version
        self._decode = msgspec.json.Decoder(Basket).decode
        self._encode = msgspec.json.Encoder().encode

    def _answer(self, bundle: Bundle, basket: Basket, scored: Prediction, request_id: str) -> Answer:
        answer = Answer(scored.prediction, scored.probability, scored.confidence, scored.known_lines, self._version)
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

    max_bytes = MAX_PREDICT_BYTES

    async def answer(self, bundle: Bundle, content: bytes, request_id: str) -> bytes:
        """Return the answer to one body as JSON. Raise HttpError 422 for an invalid body."""
        [outcome] = self.answer_all(bundle, [content], [request_id])
        if isinstance(outcome, HttpError):
            raise outcome
        return outcome

    def answer_all(self, bundle: Bundle, contents: list[bytes], request_ids: list[str]) -> list[bytes | HttpError]:
        """Return for each body its answer as JSON, or its refusal. The model runs once for all of them."""
        decoded = [self._basket_or_refusal(content) for content in contents]
        scored = iter(bundle.predict_few([basket for basket in decoded if isinstance(basket, Basket)]))
        return [
            self._encode(self._answer(bundle, item, next(scored), request_id)) if isinstance(item, Basket) else item
            for item, request_id in zip(decoded, request_ids, strict=True)
        ]

    def _basket_or_refusal(self, content: bytes) -> Basket | HttpError:
        try:
            return self._decode(content)
        except _DECODING_ERRORS as error:
            return invalid_body(error)


class PredictBatch(_Scoring):
    """POST /predict/batch: up to MAX_BASKETS baskets, in slices between which other requests are answered."""

    max_bytes = MAX_BATCH_BYTES

    def __init__(self, state: State, log: Log, metrics: Metrics) -> None:
        super().__init__(state, log, metrics)
        self._decode_batch = msgspec.json.Decoder(RawBatch).decode

    async def answer(self, bundle: Bundle, content: bytes, request_id: str) -> bytes:
        """Return the answers to all baskets as JSON. Raise HttpError 422, which names the first invalid basket."""
        baskets = await self._baskets(content)
        answers: list[Answer] = []
        for part in _slices(baskets):
            answers += [
                self._answer(bundle, basket, scored, request_id)
                for basket, scored in zip(part, bundle.predict_many(part), strict=True)
            ]
            await asyncio.sleep(0)
        return self._encode(BatchAnswer(answers, len(answers)))

    async def _baskets(self, content: bytes) -> list[Basket]:
        try:
            encoded = self._decode_batch(content).baskets
        except _DECODING_ERRORS as error:
            raise invalid_body(error) from None
        baskets = []
        for index, item in enumerate(encoded):
            baskets.append(self._basket(item, index))
            if (index + 1) % DECODE_SLICE_BASKETS == 0:
                await asyncio.sleep(0)
        return baskets

    def _basket(self, item: msgspec.Raw, index: int) -> Basket:
        try:
            return self._decode(item)
        except _DECODING_ERRORS as error:
            raise invalid_body(error, "baskets", index) from None


def _slices(baskets: list[Basket]) -> Iterator[list[Basket]]:
    part: list[Basket] = []
    lines = 0
    for basket in baskets:
        part.append(basket)
        lines += len(basket.lines)
        if lines >= SLICE_LINES:
            yield part
            part = []
            lines = 0
    if part:
        yield part
