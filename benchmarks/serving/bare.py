"""The lower bound: an ASGI application that reads the body and answers a constant of a prediction's size."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # at run time it would add to the memory of the lower bound
    from starlette.types import Receive, Scope, Send

ANSWER = (
    b'{"prediction":"Medium","probability":{"Low":0.123456,"Medium":0.765432,"High":0.111112},'
    b'"confidence":0.765432,"known_lines":6,"model_version":"3"}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
    """Answer any request with the constant."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
