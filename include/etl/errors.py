"""Errors of the ETL: each text says what is wrong, where (file, row, column), and what to do."""


class EtlError(Exception):
    """A shop week cannot be built."""


class RawFileError(EtlError):
    """The raw file as a whole cannot be used: missing, damaged, or not of the form that is known."""


class RowsError(EtlError):
    """More rows break a rule than the tolerance allows, or none is left to learn from."""


class SilverError(EtlError):
    """The silver that the job was given is not what its quality report says."""
