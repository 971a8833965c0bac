"""The serving process's settings: read once from the environment; unknown or unsafe values are refused."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, model_validator

from api.errors import ConfigError

OURS = ("API_", "BUNDLE_", "DRAIN_", "KEEP_ALIVE_", "MAX_", "MODEL_", "PREDICTION_", "RELEASE_", "REQUEST_")
"""Variables that begin so are ours: one that no field reads is a typing error, and is refused."""

MIN_KEY_LENGTH = 16
_EMPTY_IS_NONE = ("api_key", "api_key_file")

Region = Literal["ap-southeast-1"]
PackageArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws:sagemaker:ap-southeast-1:\d{12}:model-package/[A-Za-z0-9-]{1,63}/\d+$")
]


class Config(BaseModel):
    """What the release tells the process (environment variables of the same name in upper case)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())

    release_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}$")
    model_package_arn: PackageArn
    model_data_url: str = Field(pattern=r"^s3://[a-z0-9.-]{3,63}/.+/model\.tar\.gz$")
    bundle_digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bundle's manifest.json")
    aws_region: Region = "ap-southeast-1"

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on: the pod's own")
    port: int = Field(8000, ge=1, le=65535)
    api_key: SecretStr | None = Field(None, min_length=MIN_KEY_LENGTH, description="if set, X-API-Key must match")
    api_key_file: str | None = Field(None, description="or: a file of keys, one a line, read again when it changes")
    docs: bool = Field(True, description="serve /docs and /openapi.json")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    prediction_log_sample: float = Field(0.1, ge=0, le=1, description="share of predictions logged for monitoring")

    drain_seconds: float = Field(
        5, ge=0, le=30, description="after SIGTERM: answers carry Connection: close, then exit"
    )
    max_in_flight: int = Field(64, ge=1, le=10_000, description="predictions at once; one more is answered 503")
    max_batches: int = Field(4, ge=1, le=1000, description="batches at once, from their headers to their answers")
    request_header_seconds: float = Field(10, gt=0, le=600, description="a client slower than this is cut off")
    request_body_seconds: float = Field(30, gt=0, le=600, description="likewise, from the headers to the body's end")
    keep_alive_seconds: int = Field(400, ge=1, le=4000, description="longer than a load balancer's idle timeout (350)")
    approval_check_seconds: float = Field(
        60, gt=0, le=3600, description="how often the package's approval is looked at"
    )

    @property
    def model_version(self) -> str:
        """The package's version number, as /predict answers it."""
        return self.model_package_arn.rpartition("/")[2]

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if self.api_key and self.api_key_file:
            raise ValueError("set API_KEY or API_KEY_FILE, not both")
        return self


def load(environment: Mapping[str, str] | None = None) -> Config:
    """The settings of this process. ConfigError names each variable that is missing, wrong or unknown."""
    environment = os.environ if environment is None else environment
    known = {name.upper() for name in Config.model_fields}
    unknown = sorted(name for name in environment if name.startswith(OURS) and name not in known)
    if unknown:
        raise ConfigError(f"unknown settings {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    values = {
        name: environment[name.upper()]
        for name in Config.model_fields
        if name.upper() in environment and not (name in _EMPTY_IS_NONE and environment[name.upper()] == "")
    }
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"refusing to start with these settings: {wrong}") from None
