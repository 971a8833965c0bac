"""Measure the API beside a bare ASGI application and a naive service: `python -m benchmarks.serving` in .venv/dev.

All servers run at once and are measured in turn, so that ratios are the same on a fast and on a busy machine. The
servers share one processor, the load generator has another. Then the API gets half a processor and requests at a fixed
rate. Ratios clearly worse than the stored baseline fail; `--store` writes a new baseline, `--peers` adds other model
servers.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common import options, settle, target
from benchmarks.load import closed_loop, open_loop
from benchmarks.serving import peers
from benchmarks.serving.limit import processor_share
from benchmarks.serving.model import Model, prepared
from benchmarks.serving.rounds import Rounds, ratio, regressions, show
from benchmarks.serving.servers import Running, Server, api, bare, naive, processor
from tests.api.stub_aws import BUCKET, KEY, StubAws

SERVERS_PROCESSOR = 0
GENERATOR_PROCESSOR = 1
CONNECTIONS = 8
ROUNDS = 5
ROUND_SECONDS = 2
STARTS = 3
RATE = 600
SHARE = 0.5
RATE_ROUNDS = 5
RATE_SECONDS = 4

TARGET_OF_BARE = 0.3
TARGET_OF_PEERS = 20
TARGET_MEMORY_MB = 200
TARGET_READY_SECONDS = 3
TARGET_BEYOND_GENERATOR_MS = 5


@dataclass(frozen=True)
class Latency:
    """p99 under a fixed rate, in ms above the generator's own; enforced: whether the API really had its share only."""

    beyond_generator_ms: float
    enforced: bool


@dataclass(frozen=True)
class Measured:
    """All figures. bare, naive, service: names of the servers; memory: MB by server."""

    bare: str
    naive: str
    service: str
    peers: list[str]
    rounds: dict[str, Rounds]
    memory: dict[str, float]
    ready_seconds: float
    latency: Latency

    def baseline(self) -> dict[str, float]:
        """Return the figures that are stored and compared: ratios of CPU time, because rates depend on the machine."""
        rounds = self.rounds
        return {
            "request_cpu_ms": round(median(rounds[self.service].cpu_ms), 3),  # depends on the machine: not compared
            "cpu_of_bare": ratio(rounds[self.service], rounds[self.bare]).cpu,
            "cpu_over_naive": ratio(rounds[self.service], rounds[self.naive]).cpu,
            "memory_of_bare": self.memory[self.service] / self.memory[self.bare],
        }


@contextmanager
def running(servers: Sequence[Server], body: bytes) -> Iterator[list[Running]]:
    """Start the servers one after the other on their processor; end them with the block."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as logs:
        started = []
        for server in servers:
            with processor(SERVERS_PROCESSOR):
                started.append(Running(server, body, Path(logs) / f"{server.name}.log"))
            stack.callback(started[-1].stop)
        yield started


def ready_seconds(server: Server, body: bytes) -> float:
    """Return the median seconds from the start of the process to its first prediction."""
    seconds = []
    for _ in range(STARTS):
        with running([server], body) as (started,):
            seconds.append(started.ready_seconds)
    return median(seconds)


def alternate(servers: Sequence[Running], bodies: Sequence[bytes]) -> dict[str, Rounds]:
    """Measure each server in turn as fast as it can answer. The order is reversed each round; the first warms up."""
    rounds = {server.name: Rounds() for server in servers}
    for number in range(ROUNDS + 1):
        for server in servers if number % 2 else reversed(servers):
            before = server.cpu_seconds()
            report = closed_loop(server.url, CONNECTIONS, ROUND_SECONDS, bodies)
            if number:
                rounds[server.name].add(report, server.cpu_seconds() - before)
    return rounds


def limited_latency(floor: Running, service: Running, bodies: Sequence[bytes]) -> Latency:
    """Measure p99 of the service on its share of a processor, and of the floor on a whole one as the generator's own.

    The best round of each counts, because other load on the machine only adds to a latency.
    """
    own: list[float] = []
    limited: list[float] = []
    enforced = True
    for _ in range(RATE_ROUNDS):
        own.append(open_loop(floor.url, RATE, RATE_SECONDS, bodies).percentile(0.99))
        with processor_share(service.pid, SHARE) as limit:
            report = open_loop(service.url, RATE, RATE_SECONDS, bodies)
            throttled, periods = limit.throttled()
            enforced = enforced and limit.enforced
        limited.append(report.percentile(0.99))
        note = f"throttled in {throttled} of {periods} periods"
        if not limit.enforced:
            note = "NOT LIMITED: this machine has no writable control groups"
        print(
            f"{RATE} requests/s: the generator's own p99 {own[-1]:.1f} ms; {service.name} on {SHARE} of a processor: "
            f"p99 {limited[-1]:.1f} ms, {sum(report.failed.values())} failed; {note}"
        )
    return Latency(min(limited) - min(own), enforced)


def measure(model: Model, with_peers: bool) -> Measured:
    """Start all servers, measure them and print the figures."""
    aws = StubAws(model.digest, {f"/{BUCKET}/{KEY}": model.archive.read_bytes()}).start()
    service = api(model, aws)
    other = peers.servers(model) if with_peers else []
    servers = [bare(), service, naive(model), *other]
    body = model.bodies[0]
    ready = ready_seconds(service, body)
    with running(servers, body) as started, processor(GENERATOR_PROCESSOR) as pinned:
        print(f"servers on one processor, generator on another: {'yes' if pinned else 'NO, this machine cannot'}")
        rounds = alternate(started, model.bodies)
        memory = {server.name: server.memory_mb() for server in started}
        show(started, rounds, memory)
        latency = limited_latency(started[0], started[1], model.bodies)
    aws.stop()
    return Measured(
        bare=servers[0].name,
        service=service.name,
        naive=servers[2].name,
        peers=[peer.name for peer in other],
        rounds=rounds,
        memory=memory,
        ready_seconds=ready,
        latency=latency,
    )


def show_targets(measured: Measured) -> None:
    """Print the ratios, and which targets are reached."""
    rounds = measured.rounds
    of_bare = ratio(rounds[measured.service], rounds[measured.bare])
    over_naive = ratio(rounds[measured.service], rounds[measured.naive])
    print(f"\nof bare ASGI: {of_bare.rate:.2f} (per CPU second {of_bare.cpu:.2f})")
    print(f"over naive: {over_naive.rate:.0f} (per CPU second {over_naive.cpu:.0f})\n")
    target(
        f"{TARGET_OF_BARE} of bare ASGI's requests per CPU second ({of_bare.cpu:.2f})", of_bare.cpu >= TARGET_OF_BARE
    )
    for peer in measured.peers:
        over = ratio(rounds[measured.service], rounds[peer]).rate
        target(f"{TARGET_OF_PEERS} times {peer}'s requests/s ({over:.0f})", over >= TARGET_OF_PEERS)
    target(f"{TARGET_MEMORY_MB} MB", measured.memory[measured.service] < TARGET_MEMORY_MB)
    ready = measured.ready_seconds
    target(f"ready in {TARGET_READY_SECONDS} s ({ready:.1f})", ready < TARGET_READY_SECONDS)
    beyond = measured.latency.beyond_generator_ms
    reached = beyond <= TARGET_BEYOND_GENERATOR_MS if measured.latency.enforced else None
    target(f"p99 within {TARGET_BEYOND_GENERATOR_MS} ms of the generator's own ({beyond:.1f})", reached)


def main() -> int:
    """Measure, print, and store the figures or compare them with the baseline. Return the exit code."""
    parser = options("Measure the API against its stored baseline.")
    parser.add_argument("--peers", action="store_true", help="also measure MLServer and BentoML (make bench-peers)")
    arguments = parser.parse_args()
    measured = measure(prepared(), arguments.peers)
    show_targets(measured)
    now = measured.baseline()
    return settle("serving", now, lambda baseline: regressions(now, baseline), arguments.store)


if __name__ == "__main__":
    sys.exit(main())
