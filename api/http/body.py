"""Read the body of an ASGI request up to a limit."""

from starlette.types import Receive

from api.errors import ApiError, HttpError

MAX_PREDICT_BYTES = 64 * 1024
MAX_BATCH_BYTES = 8 * 1024 * 1024

Headers = list[tuple[bytes, bytes]]


class ClientDisconnected(ApiError):
    """The client closed the connection before its body was complete: no answer can be sent."""


def _too_large(limit: int) -> HttpError:
    # The rest of the body is not read, so the connection cannot be used again.
    return HttpError(413, f"the body is larger than {limit} bytes: send fewer lines", ((b"connection", b"close"),))


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raise HttpError 413 for more than `limit` bytes, without reading them if Content-Length announces them. Raise
    ClientDisconnected when the client leaves before the end.
    """
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
