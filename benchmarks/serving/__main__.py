"""Measures the API beside a bare ASGI application and a naive service: `python -m benchmarks.serving` in .venv/dev.

All servers run at once and are asked in turn, so that ratios say the same on a fast and on a busy machine; servers have
one processor, the load generator another. Then a fixed rate while the API has half a processor. Ratios clearly worse
than the stored baseline fail; `--store` writes a new one, `--peers` adds other model servers.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common import WORSE, argument_parser, compare_or_store, print_target
from benchmarks.load import Report, closed_loop, open_loop
from benchmarks.serving import peers
from benchmarks.serving.limit import processor_share
from benchmarks.serving.model import Model, prepared
from benchmarks.serving.servers import Running, Server, api, bare, naive, processor
from tests.api.stub_aws import BUCKET, KEY, StubAws

CONNECTIONS = 8
ROUNDS = 5
ROUND_SECONDS = 2
STARTS = 3
RATE, SHARE = 600, 0.5
RATE_ROUNDS = 5
RATE_SECONDS = 4

OF_BARE, OF_PEERS = 0.3, 20
MEMORY_MB, READY_SECONDS, BEYOND_GENERATOR_MS = 200, 3, 5


@dataclass
class Rounds:
    """One server's rounds. cpu_ms: of the server, a request."""

    rates: list[float]
    p50: list[float]
    p99: list[float]
    cpu_ms: list[float]
    generator_busy: list[float]

    @classmethod
    def none(cls) -> "Rounds":
        return cls([], [], [], [], [])

    def add(self, report: Report, cpu_seconds: float) -> None:
        if report.failed:
            raise RuntimeError(f"requests failed: {report.failed}")
        self.rates.append(report.rate)
        self.p50.append(report.percentile(0.5))
        self.p99.append(report.percentile(0.99))
        self.cpu_ms.append(cpu_seconds * 1000 / report.answered)
        self.generator_busy.append(report.cpu_seconds / report.seconds)


@contextmanager
def running(servers: Sequence[Server], body: bytes) -> Iterator[list[Running]]:
    """All of them, started one after the other on the servers' processor."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as logs:
        started = []
        for server in servers:
            with processor(0):
                started.append(Running(server, body, Path(logs) / f"{server.name}.log"))
            stack.callback(started[-1].stop)
        yield started


def ready_seconds(server: Server, body: bytes) -> float:
    """From the start of its process to its first prediction: the median of some starts."""
    seconds = []
    for _ in range(STARTS):
        with running([server], body) as (one,):
            seconds.append(one.ready_seconds)
    return median(seconds)


def alternate(servers: Sequence[Running], bodies: Sequence[bytes]) -> dict[str, Rounds]:
    """Every server in turn, as fast as it can, the order reversed from round to round; the first round warms up."""
    found = {server.name: Rounds.none() for server in servers}
    for number in range(ROUNDS + 1):
        for server in servers if number % 2 else reversed(servers):
            used = server.cpu_seconds()
            report = closed_loop(server.url, CONNECTIONS, ROUND_SECONDS, bodies)
            if number:
                found[server.name].add(report, server.cpu_seconds() - used)
    return found


def beyond_generator(floor: Running, served: Running, bodies: Sequence[bytes]) -> tuple[float, bool]:
    """p99 in ms of the API on its share of a processor above that of the floor on a whole one; each of its best round,
    since whatever else the machine does only adds. And whether this machine could hold it to that share."""
    own, limited, held = [], [], True
    for _ in range(RATE_ROUNDS):
        own.append(open_loop(floor.url, RATE, RATE_SECONDS, bodies).percentile(0.99))
        with processor_share(served.pid, SHARE) as share:
            report = open_loop(served.url, RATE, RATE_SECONDS, bodies)
            throttled, periods = share.throttled()
            held = held and share.limited
        limited.append(report.percentile(0.99))
        told = (
            f"throttled in {throttled} of {periods} periods" if share.limited else "NOT LIMITED: no control groups here"
        )
        print(
            f"{RATE} requests/s: the generator's own p99 {own[-1]:.1f} ms; {served.name} on {SHARE} of a processor: "
            f"p99 {limited[-1]:.1f} ms, {sum(report.failed.values())} failed; {told}"
        )
    return min(limited) - min(own), held


def show(servers: Sequence[Running], found: dict[str, Rounds], memory: dict[str, float]) -> None:
    print(
        f"\n{'':12}{'rps':>9}{'range':>16}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}{'MB':>7}{'ready s':>9}"
        f"{'generator':>11}"
    )
    for server in servers:
        one = found[server.name]
        print(
            f"{server.name:12}{median(one.rates):9,.0f}{min(one.rates):8,.0f}-{max(one.rates):<7,.0f}"
            f"{median(one.p50):9.2f}{median(one.p99):9.2f}{median(one.cpu_ms):9.3f}{memory[server.name]:7.0f}"
            f"{server.ready_seconds:9.1f}{median(one.generator_busy):11.0%}"
        )


def ratio(found: dict[str, Rounds], one: str, other: str) -> tuple[float, float]:
    """How many times the other's requests `one` answers: a second (median of the rounds), and a CPU second."""
    rates = [a / b for a, b in zip(found[one].rates, found[other].rates, strict=True)]
    return median(rates), median(found[other].cpu_ms) / median(found[one].cpu_ms)


def regressions(now: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Ratios over the others must not fall, memory must not grow."""
    found = [
        f"{name}: {now[name]:.2f}, the baseline is {before:.2f}"
        for name, before in baseline.items()
        if name.startswith("cpu_") and now[name] * WORSE < before
    ]
    if now["memory_of_bare"] > baseline["memory_of_bare"] * WORSE:
        found.append(f"memory: {now['memory_of_bare']:.2f} of bare, the baseline is {baseline['memory_of_bare']:.2f}")
    return found


def measure(model: Model, with_peers: bool) -> dict[str, float]:
    """Prints all figures; those that are held against the baseline: of CPU time, since rates are the machine's, too."""
    aws = StubAws(model.digest, {f"/{BUCKET}/{KEY}": model.archive.read_bytes()}).start()
    ours = api(model, aws)
    servers = [bare(), ours, naive(model)]
    other = peers.servers(model) if with_peers else []
    body = model.bodies[0]
    ready = ready_seconds(ours, body)
    with running([*servers, *other], body) as started, processor(1) as pinned:
        floor, served = started[:2]
        print(f"servers on one processor, generator on another: {'yes' if pinned else 'NO, this machine cannot'}")
        found = alternate(started, model.bodies)
        memory = {server.name: server.memory_mb() for server in started}
        show(started, found, memory)
        of_bare, cpu_of_bare = ratio(found, ours.name, floor.name)
        over_naive, cpu_over_naive = ratio(found, ours.name, started[2].name)
        print(f"\nof bare ASGI: {of_bare:.2f} (a CPU second {cpu_of_bare:.2f})")
        print(f"over naive: {over_naive:.0f} (a CPU second {cpu_over_naive:.0f})\n")
        beyond, held = beyond_generator(floor, served, model.bodies)
    aws.stop()
    print()
    print_target(f"{OF_BARE} of bare ASGI's requests a CPU second ({cpu_of_bare:.2f})", cpu_of_bare >= OF_BARE)
    for peer in other:
        over = ratio(found, ours.name, peer.name)[0]
        print_target(f"{OF_PEERS} times {peer.name}'s requests/s ({over:.0f})", over >= OF_PEERS)
    print_target(f"{MEMORY_MB} MB", memory[ours.name] < MEMORY_MB)
    print_target(f"ready in {READY_SECONDS} s ({ready:.1f})", ready < READY_SECONDS)
    within = beyond <= BEYOND_GENERATOR_MS if held else None
    print_target(f"p99 within {BEYOND_GENERATOR_MS} ms of the generator's own ({beyond:.1f})", within)
    return {
        "request_cpu_ms": round(median(found[ours.name].cpu_ms), 3),  # the machine's, too: not held against
        "cpu_of_bare": cpu_of_bare,
        "cpu_over_naive": cpu_over_naive,
        "memory_of_bare": memory[ours.name] / memory[floor.name],
    }


def main() -> int:
    parser = argument_parser("Measure the API against its stored baseline.")
    parser.add_argument("--peers", action="store_true", help="beside MLServer and BentoML, too (make bench-peers)")
    wanted = parser.parse_args()
    now = measure(prepared(), wanted.peers)
    return compare_or_store("serving", now, lambda baseline: regressions(now, baseline), wanted.store)


if __name__ == "__main__":
    sys.exit(main())
