"""Fixtures of code images."""

from tests.code_registry import checkout as checkout
from tests.code_registry import registry as registry
from tests.code_registry import session as session
