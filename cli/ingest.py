"""Lands weekly files in the lake's raw/ and starts their etl runs: `make ingest FILES="a.csv.gz b.csv.gz"`.

Raw files are immutable: a week that is there already is left as it is, and another file for it is refused.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.airflow_client import Airflow
from include import lake
from include.settings import REGION, settings
from local.aws.credentials import session
from local.stack import config

_NAME = re.compile(r"transactions_(\d{6})\.csv(\.gz)?")


class IngestError(Exception):
    """A file that cannot be landed: which one, why, and what to do."""


@dataclass(frozen=True)
class WeeklyFile:
    week: str
    path: Path

    @property
    def key(self) -> str:
        return lake.raw(self.week, gzipped=self.path.suffix == ".gz")

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def weekly_file(path: Path) -> WeeklyFile:
    """A file with the shop week of its name, transactions_YYYYWW.csv[.gz]; IngestError if there is none such."""
    match = _NAME.fullmatch(path.name)
    if not match:
        raise IngestError(f"{path}: expected a name like transactions_200607.csv.gz, which says the shop week")
    if not path.is_file():
        raise IngestError(f"{path}: no such file")
    try:
        return WeeklyFile(lake.shop_week(match[1]), path)
    except ValueError as error:
        raise IngestError(f"{path}: {error}") from error


def upload(s3: Any, file: WeeklyFile) -> bool:
    """Put the file into raw/; False when that very file is there already.

    IngestError when the week has another file. The lake keeps versions: to replace a week on purpose, put the new
    version with S3 itself and run etl with `accept_new_raw`.
    """
    bucket, digest = settings().bucket, file.sha256()
    try:
        there = s3.list_objects_v2(Bucket=bucket, Prefix=lake.raw_prefix(file.week)).get("Contents", [])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        raise IngestError(f"there is no bucket {bucket} yet: run the DAG provision first") from error
    for found in there:
        body = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"]
        if found["Key"] == file.key and hashlib.sha256(body.read()).hexdigest() == digest:
            return False
        raise IngestError(
            f"{file.path}: week {file.week} has s3://{bucket}/{found['Key']} already, and it is another file. Raw "
            "files are immutable; if a new version is meant, put it there with S3 and run etl with accept_new_raw"
        )
    with file.path.open("rb") as content:
        s3.put_object(Bucket=bucket, Key=file.key, Body=content, IfNoneMatch="*", Metadata={"sha256": digest})
    return True


def land(aws: boto3.Session, endpoint: str | None, files: Iterable[WeeklyFile]) -> list[str]:
    """Upload the files; the weeks that were not there before. endpoint: the embedded AWS's; None is the account's."""
    s3 = aws.client("s3", endpoint_url=endpoint)
    return [file.week for file in files if upload(s3, file)]


def has_gold(s3: Any, week: str) -> bool:
    return "Contents" in s3.list_objects_v2(Bucket=settings().bucket, Prefix=lake.gold_manifest(week))


def main(paths: list[str]) -> None:
    """Land the files, start an etl run for each week that is new or has no gold yet, and say so."""
    if not paths:
        raise IngestError('which files? make ingest FILES="transactions_200607.csv.gz …"')
    stack = config.load()
    files = [weekly_file(Path(path)) for path in paths]
    airflow = Airflow(stack)
    account = config.on_aws()
    aws, endpoint = (boto3.Session(region_name=REGION), None) if account else (session(stack), stack.aws_url)
    new = land(aws, endpoint, files)
    s3 = aws.client("s3", endpoint_url=endpoint)
    for file in files:
        landed = f"landed as {file.key}" if file.week in new else "that very file is there already"
        if file.week not in new and has_gold(s3, file.week):
            print(f"{file.week}: {landed}, and so is its gold")
            continue
        run = airflow.trigger("etl", partition_key=file.week)
        print(f"{file.week}: {landed}, etl started: {stack.airflow_url}/dags/etl/runs/{run}")
