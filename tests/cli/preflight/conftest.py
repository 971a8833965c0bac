"""The AWS emulation that the checks ask."""

from tests.local.aws.conftest import nobody as nobody
from tests.local.aws.conftest import service as service
