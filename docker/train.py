#!/app/.venv/jobs/bin/python
"""`train`: what SageMaker runs when a training job names no entry point of its own. The project's jobs always do."""

import sys

from include.job import end_on_sigterm
from include.train.__main__ import main

if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main(["fit"]))
