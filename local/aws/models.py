"""ministack reads botocore's service models from files that are read once, without their documentation.

By itself it reads each again, with all texts: 200 MB for the services of this project.
"""

from functools import cache
from typing import Any

from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.model import ServiceModel
from ministack.core import iam_actions, responses

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.stack import renewing


@cache
def _service_model(service: str) -> ServiceModel | None:
    try:
        return renewing.core().get_service_model(responses._BOTOCORE_NAME.get(service, service))
    except (UnknownServiceError, DataNotFoundError):
        return None


def _load_botocore_model(service: str) -> dict[str, Any]:
    try:
        return renewing.core().get_component("data_loader").load_service_model(service, "service-2")
    except (UnknownServiceError, DataNotFoundError):
        return {}


responses._service_model = _service_model
iam_actions._load_botocore_model = _load_botocore_model
