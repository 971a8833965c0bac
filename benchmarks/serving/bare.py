"""The floor: an ASGI application that reads the body and answers a constant of a prediction's size."""

ANSWER = (
    b'{"prediction":"Medium","probability":{"Low":0.123456,"Medium":0.765432,"High":0.111112},'
    b'"confidence":0.765432,"known_lines":6,"model_version":"3"}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def app(scope, receive, send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
