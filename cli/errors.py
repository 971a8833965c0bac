"""The error that a command reports in one line, without a traceback."""


class CommandError(Exception):
    """Says why a command failed, and what the person who typed it can do."""
