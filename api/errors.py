"""The API's one family of exceptions, and how a refusal is worded for the client."""

import re
from typing import Any

import msgspec


class ApiError(Exception):
    """Anything that this process refuses or cannot do; the text is for the person who reads the log."""


class ConfigError(ApiError):
    """The environment of the process is wrong: names the variable."""


class Refused(ApiError):
    """This release must not be served, and waiting will not change that: unapproved, wrong digest, broken bundle."""


class Unavailable(ApiError):
    """Something that is needed at start does not answer now: worth another try."""


class HttpError(ApiError):
    """A refusal of one request: status and the `detail` of the JSON answer."""

    def __init__(self, status: int, detail: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.headers = status, detail, headers


_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]|\[(\.\.\.)\]")
_PLACE = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)


def invalid_body(error: Exception, *prefix: str | int) -> HttpError:
    """422 in FastAPI's form for what msgspec found: `loc` is the field's path below `prefix`, `msg` the rule."""
    match = _PLACE.match(str(error))
    message = match["message"] if match else str(error)
    path = (match["path"] if match else None) or "$"
    steps = [int(index) if index else name or rest for name, index, rest in _STEP.findall(path)]
    if isinstance(error, UnicodeDecodeError):
        message = "the body is not UTF-8"
    elif isinstance(error, RecursionError):
        message = "the body is nested too deeply"
    kind = "value_error" if isinstance(error, msgspec.ValidationError) else "json_invalid"
    return HttpError(422, [{"type": kind, "loc": ["body", *prefix, *steps], "msg": message}])
