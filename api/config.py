"""Read the settings of the service from the environment; refuse unknown and unsafe values."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, model_validator

from api.errors import ConfigError

PREFIXES = ("API_", "BUNDLE_", "DRAIN_", "KEEP_ALIVE_", "MAX_", "MODEL_", "PREDICTION_", "RELEASE_", "REQUEST_")
"""Variables with these prefixes are settings of this service: one that no field reads is a typing error."""

MIN_KEY_LENGTH = 16
_EMPTY_MEANS_UNSET = ("api_key", "api_key_file")

Region = Literal["ap-southeast-1"]
PackageArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws:sagemaker:ap-southeast-1:\d{12}:model-package/[A-Za-z0-9-]{1,63}/\d+$")
]


class Config(BaseModel):
    """The settings of one process. Each field is an environment variable of the same name in upper case."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())

    release_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}$")
    model_package_arn: PackageArn
    model_data_url: str = Field(pattern=r"^s3://[a-z0-9.-]{3,63}/.+/model\.tar\.gz$")
    bundle_digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bundle's manifest.json")
    aws_region: Region = "ap-southeast-1"

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; in a pod, the pod's own")
    port: int = Field(8000, ge=1, le=65535)
    api_key: SecretStr | None = Field(None, min_length=MIN_KEY_LENGTH, description="if set, X-API-Key must equal it")
    api_key_file: str | None = Field(None, description="file with one key per line, read again on change")
    docs: bool = Field(True, description="serve /docs and /openapi.json")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    prediction_log_sample: float = Field(0.1, ge=0, le=1, description="share of predictions logged for monitoring")

    drain_seconds: float = Field(
        5, ge=0, le=30, description="time from SIGTERM to exit; answers carry Connection: close"
    )
    max_in_flight: int = Field(64, ge=1, le=10_000, description="limit of concurrent predictions; others get 503")
    max_batches: int = Field(4, ge=1, le=1000, description="limit of concurrent batches; others get 503")
    request_header_seconds: float = Field(10, gt=0, le=600, description="timeout for the headers of a request")
    request_body_seconds: float = Field(30, gt=0, le=600, description="timeout for the body of a request")
    keep_alive_seconds: int = Field(400, ge=1, le=4000, description="longer than the idle timeout of an NLB (350 s)")
    approval_check_seconds: float = Field(
        60, gt=0, le=3600, description="seconds between checks of the package's approval"
    )

    @property
    def model_version(self) -> str:
        """Return the version number of the model package, as /predict answers it."""
        return self.model_package_arn.rpartition("/")[2]

    @model_validator(mode="after")
    def _require_one_source_of_keys(self) -> Self:
        if self.api_key and self.api_key_file:
            raise ValueError("set API_KEY or API_KEY_FILE, not both")
        return self


def load(environment: Mapping[str, str] | None = None) -> Config:
    """Return the settings of this process. Raise ConfigError that names each missing, invalid or unknown variable."""
    environment = os.environ if environment is None else environment
    known = {name.upper() for name in Config.model_fields}
    unknown = sorted(name for name in environment if name.startswith(PREFIXES) and name not in known)
    if unknown:
        raise ConfigError(
            f"unknown settings {', '.join(unknown)}: correct or remove these environment variables; "
            f"the settings are {', '.join(sorted(known))}"
        )
    values = {
        name: environment[name.upper()]
        for name in Config.model_fields
        if name.upper() in environment and not (name in _EMPTY_MEANS_UNSET and environment[name.upper()] == "")
    }
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}" for problem in error.errors()
        )
        raise ConfigError(f"invalid settings: {problems}; correct these environment variables") from None
