"""The requests for SageMaker jobs, as pure functions of settings and names; tests hold them against AWS's models."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlparse

from include import lake
from include.settings import settings

JOBS_READ: Final = ("environment", "row_tolerance", "split_salt", "min_accuracy", "min_macro_f1", "control_margin")
"""Settings that a job's code asks for; a job sees the values of the Airflow that started it."""
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
    """s3:// URL of a key of the lake."""
    return f"s3://{settings().bucket}/{key}"


def key(url: str) -> str:
    """The key in an s3:// URL of the lake."""
    return urlparse(url).path.lstrip("/")


def manifest_file(keys: list[str], below: str) -> str:
    """SageMaker's manifest of objects: JSON [{"prefix": …}, "relative key", …].

    keys: keys of the lake, all below `below`; a job finds each at that relative path in its channel.
    """
    strays = [key for key in keys if not key.startswith(below)]
    if strays or not keys:
        raise ValueError(f"a manifest needs keys below {below}, got {strays or keys}")
    return json.dumps([{"prefix": url(below)}, *(key.removeprefix(below) for key in sorted(keys))])


def tags(component: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (settings().tags | {"Component": component}).items()]


def environment() -> dict[str, str]:
    return {f"RETAIL_{name.upper()}": str(getattr(settings(), name)) for name in JOBS_READ}


def processing(
    command: list[str], image: str, inputs: Mapping[str, Source], outputs: Mapping[str, str], component: str
) -> dict[str, Any]:
    """CreateProcessingJob without its name.

    command: module and arguments; inputs and outputs: name of the folder below /opt/ml/processing/{input,output} →
    where it is filled from, or the URL it is uploaded to.
    """
    ours = settings()
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
                "InstanceType": ours.processing_instance,
                "VolumeSizeInGB": VOLUME_GB,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": ours.job_max_runtime_seconds},
        "RoleArn": ours.role("job"),
        "Environment": environment(),
        "Tags": tags(component),
    }


def training(image: str, channels: Mapping[str, Source], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """CreateTrainingJob without its name; hyperparameters: what the user gave, of any JSON type."""
    ours = settings()
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
            "InstanceType": ours.training_instance,
            "VolumeSizeInGB": VOLUME_GB,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": ours.job_max_runtime_seconds},
        "RoleArn": ours.role("job"),
        "Environment": environment(),
        "Tags": tags("training"),
    }


def as_text(value: Any) -> str:
    """A hyperparameter as SageMaker carries it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
