"""Check optional API keys. They are compared in constant time, never logged, and rotated without a restart."""

from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path

from api.config import MIN_KEY_LENGTH, Config
from api.errors import ConfigError, HttpError
from api.http.body import Headers

_HEADER = b"x-api-key"
_CHALLENGE = ((b"www-authenticate", b"ApiKey"),)
_KEY_MISSING = HttpError(401, "this API requires a key: send it in the header X-API-Key", _CHALLENGE)
_KEY_INVALID = HttpError(401, "the key in the header X-API-Key is not valid: send a current one", _CHALLENGE)


class Keys:
    """The accepted keys: API_KEY, or each line of API_KEY_FILE (a mounted Secret), which is read again when it changes.

    To rotate a key, put the new key beside the old one, move the clients, then remove the old one. A file that does not
    exist at the start means that no key is required. One that disappears or breaks later leaves the keys unchanged.
    """

    def __init__(self, config: Config) -> None:
        self._path = Path(config.api_key_file) if config.api_key_file else None
        self._version = self._file_version()
        self._accepted = [config.api_key.get_secret_value().encode()] if config.api_key else self._read_file()

    @property
    def required(self) -> bool:
        return bool(self._accepted)

    def require(self, headers: Headers) -> None:
        """Raise HttpError 401 unless no key is required or the request carries an accepted one."""
        if not self._accepted:
            return
        given = next((value for name, value in headers if name == _HEADER), None)
        if given is None:
            raise _KEY_MISSING
        if not sum(compare_digest(given, key) for key in self._accepted):  # sum() compares every key
            raise _KEY_INVALID

    def refresh(self, report: Callable[..., None]) -> None:
        """Read the file again if it changed. The server calls this once a second.

        report: called with an event, its level and its fields, but never with a key.
        """
        version = self._file_version()
        if version == self._version:
            return
        self._version = version
        try:
            accepted = self._read_file()
            if not accepted:
                raise ConfigError(f"API_KEY_FILE {self._path} does not exist any more")
        except ConfigError as error:
            report("keys", "ERROR", reason=f"{error}; the keys read before remain valid")
            return
        self._accepted = accepted
        report("keys", accepted=len(accepted))

    def _file_version(self) -> tuple[int, int] | None:
        """Return what changes when the file changes: modification time and inode. None without a file."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()  # follows the symbolic link that the kubelet replaces
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _read_file(self) -> list[bytes]:
        if self._path is None or not self._path.exists():
            return []
        try:
            keys = self._path.read_text("ascii").split()
        except (OSError, ValueError) as error:
            raise ConfigError(f"API_KEY_FILE {self._path} cannot be read ({type(error).__name__})") from None
        if not keys or min(map(len, keys)) < MIN_KEY_LENGTH:
            raise ConfigError(
                f"API_KEY_FILE {self._path} must hold keys of at least {MIN_KEY_LENGTH} characters, one per line"
            )
        return [key.encode() for key in keys]
