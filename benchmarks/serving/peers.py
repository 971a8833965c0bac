"""Other model servers with the same forest, each in an environment of its own."""

from benchmarks.serving.model import Model
from benchmarks.serving.servers import Server


def servers(model: Model) -> list[Server]:
    return []
