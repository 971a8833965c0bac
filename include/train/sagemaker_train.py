#!/app/.venv/jobs/bin/python
"""Fit a model: the program `train` that SageMaker runs when a training job names no entry point of its own.

The Dockerfile installs this file as `train` in the image of the jobs. The project's own jobs name an entry point.
"""

import sys

from include.job import end_on_sigterm
from include.train.__main__ import main

if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main(["fit"]))
