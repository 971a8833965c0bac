"""The gateway forwards bytes, in both directions and to their end."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from local.stack.config import any_free_port
from local.stack.containers import gateway

OTHER = "127.9.8.7"
"""Stands for the container's own address."""
TIMEOUT = 10


@pytest.fixture(autouse=True)
def own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "addresses", lambda: [OTHER])


@contextlib.asynccontextmanager
async def serving(port: int) -> AsyncIterator[None]:
    """A gateway for one port, which listens when the block starts."""
    task = asyncio.create_task(gateway.serve([port]))
    try:
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    _, writer = await asyncio.open_connection(OTHER, port)
                except ConnectionError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    break
        yield
    finally:
        task.cancel()


async def exchange(port: int) -> bytes:
    """What a client gets back that sends everything and waits for the end; b"" when the connection is cut off."""
    reader, writer = await asyncio.open_connection(OTHER, port)
    try:
        writer.write(b"hello" * 100_000)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), TIMEOUT)
    except ConnectionError:  # the end may come as a reset
        return b""
    finally:
        writer.close()


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read()).upper())
    writer.close()


def test_everything_is_forwarded() -> None:
    async def scenario() -> bytes:
        port = any_free_port()
        server = await asyncio.start_server(shout, "127.0.0.1", port)
        async with server, serving(port):
            return await exchange(port)

    assert asyncio.run(scenario()) == b"HELLO" * 100_000


def test_without_a_listener_the_connection_is_closed() -> None:
    async def scenario() -> bytes:
        port = any_free_port()
        async with serving(port):
            return await exchange(port)

    assert asyncio.run(scenario()) == b""


def test_its_addresses_are_not_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    interfaces = {
        "lo": [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)],
        "eth0": [("172.18.0.2", socket.AF_INET), ("fe80::1", socket.AF_INET6)],
        "eth1": [("172.19.0.2", socket.AF_INET)],
    }
    found = {
        name: [SimpleNamespace(address=address, family=family) for address, family in addresses]
        for name, addresses in interfaces.items()
    }
    monkeypatch.setattr(gateway.psutil, "net_if_addrs", lambda: found)
    assert gateway.addresses() == ["172.18.0.2", "172.19.0.2"]
