"""Settings: a missing, invalid, unknown or unsafe one is refused and named."""

import pytest

from api.config import load
from api.errors import ConfigError
from tests.api.conftest import Release


def test_variables_of_a_release_suffice(release: Release) -> None:
    config = load(release.environment)

    assert config.model_version == "3"
    assert config.keep_alive_seconds > 350  # an NLB's idle timeout


def test_empty_api_key_means_no_key(release: Release) -> None:
    assert load(release.environment | {"API_KEY": ""}).api_key is None


def test_empty_value_is_refused(release: Release) -> None:
    with pytest.raises(ConfigError, match="MODEL_PACKAGE_ARN"):
        load(release.environment | {"MODEL_PACKAGE_ARN": ""})


@pytest.mark.parametrize("name", ["RELEASE_ID", "MODEL_PACKAGE_ARN", "MODEL_DATA_URL", "BUNDLE_DIGEST"])
def test_missing_setting_is_named(release: Release, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load({key: value for key, value in release.environment.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "us-east-1"),
        ("MODEL_PACKAGE_ARN", "arn:aws:sagemaker:us-east-1:123456789012:model-package/group/1"),
        ("MODEL_DATA_URL", "https://example.com/model.tar.gz"),
        ("BUNDLE_DIGEST", "A" * 64),
        ("API_KEY", "short"),
        ("PREDICTION_LOG_SAMPLE", "1.5"),
        ("PORT", "0"),
        ("LOG_LEVEL", "TRACE"),
        ("DRAIN_SECONDS", "3600"),
    ],
)
def test_unsafe_value_is_refused_and_not_shown(release: Release, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as refusal:
        load(release.environment | {name: value})

    assert value not in str(refusal.value)


def test_unknown_setting_is_refused(release: Release) -> None:
    with pytest.raises(ConfigError, match="PREDICTION_LOG_SAMPEL"):
        load(release.environment | {"PREDICTION_LOG_SAMPEL": "0.5"})


def test_api_key_is_not_shown(release: Release) -> None:
    assert "k" * 20 not in repr(load(release.environment | {"API_KEY": "k" * 20}))
