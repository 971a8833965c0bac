"""`python -m local.stack.containers COMMAND`: what a container of docker-compose.yaml runs."""

import importlib
import sys

COMMANDS = {
    "gateway": "local.stack.containers.gateway",
    "secrets": "local.stack.containers.secret",
    "kube": "local.stack.containers.kube",
    "aws": "local.stack.containers.aws",
}
"""Modules with a `main`; only the named one is imported, since an image has what its own command needs."""
AIRFLOW = ("migrate", "api-server", "scheduler", "dag-processor", "triggerer")


def main() -> int:
    """Run the command that the container names."""
    words = sys.argv[1:]
    if len(words) == 1 and words[0] in AIRFLOW:
        from local.stack.containers import airflow

        return airflow.main(words[0])
    if len(words) == 1 and words[0] in COMMANDS:
        return int(importlib.import_module(COMMANDS[words[0]]).main() or 0)
    print(f"usage: python -m local.stack.containers {{{','.join((*COMMANDS, *AIRFLOW))}}}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
