"""Hands connections to the container's own address on to the same port of 127.0.0.1, where the local stack listens.

It owns the network that the other containers share. Ports: GATEWAY_PORTS, comma separated.
"""

import asyncio
import contextlib
import os
import signal

import psutil

CHUNK = 65536


def addresses() -> list[str]:
    """IPv4 addresses of this container that are not loopback."""
    return [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family.name == "AF_INET" and not address.address.startswith("127.")
    ]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the sender has said all; then the receiver is told so."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _hand_on(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):  # nobody listens (yet): the caller sees a closed connection
            there, back = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
            finally:
                back.close()
    finally:
        writer.close()


async def serve(ports: list[int]) -> None:
    """Until SIGTERM."""

    def handler(port: int):
        return lambda reader, writer: _hand_on(port, reader, writer)

    for address in addresses():
        for port in ports:
            await asyncio.start_server(handler(port), address, port)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"ports {ports} of {addresses()}", flush=True)
    await ended.wait()


def main() -> None:
    asyncio.run(serve([int(port) for port in os.environ["GATEWAY_PORTS"].split(",")]))
