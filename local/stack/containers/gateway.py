"""Forward connections to the container's own address to the same port of 127.0.0.1, where the local stack listens.

The gateway owns the network that the other containers share. Ports: GATEWAY_PORTS, comma separated.
"""

import asyncio
import contextlib
import functools
import os
import signal

import psutil

CHUNK = 65536


def addresses() -> list[str]:
    """Return the IPv4 addresses of this container that are not loopback."""
    return [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family.name == "AF_INET" and not address.address.startswith("127.")
    ]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender has finished; then signal the end to the receiver."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _forward(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect a caller with the port of 127.0.0.1 until both have finished."""
    try:
        with contextlib.suppress(OSError):  # nobody listens (yet): the caller sees a closed connection
            local_reader, local_writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_copy(reader, local_writer), _copy(local_reader, writer))
            finally:
                local_writer.close()
    finally:
        writer.close()


async def serve(ports: list[int]) -> None:
    """Forward these ports until SIGTERM."""
    for address in addresses():
        for port in ports:
            await asyncio.start_server(functools.partial(_forward, port), address, port)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"forwarding ports {ports} of {addresses()}", flush=True)
    await ended.wait()


def main() -> None:
    """Forward the ports of GATEWAY_PORTS."""
    asyncio.run(serve([int(port) for port in os.environ["GATEWAY_PORTS"].split(",")]))
