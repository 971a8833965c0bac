"""The real process: start, refusal, retries, serving, drain."""

import http.client
import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

from api.http.body import MAX_BATCH_BYTES
from api.http.scoring import MAX_BASKETS
from tests.api.conftest import Process
from tests.api.stub_aws import StubAws
from tests.api.tiny import basket

pytestmark = pytest.mark.integration

READY_SECONDS = 10  # the target is 3; a loaded test machine gets more
MEMORY = 200 * 1024 * 1024
DEPLOYMENT = Path(__file__).parents[3] / "k8s" / "base" / "deployment.yaml"


def predict(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("POST", "/predict", json.dumps(basket(1)))
    reply = connection.getresponse()
    reply.read()
    return reply


def test_process_serves_within_its_memory(start: Callable[..., Process]) -> None:
    process = start()

    process.until(lambda: process.get("/ready") == 200, READY_SECONDS)
    assert predict(process.connect()).status == 200
    assert psutil.Process(process.popen.pid).memory_info().rss < MEMORY


def test_concurrent_largest_batches_fit_into_the_pod(start: Callable[..., Process]) -> None:
    process = start()
    process.until(lambda: process.get("/ready") == 200, READY_SECONDS)
    serving = psutil.Process(process.popen.pid)
    before = serving.memory_info().rss
    largest = {"baskets": [basket(number, lines=150) for number in range(MAX_BASKETS)]}
    while len(body := json.dumps(largest, separators=(",", ":")).encode()) > MAX_BATCH_BYTES:
        largest["baskets"].pop()
    assert len(body) > 0.95 * MAX_BATCH_BYTES

    def send(_: int) -> int:
        connection = process.connect()
        connection.timeout = 60  # four of these batches share a core
        connection.request("POST", "/predict/batch", body)
        return connection.getresponse().status

    peak = before
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(send, number) for number in range(24)]
        while not all(answer.done() for answer in answers):
            peak = max(peak, serving.memory_info().rss)
            time.sleep(0.005)
    statuses = {answer.result() for answer in answers}
    assert peak > before, "no memory of a batch was measured"
    assert 200 in statuses
    assert statuses <= {200, 503}, "requests beyond the limit are refused"
    pod = yaml.safe_load(DEPLOYMENT.read_text())["spec"]["template"]["spec"]["containers"][0]
    limit = int(pod["resources"]["limits"]["memory"].removesuffix("Mi")) * 1024 * 1024
    assert peak - before < limit - MEMORY, "beside a real model, which takes MEMORY at most"


def test_unapproved_package_ends_the_process(start: Callable[..., Process], aws: StubAws) -> None:
    aws.approval = "Rejected"
    process = start()

    assert process.popen.wait(READY_SECONDS) == 3
    assert "is Rejected, not Approved" in process.events("refused")[0]["reason"]


def test_invalid_setting_ends_the_process(start: Callable[..., Process]) -> None:
    process = start(AWS_REGION="us-east-1")

    assert process.popen.wait(READY_SECONDS) == 2
    assert "AWS_REGION" in process.events("refused")[0]["reason"]


def test_process_is_alive_and_unready_until_s3_is_up(start: Callable[..., Process], aws: StubAws) -> None:
    aws.stop()
    process = start()
    process.until(lambda: process.get("/health") == 200)
    process.until(lambda: process.events("waiting"))
    assert process.get("/ready") == 503

    aws.start()
    process.until(lambda: process.get("/ready") == 200, 30)


def test_package_rejected_later_is_served_on(start: Callable[..., Process], aws: StubAws) -> None:
    process = start(APPROVAL_CHECK_SECONDS="0.1")
    process.until_ready()

    aws.approval = "Rejected"
    process.until(lambda: process.events("not_approved"))
    assert process.get("/ready") == 200
    assert predict(process.connect()).status == 200


def test_draining_process_answers_and_closes_connections(start: Callable[..., Process]) -> None:
    process = start(DRAIN_SECONDS="2")
    process.until_ready()
    kept = process.connect()
    statuses: set[int] = set()
    assert predict(kept).headers["Connection"] is None

    process.popen.send_signal(signal.SIGTERM)
    process.until(lambda: process.get("/ready") == 503)
    reply = predict(kept)
    assert (reply.status, reply.headers["Connection"]) == (200, "close")
    began = time.monotonic()
    while process.popen.poll() is None and time.monotonic() - began < 1:
        statuses.add(predict(process.connect()).status)

    assert statuses == {200}
    assert process.popen.wait(10) == 0
    assert process.events("stopped")


def test_second_signal_ends_the_drain(start: Callable[..., Process]) -> None:
    process = start(DRAIN_SECONDS="30")
    process.until_ready()

    process.popen.send_signal(signal.SIGTERM)
    process.until(lambda: process.get("/ready") == 503)
    process.popen.send_signal(signal.SIGTERM)

    assert process.popen.wait(10) == 0


def test_signal_before_the_model_is_loaded_ends_the_process(start: Callable[..., Process], aws: StubAws) -> None:
    aws.stop()
    process = start(DRAIN_SECONDS="0")
    process.until(lambda: process.get("/health") == 200)

    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(10) == 0


def test_log_is_json_without_customer_data(start: Callable[..., Process]) -> None:
    process = start(PREDICTION_LOG_SAMPLE="1", DRAIN_SECONDS="0")
    process.until_ready()
    predict(process.connect())
    process.popen.send_signal(signal.SIGTERM)
    process.popen.wait(10)

    text = json.dumps(process.lines)
    assert [line["route"] for line in process.events("request")] == ["/predict"], "probes are not logged"
    assert process.events("prediction")[0]["features"]["lines"] == len({li["PROD_CODE"] for li in basket(1)["lines"]})
    assert any("_aws" in line for line in process.lines), "the last window of metrics is written at exit"
    assert "PRD0" not in text
