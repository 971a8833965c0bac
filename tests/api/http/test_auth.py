"""API keys from a file: rotated without a restart, never lost by accident."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.errors import ConfigError, HttpError
from api.http.auth import Keys
from tests.api.conftest import Process, Release, Served
from tests.api.tiny import basket

OLD, NEW = "the-old-key-0123456789", "the-new-key-0123456789"


class Reports:
    """Records what `refresh` reports."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: str, level: str = "INFO", **fields: Any) -> None:
        self.events.append({"event": event, "level": level, **fields})


def write(file: Path, text: str) -> None:
    """Replace the file as the kubelet does: another file takes its name."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def accepts(keys: Keys, key: str) -> bool:
    try:
        keys.require([(b"x-api-key", key.encode())])
    except HttpError:
        return False
    return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "API_KEY"


@pytest.fixture
def keys(release: Release, file: Path) -> Keys:
    write(file, f"{OLD}\n")
    return Keys(release.config(API_KEY_FILE=str(file)))


def test_rotation_accepts_both_keys_meanwhile(keys: Keys, file: Path) -> None:
    seen = []
    for content in (OLD, f"{OLD}\n{NEW}\n", NEW):
        write(file, content)
        keys.refresh(Reports())
        seen.append((accepts(keys, OLD), accepts(keys, NEW)))

    assert seen == [(True, False), (True, True), (False, True)]


def test_change_is_reported_once_and_without_keys(keys: Keys, file: Path) -> None:
    reports = Reports()
    write(file, f"{OLD}\n{NEW}\n")
    keys.refresh(reports)
    keys.refresh(reports)

    assert reports.events == [{"event": "keys", "level": "INFO", "accepted": 2}]


@pytest.mark.parametrize("content", ["", "short", f"{NEW}\nshort", "schlüssel-aus-0123456789"])
def test_broken_file_is_reported_and_changes_no_key(keys: Keys, file: Path, content: str) -> None:
    reports = Reports()
    write(file, content)
    keys.refresh(reports)

    assert accepts(keys, OLD)
    assert not accepts(keys, NEW)
    assert reports.events[0]["level"] == "ERROR"
    assert not [key for key in content.split() if key in str(reports.events)]


def test_deleted_file_does_not_open_the_api(keys: Keys, file: Path) -> None:
    file.unlink()
    keys.refresh(Reports())

    assert accepts(keys, OLD)
    assert not accepts(keys, "")


def test_file_created_later_is_used(release: Release, file: Path) -> None:
    keys = Keys(release.config(API_KEY_FILE=str(file)))
    before = keys.required
    write(file, NEW)
    keys.refresh(Reports())

    assert (before, keys.required) == (False, True)


def test_broken_file_is_refused_at_start(release: Release, file: Path) -> None:
    write(file, "short")

    with pytest.raises(ConfigError, match="API_KEY_FILE"):
        Keys(release.config(API_KEY_FILE=str(file)))


def test_key_and_key_file_together_are_refused(release: Release, file: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        release.config(API_KEY_FILE=str(file), API_KEY=OLD)


def test_api_requires_the_key_of_the_file(serve: Callable[..., Served], file: Path) -> None:
    write(file, OLD)
    client = serve(API_KEY_FILE=str(file)).client

    assert client.post("/predict", json=basket(1)).status_code == 401
    assert client.post("/predict", json=basket(1), headers={"X-API-Key": OLD}).status_code == 200


def test_running_process_accepts_the_new_key(start: Callable[..., Process], file: Path) -> None:
    write(file, OLD)
    process = start(API_KEY_FILE=str(file))
    process.until_ready()

    def answers(key: str) -> bool:
        connection = process.connect()
        connection.request("GET", "/model", headers={"X-API-Key": key})
        return connection.getresponse().status == 200

    assert (answers(OLD), answers(NEW)) == (True, False)
    write(file, NEW)
    process.until(lambda: answers(NEW))
    assert not answers(OLD)


def test_process_with_a_broken_key_file_exits(start: Callable[..., Process], file: Path) -> None:
    write(file, "short")

    process = start(API_KEY_FILE=str(file))
    assert process.popen.wait(60) == 2
    assert "API_KEY_FILE" in process.events("refused")[0]["reason"]
