"""Where ministack's enforcement of IAM differs from AWS's.

Root's signature is checked like anybody's: ministack takes the key `test`, and any account number, unchecked. Policies
that ask for TLS hold: what goes over loopback only is as private as what AWS gets over TLS, and without it the lake's
own bucket policy (deny unless aws:SecureTransport) would lock everybody out. Metrics are written under the condition
of their namespace, as the roles of infra/ do, which ministack does not know.
"""

import json
from typing import Any

from ministack.core import iam_actions, iam_evaluator

from local.aws import pins  # noqa: F401 - asserts the private names used below

_resolve = iam_evaluator._resolve_condition_key


def _resolve_with_loopback(key: str, context: iam_evaluator.EvalContext) -> Any:
    return "true" if key.lower() == "aws:securetransport" else _resolve(key, context)


_tag_context = iam_actions.request_tag_context


def _context_with_namespace(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    found = _tag_context(service, action, body, params)
    if action == "cloudwatch:PutMetricData" and body[:1] == b"{":  # JSON, as botocore and ministack agree on
        found["cloudwatch:namespace"] = json.loads(body).get("Namespace")
    return found


iam_actions.request_tag_context = _context_with_namespace
iam_evaluator._is_root_key = lambda key: False
iam_evaluator._resolve_condition_key = _resolve_with_loopback
