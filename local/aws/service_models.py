"""Let ministack read botocore's service models once, and without their documentation."""

from functools import cache
from typing import Any, Final

from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.model import ServiceModel
from ministack.core import iam_actions, responses

from local.aws.patch import replace
from local.stack import renewing

REASON: Final = "each of the two reads every model again, with all texts: 200 MB for the services of this project"


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


PATCHES: Final = (
    replace(responses, "_service_model", _service_model, REASON),
    replace(iam_actions, "_load_botocore_model", _load_botocore_model, REASON),
)
