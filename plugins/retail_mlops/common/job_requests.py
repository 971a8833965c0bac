"""The requests for SageMaker jobs, from settings and names; tests validate them against AWS's models. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlparse

from include import lake
from include.settings import settings

JOB_SETTINGS: Final = ("environment", "row_tolerance", "split_salt", "min_accuracy", "min_macro_f1", "control_margin")
"""Settings that a job's code reads; a job gets the values of the Airflow that started it."""
VOLUME_GB: Final = 30
METRICS: Final = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Source:
    """Where a job's input comes from: a prefix or object, or a manifest file that lists objects."""

    url: str
    manifest: bool = False

    @property
    def data_type(self) -> str:
        return "ManifestFile" if self.manifest else "S3Prefix"


def url(key: str) -> str:
    """Return the s3:// URL of a key of the lake."""
    return f"s3://{settings().bucket}/{key}"


def key(url: str) -> str:
    """Return the key in an s3:// URL of the lake."""
    return urlparse(url).path.lstrip("/")


def manifest_file(keys: list[str], below: str) -> str:
    """Return SageMaker's manifest of objects: JSON [{"prefix": …}, "relative key", …].

    keys: keys of the lake, all below `below`; a job finds each at that relative path in its channel.
    """
    outside = [key for key in keys if not key.startswith(below)]
    if outside or not keys:
        raise ValueError(f"a manifest needs keys below {below}, got {outside or 'none'}")
    return json.dumps([{"prefix": url(below)}, *(key.removeprefix(below) for key in sorted(keys))])


def tags(component: str) -> list[dict[str, str]]:
    """Return the project's tags in the form of AWS's APIs."""
    return [{"Key": key, "Value": value} for key, value in (settings().tags | {"Component": component}).items()]


def environment() -> dict[str, str]:
    """Return the environment variables of a job."""
    return {f"RETAIL_{name.upper()}": str(getattr(settings(), name)) for name in JOB_SETTINGS}


def processing(
    command: list[str], image: str, inputs: Mapping[str, Source], outputs: Mapping[str, str], component: str
) -> dict[str, Any]:
    """Return the request of CreateProcessingJob without the job's name.

    command: module and arguments; inputs and outputs: name of the folder below /opt/ml/processing/{input,output} →
    its source, or the URL that it is uploaded to.
    """
    return {
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python", "-m", command[0]],
            "ContainerArguments": command[1:],
        },
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": source.url,
                    "LocalPath": f"/opt/ml/processing/input/{name}",
                    "S3DataType": source.data_type,
                    "S3InputMode": "File",
                },
            }
            for name, source in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {
                        "S3Uri": target,
                        "LocalPath": f"/opt/ml/processing/output/{name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for name, target in outputs.items()
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": settings().processing_instance,
                "VolumeSizeInGB": VOLUME_GB,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings().job_max_runtime_seconds},
        "RoleArn": settings().role("job"),
        "Environment": environment(),
        "Tags": tags(component),
    }


def training(image: str, channels: Mapping[str, Source], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request of CreateTrainingJob without the job's name; hyperparameters: of any JSON type."""
    return {
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-m", "include.train"],
            "ContainerArguments": ["fit"],
            "MetricDefinitions": [
                {"Name": f"validation:{name}", "Regex": rf"validation:{name}=([0-9.]+);"} for name in METRICS
            ],
        },
        "HyperParameters": {key: as_text(value) for key, value in hyperparameters.items()},
        "InputDataConfig": [
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": source.data_type,
                        "S3Uri": source.url,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name, source in channels.items()
        ],
        "OutputDataConfig": {"S3OutputPath": url(lake.TRAINING)},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": settings().training_instance,
            "VolumeSizeInGB": VOLUME_GB,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings().job_max_runtime_seconds},
        "RoleArn": settings().role("job"),
        "Environment": environment(),
        "Tags": tags("training"),
    }


def as_text(value: Any) -> str:
    """Return a hyperparameter as SageMaker carries it: text unchanged, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
