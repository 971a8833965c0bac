"""The lake's bucket as tasks need it: digests, JSON documents, copies inside the bucket."""

import hashlib
import json
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from include.settings import settings
from retail_mlops.common.errors import RetailError

CHUNK = 1 << 20


class LakeHook(S3Hook):
    """Keys are those of include.lake; the bucket is the environment's."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        super().__init__(aws_conn_id=aws_conn_id, region_name=settings().region)
        self.bucket = settings().bucket

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin so, sorted."""
        return sorted(self.list_keys(self.bucket, prefix=prefix) or [])

    def content(self, key: str) -> bytes | None:
        """Return the object's bytes; None if there is no such object, or only one in an archive (infra/lake.yaml)."""
        try:
            content: bytes = self.conn.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "InvalidObjectState"):
                return None
            raise
        return content

    def require_content(self, key: str) -> bytes:
        """Return the object's bytes; RetailError if it cannot be read."""
        content = self.content(key)
        if content is None:
            raise RetailError(f"s3://{self.bucket}/{key} is gone, or in an archive: restore it, then clear this task")
        return content

    def document(self, key: str) -> Any | None:
        """Return a JSON object of the lake; None if there is none."""
        content = self.content(key)
        return None if content is None else json.loads(content)

    def documents(self, prefix: str) -> list[Any]:
        """Return all JSON objects whose keys begin so."""
        return [self.document(key) for key in self.keys(prefix)]

    def put(self, key: str, content: str | bytes, content_type: str = "application/json") -> None:
        body = content.encode() if isinstance(content, str) else content
        self.conn.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def put_document(self, key: str, document: Any) -> None:
        """Write a JSON object."""
        self.put(key, json.dumps(document, indent=1, sort_keys=True))

    def document_with_tag(self, key: str) -> tuple[Any | None, str | None]:
        """Return a JSON object and its ETag, for `replace_document`; (None, None) if there is none."""
        try:
            response = self.conn.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None, None
            raise
        return json.loads(response["Body"].read()), response["ETag"]

    def replace_document(self, key: str, document: Any, tag: str | None) -> bool:
        """Write a JSON object unless it has changed since this ETag (None: unless it exists); return whether it did."""
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        body = json.dumps(document, indent=1, sort_keys=True).encode()
        try:
            self.conn.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json", **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
                raise
            return False
        return True

    def sha256(self, key: str) -> str:
        """Return the digest of an object's content, read in chunks."""
        digest = hashlib.sha256()
        for chunk in self.conn.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(CHUNK):
            digest.update(chunk)
        return digest.hexdigest()

    def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket, on the server's side; big objects in parts."""
        self.conn.copy({"Bucket": self.bucket, "Key": source}, self.bucket, target)

    def remove(self, keys: list[str]) -> None:
        if keys:
            self.delete_objects(self.bucket, keys)
