"""Where ministack's enforcement of IAM differs from AWS's, and a record of what it allowed.

Root's signature is checked like anybody's: ministack takes the key `test`, and any account number, unchecked. Policies
that ask for TLS hold: what goes over loopback only is as private as what AWS gets over TLS, and without it the lake's
own bucket policy (deny unless aws:SecureTransport) would lock everybody out. Metrics are written under the condition
of their namespace, as the roles of infra/ do, which ministack does not know. A call on a node group needs the right to
that group, not to its cluster:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html

Each (role, action) that was ever allowed is a line of the local stack's `aws/allowed.txt`, so that a test can say which
actions of a policy nobody needs.
"""

import json
import os
import re
import threading
from pathlib import Path
from typing import Any, Final

from ministack.core import iam_actions, iam_evaluator
from ministack.services import eks

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws.home import ALLOWED

_resolve = iam_evaluator._resolve_condition_key
_tag_context = iam_actions.request_tag_context
_evaluate = iam_evaluator.evaluate
_resource_arn = iam_actions.extract_resource_arn
_NODE_GROUP: Final = re.compile(r"/clusters/([^/]+)/node-groups/([^/]+)(?:/[^/]+)?")
_seen: Final[set[str]] = set()
_lock: Final = threading.Lock()


def _resolve_with_loopback(key: str, context: iam_evaluator.EvalContext) -> Any:
    return "true" if key.lower() == "aws:securetransport" else _resolve(key, context)


def _context_with_namespace(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    found = _tag_context(service, action, body, params)
    if action == "cloudwatch:PutMetricData" and body[:1] == b"{":  # JSON, as botocore and ministack agree on
        found["cloudwatch:namespace"] = json.loads(body).get("Namespace")
    return found


def _resource_of(service: str, method: str, path: str, *rest: Any) -> str:
    """rest: headers, body, query, region, account."""
    if service != "eks" or not (found := _NODE_GROUP.fullmatch(path)):
        return _resource_arn(service, method, path, *rest)
    region, account = rest[-2:]
    group = eks._nodegroups.get_scoped(account, region, f"{found[1]}/{found[2]}")
    return group["nodegroupArn"] if group else f"arn:aws:eks:{region}:{account}:nodegroup/{found[1]}/{found[2]}/-"


def _evaluate_and_record(context: iam_evaluator.EvalContext, *policies: Any) -> iam_evaluator.EvalResult:
    result = _evaluate(context, *policies)
    _, is_role, session = context.principal_arn.partition(":assumed-role/")
    line = f"{session.partition('/')[0]} {context.action}\n"
    if is_role and result.decision == "Allow" and line not in _seen:
        with _lock, (Path(os.environ["STATE_DIR"]).parent / ALLOWED).open("a") as file:
            _seen.add(line)
            file.write(line)
    return result


iam_actions.extract_resource_arn = _resource_of
iam_actions.request_tag_context = _context_with_namespace
iam_evaluator._is_root_key = lambda key: False
iam_evaluator._resolve_condition_key = _resolve_with_loopback
iam_evaluator.evaluate = _evaluate_and_record
