"""The exceptions of the service, and the 422 answer for a body that cannot be decoded."""

import re
from typing import Any

import msgspec


class ApiError(Exception):
    """Base class. The text is written for the person who reads the log."""


class ConfigError(ApiError):
    """An environment variable is missing, invalid or unknown; the text names it."""


class Refused(ApiError):
    """This release must not be served, and a retry cannot change that: not approved, wrong digest, broken bundle."""


class Unavailable(ApiError):
    """A dependency does not answer at the moment; a retry may succeed."""


class HttpError(ApiError):
    """The refusal of one request: its status and the `detail` of the JSON answer."""

    def __init__(self, status: int, detail: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers


_PATH_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]|\[(\.\.\.)\]")
_MSGSPEC_ERROR = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)


def invalid_body(error: Exception, *prefix: str | int) -> HttpError:
    """Return the 422 answer for a decoding error, in the form that FastAPI uses.

    `loc` is "body", then `prefix`, then the path of the field; `msg` is the rule that the field breaks.
    """
    match = _MSGSPEC_ERROR.match(str(error))
    message = match["message"] if match else str(error)
    path = (match["path"] if match else None) or "$"
    steps = [int(index) if index else name or rest for name, index, rest in _PATH_STEP.findall(path)]
    if isinstance(error, UnicodeDecodeError):
        message = "the body is not UTF-8"
    elif isinstance(error, RecursionError):
        message = "the body is nested too deeply"
    kind = "value_error" if isinstance(error, msgspec.ValidationError) else "json_invalid"
    return HttpError(422, [{"type": kind, "loc": ["body", *prefix, *steps], "msg": message}])
