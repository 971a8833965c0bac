"""`python -m local.containers COMMAND`: what a container of docker-compose.yaml runs, in place of this process."""

import importlib
import sys

COMMANDS = {
    "gateway": "local.containers.gateway",
    "secrets": "local.containers.secret",
    "kube": "local.containers.kube",
    "aws": "local.containers.aws",
    "demo": "local.containers.demo",
}
"""Modules with a `main`; each is imported alone, since images hold what one of them needs."""
AIRFLOW = ("migrate", "api-server", "scheduler", "dag-processor", "triggerer")


def main() -> int:
    words = sys.argv[1:]
    if len(words) == 1 and words[0] in AIRFLOW:
        from local.containers import airflow

        return airflow.main(words[0])
    if len(words) == 1 and words[0] in COMMANDS:
        return int(importlib.import_module(COMMANDS[words[0]]).main() or 0)
    print(f"usage: python -m local.containers {{{','.join((*COMMANDS, *AIRFLOW))}}}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
