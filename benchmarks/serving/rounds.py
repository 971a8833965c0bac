"""What was measured of each server, round by round, and what follows from it: ratios, a table, regressions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.common import WORSE
from benchmarks.load import Report
from benchmarks.serving.servers import Running

COLUMNS = (("rps", 9), ("range", 16), ("p50 ms", 9), ("p99 ms", 9), ("CPU ms", 9), ("MB", 7), ("ready s", 9))


@dataclass
class Rounds:
    """The rounds of one server. p50, p99: milliseconds. cpu_ms: of the server, per request. generator_busy: share."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    generator_busy: list[float] = field(default_factory=list)

    def add(self, report: Report, cpu_seconds: float) -> None:
        """Add a round. Raise RuntimeError when a request failed: its figures would not be comparable."""
        if report.failed:
            raise RuntimeError(f"requests failed: {report.failed}; the benchmark needs a server that answers all")
        self.rates.append(report.rate)
        self.p50.append(report.percentile(0.5))
        self.p99.append(report.percentile(0.99))
        self.cpu_ms.append(cpu_seconds * 1000 / report.answered)
        self.generator_busy.append(report.cpu_seconds / report.seconds)


@dataclass(frozen=True)
class Ratio:
    """How many times the requests of another server a server answers, per second and per CPU second."""

    rate: float
    cpu: float


def ratio(rounds: Rounds, other: Rounds) -> Ratio:
    """Compare two servers: the median of the rounds' ratios, and the ratio of the median CPU times."""
    rates = [rate / other_rate for rate, other_rate in zip(rounds.rates, other.rates, strict=True)]
    return Ratio(rate=median(rates), cpu=median(other.cpu_ms) / median(rounds.cpu_ms))


def show(servers: Sequence[Running], rounds: dict[str, Rounds], memory: dict[str, float]) -> None:
    """Print a table of all servers. memory: MB by server."""
    heads = "".join(f"{name:>{width}}" for name, width in COLUMNS)
    print(f"\n{'':12}{heads}{'generator':>11}")
    for server in servers:
        measured = rounds[server.name]
        rates = measured.rates
        print(
            f"{server.name:12}{median(rates):9,.0f}{min(rates):8,.0f}-{max(rates):<7,.0f}"
            f"{median(measured.p50):9.2f}{median(measured.p99):9.2f}{median(measured.cpu_ms):9.3f}"
            f"{memory[server.name]:7.0f}{server.ready_seconds:9.1f}{median(measured.generator_busy):11.0%}"
        )


def regressions(now: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Return which ratios to the other servers fell, and whether memory grew, by more than the noise between runs."""
    worse = [
        f"{name}: {now[name]:.2f}, the baseline is {before:.2f}"
        for name, before in baseline.items()
        if name.startswith("cpu_") and now[name] * WORSE < before
    ]
    if now["memory_of_bare"] > baseline["memory_of_bare"] * WORSE:
        worse.append(f"memory: {now['memory_of_bare']:.2f} of bare, the baseline is {baseline['memory_of_bare']:.2f}")
    return worse
