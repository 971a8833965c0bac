import asyncio
import base64
import time

import pytest

from local.kube import volumes
from local.kube.errors import ApiError, CannotStart

POD = {
    "metadata": {"namespace": "mlops", "name": "api-1", "uid": "u1", "labels": {"app": "api"}},
    "spec": {"serviceAccountName": "api-sa"},
    "status": {},
}


class Answers:
    """Answers of an API server by path; counts the tokens that were asked for."""

    def __init__(self, objects):
        self.objects, self.tokens = objects, 0

    async def call(self, method, path, body=None):
        if path.endswith("/token"):
            self.tokens += 1
            return {"status": {"token": f"token-{self.tokens}-for-{','.join(body['spec']['audiences'])}"}}
        name = path.removeprefix("/api/v1/namespaces/mlops/")
        if name not in self.objects:
            raise ApiError(404, "not found")
        return self.objects[name]


def sources(**objects):
    return volumes.Sources(
        Answers({name.replace("__", "/"): item for name, item in objects.items()}), POD, "127.17.0.1"
    )


def contents(root):
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def fill(folder, given, *volume):
    asyncio.run(volumes.fill(folder, list(volume), given))


def test_config_maps_and_secrets_are_files(tmp_path):
    given = sources(
        configmaps__settings={"data": {"a": "1"}, "binaryData": {"b": base64.b64encode(b"2").decode()}},
        secrets__keys={"data": {"key": base64.b64encode(b"s3cret").decode()}},
    )
    secret = {"secretName": "keys", "items": [{"key": "key", "path": "sub/api.key"}], "defaultMode": 0o400}
    fill(tmp_path, given, {"name": "c", "configMap": {"name": "settings"}}, {"name": "s", "secret": secret})
    assert contents(tmp_path) == {"c/a": "1", "c/b": "2", "s/sub/api.key": "s3cret"}
    assert (tmp_path / "s/sub/api.key").stat().st_mode & 0o777 == 0o400


def test_a_changed_config_map_replaces_its_files_and_removes_what_it_lost(tmp_path):
    volume = {"name": "c", "configMap": {"name": "settings"}}
    fill(tmp_path, sources(configmaps__settings={"data": {"a": "1", "b": "2"}}), volume)
    fill(tmp_path, sources(configmaps__settings={"data": {"a": "3"}}), volume)
    assert contents(tmp_path) == {"c/a": "3"}


def test_what_a_container_wrote_to_an_empty_dir_stays(tmp_path):
    volume = {"name": "tmp", "emptyDir": {}}
    fill(tmp_path, sources(), volume)
    (tmp_path / "tmp/mine").write_text("x")
    fill(tmp_path, sources(), volume)
    assert contents(tmp_path) == {"tmp/mine": "x"}


def test_a_projected_volume_joins_its_sources(tmp_path):
    field = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    token = {"audience": "sts.amazonaws.com", "path": "token", "expirationSeconds": 600}
    volume = {
        "name": "p",
        "projected": {"sources": [{"serviceAccountToken": token}, {"downwardAPI": {"items": [field]}}]},
    }
    fill(tmp_path, sources(), volume)
    assert contents(tmp_path) == {"p/token": "token-1-for-sts.amazonaws.com", "p/labels": 'app="api"'}


def test_a_token_is_renewed_at_four_fifths_of_its_life(monkeypatch):
    given, clock = sources(), [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])

    def token():
        return asyncio.run(given.token("sts.amazonaws.com", 600))

    first = token()
    clock[0] += 479
    assert token() == first
    clock[0] += 1
    assert token() != first


def test_a_missing_config_map_says_so_unless_it_is_optional(tmp_path):
    with pytest.raises(CannotStart, match='configmap "settings" not found'):
        fill(tmp_path, sources(), {"name": "c", "configMap": {"name": "settings"}})
    fill(tmp_path, sources(), {"name": "c", "configMap": {"name": "settings", "optional": True}})
    assert contents(tmp_path) == {}


def test_a_missing_key_is_named():
    given = sources(secrets__keys={"data": {}})
    with pytest.raises(CannotStart, match="couldn't find key API_KEY in secret keys"):
        asyncio.run(given.key("secrets", {"name": "keys", "key": "API_KEY"}))
    assert asyncio.run(given.key("secrets", {"name": "keys", "key": "API_KEY", "optional": True})) is None


def test_mounts_are_the_directories_of_the_volumes(tmp_path):
    container = {
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp/"}, {"name": "tmp", "mountPath": "/cache", "subPath": "c"}]
    }
    assert volumes.mounts(tmp_path, container) == {"/tmp": str(tmp_path / "tmp"), "/cache": str(tmp_path / "tmp/c")}
    assert (tmp_path / "tmp/c").is_dir()
