"""Errors of the ETL jobs. Each text says what is wrong, where (file, row, column), and what to do next."""


class EtlError(Exception):
    """A shop week cannot be built."""


class RawFileError(EtlError):
    """The raw file cannot be used at all: it is missing, damaged, or has an unknown format."""


class RowsError(EtlError):
    """More rows break a rule than the tolerance allows, or no row is left to learn from."""


class SilverError(EtlError):
    """The silver files are missing, or differ from what their quality report says."""
