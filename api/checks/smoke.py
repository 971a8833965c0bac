"""Check what a pod may do with the API's role, and what it may not: `python -m api.checks.smoke`.

Reads SMOKE_READ (s3:// URL of an object that the role may read), SMOKE_CONTENT (the content of that object) and
SMOKE_DENIED (s3:// URLs, separated by blanks, of objects that exist and that the role must not read). Writing to
SMOKE_READ must be denied as well. Prints one JSON line with the reasons. Exits 0 when every check passes, 1 when one
fails, 2 when a setting is missing.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

READ_TIMEOUT_SECONDS = 60
"""A new role or identity provider takes a while until all of AWS knows it."""
RETRY_SECONDS = 2
SETTINGS = ("SMOKE_READ", "SMOKE_CONTENT", "SMOKE_DENIED")
_DENIED_CODES = ("AccessDenied", "403")
_CLIENT = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})


def _location(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {"Bucket": parts.netloc, "Key": parts.path.lstrip("/")}


def check_readable(
    s3: Any, url: str, content: str, timeout: float, pause: Callable[[float], None] = time.sleep
) -> str | None:
    """Return why the object cannot be read or does not hold `content`; None when it does.

    timeout: seconds during which a failing read is tried again.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            actual = s3.get_object(**_location(url))["Body"].read().decode()
            return None if actual == content else f"{url} holds {actual[:80]!r} instead of {content!r}"
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() >= deadline:
                return f"{url} cannot be read: {error}"
        pause(RETRY_SECONDS)


def check_denied(call: Callable[..., Any], url: str, **arguments: Any) -> str | None:
    """Return what AWS answers to the call other than AccessDenied; None when it denies the call.

    Another error, such as a missing bucket, does not prove that the role lacks the permission.
    """
    try:
        call(**_location(url), **arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return None if code in _DENIED_CODES else f"{url}: {code} instead of AccessDenied"
    except BotoCoreError as error:
        return f"{url}: {error} instead of AccessDenied"
    return f"{url}: allowed, and must not be"


def main(environment: Mapping[str, str], s3: Any = None, timeout: float = READ_TIMEOUT_SECONDS) -> int:
    """Run the checks, print one JSON line and return the exit code."""
    missing = [name for name in SETTINGS if name not in environment]
    if missing:
        _report(result="cannot tell", reason=f"{' and '.join(missing)} must be set")
        return 2
    s3 = s3 or boto3.Session(region_name=environment.get("AWS_REGION")).client("s3", config=_CLIENT)
    readable = environment["SMOKE_READ"]
    checks = {
        f"read {readable}": check_readable(s3, readable, environment["SMOKE_CONTENT"], timeout),
        f"write {readable} denied": check_denied(s3.put_object, readable, Body=b"must not be written"),
    }
    for url in environment["SMOKE_DENIED"].split():
        checks[f"read {url} denied"] = check_denied(s3.get_object, url)
    wrong = [reason for reason in checks.values() if reason]
    _report(result="failed" if wrong else "passed", checked=list(checks), wrong=wrong)
    return 1 if wrong else 0


def _report(**fields: Any) -> None:
    print(json.dumps({"event": "smoke", **fields}))


if __name__ == "__main__":
    sys.exit(main(os.environ))
