"""Enforce IAM where ministack differs from AWS, and record what was allowed.

- Root's signature is checked like anybody's. ministack takes the key `test`, and any account number, unchecked.
- Loopback counts as TLS. Otherwise the lake's bucket policy (deny unless aws:SecureTransport) would refuse everybody.
- The condition key cloudwatch:namespace is known, which the roles of infra/ use.
- A call on a node group needs the right to that group, not to its cluster:
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html

Each (role, action) that was ever allowed is a line of the local stack's `aws/allowed.txt`. From it a test reports which
actions of a policy nobody needs.
"""

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ministack.core import iam_actions, iam_evaluator
from ministack.services import eks

from local.aws.home import ALLOWED
from local.aws.patch import replace, wrap

_NODE_GROUP: Final = re.compile(r"/clusters/(?P<cluster>[^/]+)/node-groups/(?P<group>[^/]+)(?:/[^/]+)?")
_recorded: Final[set[str]] = set()
_lock: Final = threading.Lock()


def _resolve_condition_key(
    resolve: Callable[[str, iam_evaluator.EvalContext], Any], key: str, context: iam_evaluator.EvalContext
) -> Any:
    return "true" if key.lower() == "aws:securetransport" else resolve(key, context)


def _request_context(
    context_of: Callable[..., dict[str, Any]], service: str, action: str, body: bytes, parameters: dict[str, Any]
) -> dict[str, Any]:
    context = context_of(service, action, body, parameters)
    if action == "cloudwatch:PutMetricData" and body[:1] == b"{":  # JSON, as botocore and ministack agree on
        context["cloudwatch:namespace"] = json.loads(body).get("Namespace")
    return context


def _resource_arn(arn_of: Callable[..., str], service: str, method: str, path: str, *rest: Any) -> str:
    """Return the ARN that policies check. rest: headers, body, query, region, account."""
    match = _NODE_GROUP.fullmatch(path)
    if service != "eks" or not match:
        return arn_of(service, method, path, *rest)
    region, account = rest[-2:]
    cluster, name = match["cluster"], match["group"]
    group = eks._nodegroups.get_scoped(account, region, f"{cluster}/{name}")
    return str(group["nodegroupArn"]) if group else f"arn:aws:eks:{region}:{account}:nodegroup/{cluster}/{name}/-"


def _evaluate(
    evaluate: Callable[..., iam_evaluator.EvalResult], context: iam_evaluator.EvalContext, *policies: Any
) -> iam_evaluator.EvalResult:
    result = evaluate(context, *policies)
    _, is_role, session = context.principal_arn.partition(":assumed-role/")
    line = f"{session.partition('/')[0]} {context.action}\n"
    if is_role and result.decision == "Allow" and line not in _recorded:
        with _lock, (Path(os.environ["STATE_DIR"]).parent / ALLOWED).open("a") as file:
            _recorded.add(line)
            file.write(line)
    return result


PATCHES: Final = (
    wrap(iam_actions, "extract_resource_arn", _resource_arn, "a call on a node group is checked against its cluster"),
    wrap(iam_actions, "request_tag_context", _request_context, "the key cloudwatch:namespace is unknown"),
    replace(iam_evaluator, "_is_root_key", lambda _key: False, "requests of root are not checked"),
    wrap(iam_evaluator, "_resolve_condition_key", _resolve_condition_key, "loopback does not count as TLS"),
    wrap(iam_evaluator, "evaluate", _evaluate, "nothing records which actions were allowed"),
)
