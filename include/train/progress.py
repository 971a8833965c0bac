"""Log lines of a job. CloudWatch Logs reads standard output, so each line is flushed at once."""


def log(text: str) -> None:
    """Write a line to standard output."""
    print(text, flush=True)
