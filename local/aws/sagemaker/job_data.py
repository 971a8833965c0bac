"""Read a job's inputs from S3 and write its outputs to it: channels, folders, model.tar.gz."""

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

IN_THIS_THREAD: Final = TransferConfig(use_threads=False)
S3_ERRORS: Final = (ClientError, BotoCoreError, Boto3Error)


class DataError(Exception):
    """A job's data cannot be read or written; the text is SageMaker's FailureReason."""


def bucket_and_key(url: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URL. Raise DataError for any other text."""
    parts = urlparse(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise DataError(f"ClientError: {url} is not an S3 URL")
    return parts.netloc, parts.path.lstrip("/")


def download(s3: Any, url: str, data_type: str, folder: Path) -> None:
    """Fill `folder` from an S3Prefix or a ManifestFile. Raise DataError when an object is missing or refused."""
    folder.mkdir(parents=True, exist_ok=True)
    bucket, key = bucket_and_key(url)
    try:
        objects = _in_manifest(s3, bucket, key) if data_type == "ManifestFile" else _below(s3, bucket, key)
        is_empty = True
        for source_bucket, source, relative in objects:
            target = (folder / relative).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise DataError(f"ClientError: Data download failed: {relative} of {url} leads out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(source_bucket, source, str(target), Config=IN_THIS_THREAD)
            is_empty = False
    except S3_ERRORS as error:
        raise DataError(f"ClientError: Data download failed from {url}: {error}") from error
    if is_empty:
        raise DataError(
            f'ClientError: Data download failed: No S3 objects found under S3 URL "{url}" given in input data source. '
            "Please ensure that the bucket exists and that objects exist under that S3 prefix"
        )


def _below(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield (bucket, key, path in the channel) of every object below the prefix, without the markers of folders."""
    folder = prefix.rstrip("/") + "/"
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            key = item["Key"]
            if key.endswith("/"):
                continue
            base = folder if key.startswith(folder) else prefix[: prefix.rfind("/") + 1]
            yield bucket, key, key.removeprefix(base)


def _in_manifest(s3: Any, bucket: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield the same of a manifest: JSON [{"prefix": "s3://…/"}, "relative key", …]."""
    text = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        head, *names = json.loads(text)
        base_bucket, base = bucket_and_key(head["prefix"])
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"ClientError: Data download failed: manifest s3://{bucket}/{key} is not a JSON list of "
            f'{{"prefix": url}} and relative keys: {error!r}'
        ) from error
    for name in names:
        yield base_bucket, base + name, name


def upload_file(s3: Any, path: Path, url: str) -> None:
    """Upload a file. Raise DataError when S3 refuses it."""
    bucket, key = bucket_and_key(url)
    try:
        s3.upload_file(str(path), bucket, key, Config=IN_THIS_THREAD)
    except S3_ERRORS as error:
        raise DataError(f"ClientError: Artifact upload failed to {url}: {error}") from error


def upload_folder(s3: Any, folder: Path, url: str) -> None:
    """Upload every file below `folder` to its relative path below `url`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            upload_file(s3, path, f"{url.rstrip('/')}/{path.relative_to(folder).as_posix()}")


def archive(folder: Path, target: Path) -> None:
    """Write a tar.gz of what is in the folder; the same files give the same bytes."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o755 if info.isdir() else 0o644
        return info

    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=plain)
