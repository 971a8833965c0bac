"""Check job requests for what AWS would refuse, and for features that no job of this service has."""

import re
from pathlib import PurePosixPath
from typing import Final

from local.aws.sagemaker.job_run import OPT_ML
from local.aws.sagemaker.job_state import Kind
from local.aws.sagemaker.protocol import invalid
from local.aws.sagemaker.store import Document

UNSUPPORTED: Final = "The SageMaker emulation does not run this: "
ONLY_VALUES: Final = (
    (("ResourceConfig", "InstanceCount"), 1),
    (("ProcessingResources", "ClusterConfig", "InstanceCount"), 1),
    (("AlgorithmSpecification", "TrainingInputMode"), "File"),
    (("EnableManagedSpotTraining",), False),
    (("CheckpointConfig",), None),
)
"""Members of a request that have one value here: what is not run must not be accepted."""


def _refuse_unsupported(request: Document) -> None:
    """Raise ValidationException for features that no job of this service gets."""
    for path, supported in ONLY_VALUES:
        value: object = request
        for member in path:
            value = value.get(member) if isinstance(value, dict) else None
        if value is not None and value != supported:
            raise invalid(f"{UNSUPPORTED}{'.'.join(path)}={value}")


def _check_training(request: Document) -> None:
    if "TrainingImage" not in request["AlgorithmSpecification"]:
        raise invalid(f"{UNSUPPORTED}an algorithm without AlgorithmSpecification.TrainingImage")
    if "ResourceConfig" not in request or "InstanceType" not in request["ResourceConfig"]:
        raise invalid(f"{UNSUPPORTED}a training job without ResourceConfig.InstanceType")
    for metric in request["AlgorithmSpecification"].get("MetricDefinitions", []):
        _check_metric(metric)
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(set(names)) < len(names):
        raise invalid("Duplicate channel names in InputDataConfig")
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"].get("S3DataSource")
        if not source:
            raise invalid(f"{UNSUPPORTED}channel {channel['ChannelName']} without S3DataSource")
        _check_source(source, channel["ChannelName"], channel.get("InputMode", "File"))


def _check_metric(metric: Document) -> None:
    try:
        groups = re.compile(metric["Regex"]).groups
    except re.error as error:
        raise invalid(f"Regex of metric {metric['Name']} is not a regular expression: {error}") from error
    if not groups:
        raise invalid(f"Regex of metric {metric['Name']} has no group that holds the value: {metric['Regex']}")


def _check_processing(request: Document) -> None:
    if "AppSpecification" not in request:
        raise invalid(f"{UNSUPPORTED}a processing job without AppSpecification")
    for job_input in request.get("ProcessingInputs", []):
        name, source = job_input["InputName"], job_input.get("S3Input", {})
        if "LocalPath" not in source:
            raise invalid(f"{UNSUPPORTED}input {name} without S3Input and LocalPath")
        _check_source(source, name, source.get("S3InputMode", "File"))
        _check_path(source["LocalPath"], name)
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        target = output.get("S3Output")
        if not target or "LocalPath" not in target or target["S3UploadMode"] != "EndOfJob":
            raise invalid(f"{UNSUPPORTED}output {output['OutputName']} other than S3Output with LocalPath and EndOfJob")
        _check_path(target["LocalPath"], output["OutputName"])


def _check_source(source: Document, name: str, mode: str) -> None:
    shared = source.get("S3DataDistributionType", "FullyReplicated")
    if source.get("S3DataType") not in ("S3Prefix", "ManifestFile") or mode != "File" or shared != "FullyReplicated":
        raise invalid(f"{UNSUPPORTED}input {name} other than S3Prefix or ManifestFile, File, FullyReplicated")


def _check_path(path: str, name: str) -> None:
    parts = PurePosixPath(path)
    if not parts.is_relative_to(OPT_ML / "processing") or ".." in parts.parts:
        raise invalid(f"LocalPath {path} of {name} must be below {OPT_ML / 'processing'}")


CHECKS: Final = {"Training": _check_training, "Processing": _check_processing}


def check(kind: Kind, request: Document) -> None:
    """Raise ValidationException for a request that is not run here."""
    _refuse_unsupported(request)
    CHECKS[kind.name](request)
