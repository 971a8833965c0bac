"""Read a request's body up to a limit."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from api.errors import ApiError, HttpError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PREDICT_BYTES = 64 * 1024
BATCH_BYTES = 8 * 1024 * 1024


class ClientGone(ApiError):
    """The client closed the connection before its body was complete: there is no one to answer."""


def _too_large(limit: int) -> HttpError:
    # the rest of the body is not read, so the connection cannot be used again
    return HttpError(413, f"the body is larger than {limit} bytes", ((b"connection", b"close"),))


async def read(headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
    """The whole body. HttpError 413 beyond `limit` bytes, before they are read when Content-Length admits it."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    message = await receive()
    body = message.get("body", b"")
    if message.get("more_body"):
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise _too_large(limit)
        body = b"".join(chunks)
    elif message["type"] == "http.disconnect":
        raise ClientGone
    if len(body) > limit:
        raise _too_large(limit)
    return body
