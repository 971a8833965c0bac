"""The ETL jobs: raw weekly file → silver lines → gold baskets."""

from typing import Final

CODE_VERSION: Final = "4"
"""Stored in quality reports and manifests. Raise it when the same raw file and settings would give other bytes."""
