"""Bearer tokens of EKS logins that are signed for the local STS."""

import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from ministack.services import eks

from local.aws.eks.running_planes import planes
from local.aws.patch import wrap

Decoded = tuple[Any, dict[str, list[str]]]
"""The signed URL's parts, and its query."""


def _decode(decode: Callable[[str], Decoded | None], token: str) -> Decoded | None:
    """Return the parts of a token that is signed for the local endpoint; leave all others to ministack."""
    try:
        url = urlsplit(base64.urlsafe_b64decode(token.removeprefix(eks._EKS_TOKEN_PREFIX) + "==").decode())
        query = parse_qs(url.query, keep_blank_values=True, strict_parsing=True)
        region = query["X-Amz-Credential"][0].split("/")[2]
    except (ValueError, LookupError):
        return None
    if f"{url.scheme}://{url.netloc}" != planes().stack.aws_url:
        return decode(token)
    if url.path != "/" or any(len(values) != 1 for values in query.values()):
        return None
    return SimpleNamespace(netloc=url.netloc, path="/", hostname=f"sts.{region}.amazonaws.com"), query


PATCHES: Final = (
    wrap(eks, "_decode_aws_iam_token", _decode, "only tokens for https://sts.<region>.amazonaws.com are accepted"),
)
