"""What all DAGs share: defaults, errors, names, log lines, job requests, stacks."""
