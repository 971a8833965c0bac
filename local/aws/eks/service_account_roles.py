"""IAM roles for service accounts (IRSA): verify a cluster's tokens before a trust policy is evaluated over them."""

from collections.abc import Callable
from typing import Any, Final

import jwt
from ministack.services import iam, sts

from local.aws.eks.running_planes import planes
from local.aws.patch import wrap


def issuer_keys(issuer: str) -> dict[str, Any]:
    """Return the key set of the running cluster with this issuer. Raise LookupError when there is none."""
    for plane in planes().list():
        if plane.issuer == issuer and plane.up:
            return plane.key_set()
    raise LookupError(f"Couldn't retrieve verification key from your identity provider {issuer}")


def _verify(token: str, account: str) -> None:
    """Check provider, signature, audience and times of a token. Raise LookupError or PyJWTError."""
    issuer = jwt.decode(token, options={"verify_signature": False}).get("iss", "")
    provider_arn = f"arn:aws:iam::{account}:oidc-provider/{issuer.split('://', 1)[-1]}"
    provider = iam._oidc_providers.get_scoped(account, None, provider_arn)
    if not provider:
        raise LookupError(f"No OpenIDConnect provider found in your account for {issuer}")
    key = jwt.PyJWKSet.from_dict(issuer_keys(issuer))[jwt.get_unverified_header(token).get("kid", "")]
    jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        issuer=issuer,
        audience=provider["ClientIDList"],
        options={"require": ["exp", "iat", "sub", "aud"]},
    )


def _denied(denied: Callable[..., Any], role_arn: str, parameters: dict[str, Any], use_json: bool) -> Any:
    """Return the refusal of AssumeRoleWithWebIdentity, or None."""
    try:
        _verify(sts._p(parameters, "WebIdentityToken"), role_arn.split(":")[4])
    except jwt.ExpiredSignatureError as error:
        return sts._error(400, "ExpiredTokenException", str(error), ns="sts")
    except (jwt.PyJWTError, LookupError) as error:
        return sts._error(400, "InvalidIdentityToken", str(error), ns="sts")
    return denied(role_arn, parameters, use_json)


def _principal(principal_of: Callable[..., tuple[str, dict[str, Any]]], *args: Any) -> tuple[str, dict[str, Any]]:
    """Return principal and condition keys; an audience in a list of one is that audience."""
    principal, keys = principal_of(*args)
    return principal, {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in keys.items()
    }


PATCHES: Final = (
    wrap(sts, "_web_identity_trust_denied", _denied, "signature, audience and times of a token are not verified"),
    wrap(sts, "_web_identity_principal", _principal, "Kubernetes' aud is a list, which StringEquals never matches"),
)
