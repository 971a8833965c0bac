"""The optional API keys: compared in constant time, never logged, changed without a restart."""

from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path

from api.config import MIN_KEY_LENGTH, Config
from api.errors import ConfigError, HttpError

Headers = list[tuple[bytes, bytes]]
_HEADER = b"x-api-key"
_CHALLENGE = ((b"www-authenticate", b"ApiKey"),)
_MISSING = HttpError(401, "this API needs a key: send it as header X-API-Key", _CHALLENGE)
_WRONG = HttpError(401, "the key in X-API-Key is wrong", _CHALLENGE)


class Keys:
    """The keys that are accepted: API_KEY, or each line of API_KEY_FILE (a mounted Secret), which is read again when it
    changes. To rotate: put the new key beside the old one, move the clients, take the old one out. A file that is
    not there at the start means no key; one that vanishes or breaks later leaves the keys as they were."""

    def __init__(self, config: Config) -> None:
        self._path = Path(config.api_key_file) if config.api_key_file else None
        self._seen = self._stamp()
        self._accepted = [config.api_key.get_secret_value().encode()] if config.api_key else self._read()

    @property
    def wanted(self) -> bool:
        return bool(self._accepted)

    def require(self, headers: Headers) -> None:
        """HttpError 401 unless no key is set or the request carries one that is accepted."""
        if not self._accepted:
            return
        given = next((value for name, value in headers if name == _HEADER), None)
        if given is None:
            raise _MISSING
        if not sum(compare_digest(given, key) for key in self._accepted):  # a sum: every key is compared
            raise _WRONG

    def refresh(self, report: Callable[..., None]) -> None:
        """Read the file again if it changed; called once a second. `report` is told, never a key."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            found = self._read()
            if not found:
                raise ConfigError(f"{self._path} is gone")
        except ConfigError as error:
            report("keys", "ERROR", reason=f"{error}: the keys stay as they were")
            return
        self._accepted = found
        report("keys", accepted=len(found))

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path else None  # follows the link that the kubelet turns
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ino) if found else None

    def _read(self) -> list[bytes]:
        if self._path is None or not self._path.exists():
            return []
        try:
            keys = self._path.read_text("ascii").split()
        except (OSError, ValueError) as error:
            raise ConfigError(f"API_KEY_FILE {self._path} cannot be read ({type(error).__name__})") from None
        if not keys or min(map(len, keys)) < MIN_KEY_LENGTH:
            raise ConfigError(
                f"API_KEY_FILE {self._path} must hold keys of {MIN_KEY_LENGTH} characters or more, one a line"
            )
        return [key.encode() for key in keys]
