"""Where ministack's enforcement of IAM differs from AWS's.

Root's signature is checked like anybody's: ministack takes the key `test`, and any account number, unchecked. Policies
that ask for TLS hold: what goes over loopback only is as private as what AWS gets over TLS, and without it the lake's
own bucket policy (deny unless aws:SecureTransport) would lock everybody out.
"""

from typing import Any

from ministack.core import iam_evaluator

from local.aws import pins  # noqa: F401 - asserts the private names used below

_resolve = iam_evaluator._resolve_condition_key


def _resolve_with_loopback(key: str, context: iam_evaluator.EvalContext) -> Any:
    return "true" if key.lower() == "aws:securetransport" else _resolve(key, context)


iam_evaluator._is_root_key = lambda key: False
iam_evaluator._resolve_condition_key = _resolve_with_loopback
