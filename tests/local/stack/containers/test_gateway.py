"""The gateway hands bytes on, in both directions and to their end."""

import asyncio
import contextlib
import socket

from local.stack.config import any_free_port
from local.stack.containers import gateway

OTHER = "127.9.8.7"
"""Stands for the container's own address."""


async def exchange(monkeypatch, listen: bool) -> bytes:
    """What a client gets back that says its all and waits for the end; the server answers in upper case."""
    port = any_free_port()
    monkeypatch.setattr(gateway, "addresses", lambda: [OTHER])

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", port) if listen else None
    serving = asyncio.create_task(gateway.serve([port]))
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection(OTHER, port)
    writer.write(b"hello" * 100_000)
    if listen:
        writer.write_eof()
    answer = await reader.read()
    serving.cancel()
    if server:
        server.close()
    return answer


def test_it_hands_everything_on(monkeypatch) -> None:
    assert asyncio.run(exchange(monkeypatch, listen=True)) == b"HELLO" * 100_000


def test_nobody_there_closes_the_connection(monkeypatch) -> None:
    with contextlib.suppress(ConnectionError):  # the end may come as a reset
        assert asyncio.run(asyncio.wait_for(exchange(monkeypatch, listen=False), 5)) == b""


def test_its_addresses_are_not_loopback() -> None:
    assert all(not address.startswith("127.") and socket.inet_aton(address) for address in gateway.addresses())
