"""The optional API key: compared in constant time, never logged."""

from hmac import compare_digest

from pydantic import SecretStr

from api.errors import HttpError

Headers = list[tuple[bytes, bytes]]
_HEADER = b"x-api-key"
_MISSING = HttpError(401, "this API needs a key: send it as header X-API-Key", ((b"www-authenticate", b"ApiKey"),))
_WRONG = HttpError(401, "the key in X-API-Key is wrong", ((b"www-authenticate", b"ApiKey"),))


def require_key(headers: Headers, key: SecretStr | None) -> None:
    """HttpError 401 unless no key is set or the request carries it."""
    if key is None:
        return
    given = next((value for name, value in headers if name == _HEADER), None)
    if given is None:
        raise _MISSING
    if not compare_digest(given, key.get_secret_value().encode()):
        raise _WRONG
