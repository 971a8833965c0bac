"""Upload weekly files into the lake's raw/ and start their etl runs: `make ingest FILES="a.csv.gz b.csv.gz"`.

Raw files are immutable: a week that the lake has already is left as it is, and another file for it is refused.
"""

import argparse
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.airflow_client import Airflow
from cli.errors import CommandError
from cli.stack import open_stack
from include import lake
from include.settings import REGION, settings
from local.aws.credentials import session
from local.stack import config

_NAME = re.compile(r"transactions_(\d{6})\.csv(\.gz)?")


class IngestError(CommandError):
    """Says which file cannot be uploaded, why, and what to do."""


@dataclass(frozen=True)
class WeeklyFile:
    """A file of transactions and the shop week that its name says."""

    week: str
    path: Path

    @property
    def key(self) -> str:
        return lake.raw(self.week, gzipped=self.path.suffix == ".gz")

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def weekly_file(path: Path) -> WeeklyFile:
    """Return the file transactions_YYYYWW.csv[.gz] with its shop week. Raise IngestError for another name or week."""
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
    """Put the file into raw/; return False when the lake has this very file already.

    Raise IngestError when the week has another file. The lake keeps versions: to replace a week on purpose, put the new
    version with S3 itself and run etl with `accept_new_raw`.
    """
    bucket = settings().bucket
    digest = file.sha256()
    try:
        existing = s3.list_objects_v2(Bucket=bucket, Prefix=lake.raw_prefix(file.week)).get("Contents", [])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        raise IngestError(f"there is no bucket {bucket} yet: run the DAG provision first") from error
    for raw in existing:
        body = s3.get_object(Bucket=bucket, Key=raw["Key"])["Body"]
        if raw["Key"] == file.key and hashlib.sha256(body.read()).hexdigest() == digest:
            return False
        raise IngestError(
            f"{file.path}: week {file.week} has s3://{bucket}/{raw['Key']} already, and it is another file. Raw "
            "files are immutable; if a new version is meant, put it there with S3 and run etl with accept_new_raw"
        )
    with file.path.open("rb") as content:
        s3.put_object(Bucket=bucket, Key=file.key, Body=content, IfNoneMatch="*", Metadata={"sha256": digest})
    return True


def land(s3: Any, files: Iterable[WeeklyFile]) -> list[str]:
    """Upload the files and return the weeks that the lake did not have before."""
    return [file.week for file in files if upload(s3, file)]


def has_gold(s3: Any, week: str) -> bool:
    """Return whether the gold of a week is published."""
    return "Contents" in s3.list_objects_v2(Bucket=settings().bucket, Prefix=lake.gold_manifest(week))


def lake_client(stack: config.LocalStack) -> Any:
    """Return an S3 client of the target: the account that boto3 finds, or the AWS emulation."""
    if config.on_aws():
        return boto3.client("s3", region_name=REGION)
    return session(stack).client("s3")


def main(arguments: argparse.Namespace) -> None:
    """Upload the files, and start an etl run for each week that is new or has no gold yet."""
    if not arguments.files:
        raise IngestError('no files given: make ingest FILES="transactions_200607.csv.gz …"')
    stack = open_stack()
    files = [weekly_file(Path(path)) for path in arguments.files]
    airflow = Airflow(stack)
    s3 = lake_client(stack)
    new = land(s3, files)
    for file in files:
        landed = f"landed as {file.key}" if file.week in new else "that very file is there already"
        if file.week not in new and has_gold(s3, file.week):
            print(f"{file.week}: {landed}, and so is its gold")
            continue
        run = airflow.trigger("etl", partition_key=file.week)
        print(f"{file.week}: {landed}, etl started: {stack.airflow_url}/dags/etl/runs/{run}")
