"""The AWS emulation for the commands that ask an account, as tests/local/aws starts it."""

from tests.local.aws.conftest import nobody, service  # noqa: F401 - fixtures
