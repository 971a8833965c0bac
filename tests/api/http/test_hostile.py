"""Requests that no honest client sends, against the real process: all are refused, none is an internal error."""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from benchmarks.load import closed_loop
from tests.api import tiny
from tests.api.conftest import Process, Release, serving

GOOD = json.dumps(tiny.basket(1, lines=1)).encode()
LINE = b'{"PROD_CODE":"PRD0000001","QUANTITY":1,"SPEND":1.0}'


def basket(line: bytes = LINE, region: bytes = b'"E01"', more: bytes = b"") -> bytes:
    """Return a basket as JSON; more: members after the lines."""
    return (
        b'{"SHOP_WEEKDAY":5,"SHOP_HOUR":19,"STORE_FORMAT":"LS","STORE_REGION":' + region + b',"lines":[' + line + b"]"
        + more + b"}"
    )  # fmt: skip


BODIES = {
    "empty": b"",
    "blanks": b" " * 1000,
    "nul": b"\0" * 100,
    "deep list": b"[" * 60_000,
    "deep object": b'{"a":' * 12_000,
    "deep unknown field": basket(more=b',"x":' + b"[" * 30_000 + b"]" * 30_000),
    "huge integer": basket(LINE.replace(b":1,", b":" + b"9" * 5000 + b",")),
    "huge exponent": basket(LINE.replace(b"1.0", b"1e999999999")),
    "tiny exponent": basket(LINE.replace(b"1.0", b"-1e-999999999")),
    "long fraction": basket(LINE.replace(b"1.0", b"1." + b"3" * 60_000)),
    "minus zero": basket(LINE.replace(b"1.0", b"-0.0")),
    "NaN": basket(LINE.replace(b"1.0", b"NaN")),
    "Infinity": basket(LINE.replace(b"1.0", b"-Infinity")),
    "a float as integer": basket(LINE.replace(b":1,", b":1.5,")),
    "true as integer": basket(LINE.replace(b":1,", b":true,")),
    "hexadecimal": basket(LINE.replace(b":1,", b":0x1,")),
    "leading zero": basket(LINE.replace(b":1,", b":01,")),
    "duplicate keys": basket(more=b',"SHOP_HOUR":99'),
    "duplicate lines": basket(more=b',"lines":[]'),
    "key of another case": basket(more=b',"shop_hour":1'),
    "prototype": basket(more=b',"__proto__":{}'),
    "lone surrogate": basket(region=b'"\\ud800"'),
    "surrogate in a code": basket(LINE.replace(b"PRD0000001", b"\\udfff")),
    "nul in a region": basket(region=b'"E\\u00001"'),
    "invalid UTF-8": basket(region=b'"\xff\xfe1"'),
    "overlong UTF-8": basket(region=b'"\xc0\xaf1"'),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "gzip": gzip.compress(GOOD),
    "two documents": GOOD + GOOD,
    "a comment": b"/* */" + GOOD + b"//",
    "trailing comma": GOOD[:-1] + b",}",
    "single quotes": GOOD.replace(b'"', b"'"),
    "a string": json.dumps(GOOD.decode()).encode(),
    "many lines": basket(b",".join([LINE] * 1200)),
    "form": b"SHOP_WEEKDAY=5&SHOP_HOUR=19",
    "XML with an entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "too large": b"[" * (64 * 1024 + 1),
}
ACCEPTED = {"minus zero", "long fraction", "tiny exponent"}
"""Unusual numbers within the limits; every parser reads the last one as -0.0."""

START = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
FORMS = {
    "length and chunks": START + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": START + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "negative length": START + b"Content-Length: -1\r\n\r\n",
    "length in words": START + b"Content-Length: four\r\n\r\nabcd",
    "endless length": START + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "length too high": START + b"Content-Length: 70000\r\n\r\n{}",
    "chunk size that is no number": START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk without end": START + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}",
    "unknown coding": START + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "blank before colon": START + b"Content-Length : 2\r\n\r\n{}",
    "folded header": START + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "bare line feeds": b"POST /predict HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}",
    "nul in a header": START + b"X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}",
    "unknown method": b"BREW /predict HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown version": b"POST /predict HTTP/9.9\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "path out of the tree": b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "path of raw bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "path with a bad escape": b"GET /%zz%00%ff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "absolute address": b"GET http://elsewhere/metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "authority only": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "upgrade with a body": START + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    "endless head": START + b"" + b"X-A: b\r\n" * 40_000,
    "long address": b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
}  # fmt: skip
ALLOWED = {"absolute address", "upgrade"}
"""Valid HTTP: the first is answered for any host, the second without the upgrade."""


ANSWER_SECONDS = 5.0
SILENCE_SECONDS = 1.5


@pytest.fixture(scope="module")
def process(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Start a server that gives slow clients half a second."""
    limits = {"REQUEST_HEADER_SECONDS": "0.5", "REQUEST_BODY_SECONDS": "0.5"}
    with serving(release, tmp_path_factory.mktemp("hostile") / "api.log", **limits) as process:
        yield process


def send(process: Process, *parts: bytes, pause: float = 0) -> bytes:
    """Send bytes; return what the server answers until it closes the connection or has nothing more to say.

    Fail when it neither answers nor closes: a request that hangs is not refused.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", process.port), ANSWER_SECONDS) as client:
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
            while chunk := client.recv(1 << 16):
                received += chunk
                client.settimeout(SILENCE_SECONDS)
        except TimeoutError:
            assert received, f"the server neither answered nor closed the connection within {ANSWER_SECONDS} s"
        except OSError:
            pass  # the server closed the connection while this client was sending
    return received


def post(body: bytes, path: bytes = b"/predict", more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        path, more, len(body), body,
    )  # fmt: skip


def status(answer: bytes) -> int:
    return int(answer[9:12])


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", [b"/predict", b"/predict/batch"])
def test_hostile_body_is_refused(process: Process, path: bytes, name: str) -> None:
    body = BODIES[name] if path == b"/predict" else b'{"baskets":[' + BODIES[name] + b"]}"
    answer = send(process, post(body, path))

    expected = {200} if name in ACCEPTED else {413, 422}
    assert status(answer) in expected, answer
    assert b"Traceback" not in answer
    assert process.popen.poll() is None


@pytest.mark.parametrize("name", FORMS)
def test_hostile_request_is_refused_or_cut_off(process: Process, name: str) -> None:
    answer = send(process, FORMS[name])

    expected = {200} if name in ALLOWED else {400, 404, 405, 413, 422, 431}
    assert not answer or status(answer) in expected, answer  # send() fails unless no answer means closed
    assert process.get("/health") == 200


def test_compressed_body_is_not_decompressed(process: Process) -> None:
    assert status(send(process, post(gzip.compress(GOOD), more=b"Content-Encoding: gzip\r\n"))) == 422


def test_request_smuggled_after_a_body_is_not_answered(process: Process) -> None:
    smuggled = b"GET /model HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = send(process, post(GOOD) + smuggled)

    assert (status(answer), answer.count(b"HTTP/1.1 ")) == (200, 1)


def test_pipelined_requests_are_answered_in_order(process: Process) -> None:
    good, bad = (post(body).replace(b"close", b"keep-alive") for body in (GOOD, b"{"))
    answer = send(process, good + bad + good + post(GOOD))

    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 422, 200, 200]


def test_long_pipeline_is_answered_completely_in_order(process: Process) -> None:
    good, bad = (post(body).replace(b"close", b"keep-alive") for body in (GOOD, b"{"))
    pipeline = (good + bad + good) * 700 + post(GOOD)  # larger than the limit of a head, and than one read

    with ThreadPoolExecutor(1) as reader, socket.create_connection(("127.0.0.1", process.port), 5) as client:
        answer = reader.submit(lambda: b"".join(iter(lambda: client.recv(1 << 16), b"")))
        client.sendall(pipeline)
        statuses = [int(part[:3]) for part in answer.result(30).split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 422, 200] * 700 + [200]


def test_nonsense_is_refused_after_the_answers_before_it(process: Process) -> None:
    good = post(GOOD).replace(b"close", b"keep-alive")
    answer = send(process, good + good + b"nonsense\r\n\r\n")

    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]][:2] == [200, 200]


def test_body_in_pieces_is_assembled(process: Process) -> None:
    whole = post(GOOD)

    assert status(send(process, whole[:30], whole[30:200], whole[200:], pause=0.05)) == 200


def test_expect_continue_is_answered(process: Process) -> None:
    head, _, body = post(GOOD, more=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")

    assert b"100 Continue" in send(process, head + b"\r\n\r\n", body, pause=0.2)


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"POST /pre",),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\n", *[b"X-A: b\r\n"] * 20),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", *[b"{"] * 20),
        (b"POST /predict/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", *[b"{"] * 20),
    ],
    ids=["nothing", "half a line", "slow headers", "slow body", "slow batch body"],
)
def test_slow_client_is_cut_off(process: Process, parts: tuple[bytes, ...]) -> None:
    began = time.monotonic()

    assert send(process, *parts, pause=0.1) == b""
    assert time.monotonic() - began < 2.4


def test_idle_connection_is_kept(process: Process) -> None:
    kept = post(GOOD).replace(b"close", b"keep-alive")

    assert send(process, kept, kept, pause=0.8).count(b" 200 ") == 2


def test_no_answer_names_the_server(process: Process) -> None:
    for request in (
        post(GOOD),
        post(b"{"),
        b"nonsense\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ):
        head = send(process, request).partition(b"\r\n\r\n")[0].lower()
        assert b"uvicorn" not in head
        assert b"\r\nserver:" not in head
        assert b"\r\nx-content-type-options: nosniff" in head
        assert b"\r\ncontent-security-policy: default-src 'none'" in head


def test_no_request_above_was_an_internal_error(process: Process) -> None:
    """Check the log of all requests to the module's process, up to one more whose line is waited for."""
    assert status(send(process, post(GOOD, more=b"X-Request-ID: last\r\n"))) == 200
    process.until(lambda: [line for line in process.events("request") if line["id"] == "last"])
    assert not process.events("failure")
    assert not [line for line in process.events("request") if line["status"] >= 500]
    assert not [line for line in process.events("library") if line["level"] == "ERROR"]


def test_slow_batches_take_no_slot_of_a_prediction(start: Callable[..., Process]) -> None:
    process = start(MAX_BATCHES="1", MAX_IN_FLIGHT="1", REQUEST_BODY_SECONDS="1")
    process.until_ready()
    batch = b'{"baskets":[' + GOOD + b"]}"
    with socket.create_connection(("127.0.0.1", process.port), 5) as slow:
        slow.sendall(post(batch, b"/predict/batch")[:-1])
        refused = process.until(
            lambda: (answer := send(process, post(batch, b"/predict/batch")))[9:12] == b"503" and answer
        )
        single = send(process, post(GOOD))

    assert b"\r\nretry-after: 1\r\n" in refused
    assert status(single) == 200
    process.until(lambda: status(send(process, post(batch, b"/predict/batch"))) == 200)


def test_overload_is_refused_and_passes(start: Callable[..., Process]) -> None:
    process = start(MAX_IN_FLIGHT="4")
    process.until_ready()
    url = f"http://127.0.0.1:{process.port}/predict"

    crowd = closed_loop(url, connections=200, seconds=1, bodies=[GOOD])
    alone = closed_loop(url, connections=1, seconds=0.2, bodies=[GOOD])

    assert set(crowd.failed) == {"status 503"}
    assert crowd.answered > 0
    assert alone.failed == {}


def test_client_that_does_not_read_fills_no_memory(start: Callable[..., Process]) -> None:
    process = start(REQUEST_BODY_SECONDS="5")
    process.until_ready()
    request = post(b"{").replace(b"close", b"keep-alive")
    send(process, request * 1500 + post(b"{"))  # the memory for one full read belongs to `before`
    before = memory(process)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(15)
        client.connect(("127.0.0.1", process.port))
        with pytest.raises(ConnectionError):
            [client.sendall(request) for _ in range(200_000)]  # complete requests: none of them is slow
    assert memory(process) - before < 15
    assert process.get("/health") == 200


def memory(process: Process) -> float:
    """Return the resident memory in MB."""
    return psutil.Process(process.popen.pid).memory_info().rss / 1e6
