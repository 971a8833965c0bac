"""`python -m api.checks.smoke`: what a pod may do with the API's role, and what it may not.

Reads SMOKE_READ (s3:// URL of an object that the role reads), SMOKE_CONTENT (what stands in it) and SMOKE_DENIED (s3://
URLs, separated by blanks, of objects that exist and that the role must not read). Writing to SMOKE_READ must be denied,
too. Exits 0 when all of it is so, 1 when something is not, 2 when it cannot tell; says why.
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

PATIENCE_SECONDS = 60  # a fresh role or identity provider is known everywhere only after a while
_DENIED = ("AccessDenied", "403")
_CLIENT = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})


def _place(url: str) -> dict[str, str]:
    where = urlsplit(url)
    return {"Bucket": where.netloc, "Key": where.path.lstrip("/")}


def readable(s3: Any, url: str, content: str, seconds: float, pause: Callable[[float], None] = time.sleep) -> str:
    """Empty when the object is read and holds `content`, else why not, after so many seconds of trying."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = s3.get_object(**_place(url))["Body"].read().decode()
            return "" if found == content else f"{url} holds {found[:80]!r} instead of {content!r}"
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() >= until:
                return f"{url} cannot be read: {error}"
        pause(2)


def denied(call: Callable[..., Any], url: str, **arguments: Any) -> str:
    """Empty when AWS denies the call, else what it says instead: that nothing is there proves no right missing."""
    try:
        call(**_place(url), **arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "" if code in _DENIED else f"{url}: {code} instead of AccessDenied"
    except BotoCoreError as error:
        return f"{url}: {error} instead of AccessDenied"
    return f"{url}: allowed, and must not be"


def main(environment: Mapping[str, str], s3: Any = None, seconds: float = PATIENCE_SECONDS) -> int:
    """The checks; prints one JSON line and returns the exit code."""
    try:
        read, content, forbidden = (environment[f"SMOKE_{name}"] for name in ("READ", "CONTENT", "DENIED"))
    except KeyError as missing:
        print(json.dumps({"event": "smoke", "result": "cannot tell", "reason": f"{missing.args[0]} is not set"}))
        return 2
    s3 = s3 or boto3.Session(region_name=environment.get("AWS_REGION")).client("s3", config=_CLIENT)
    checks = {
        f"read {read}": readable(s3, read, content, seconds),
        f"write {read} denied": denied(s3.put_object, read, Body=b"must not be written"),
        **{f"read {url} denied": denied(s3.get_object, url) for url in forbidden.split()},
    }
    wrong = [reason for reason in checks.values() if reason]
    result = "failed" if wrong else "passed"
    print(json.dumps({"event": "smoke", "result": result, "checked": list(checks), "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
