"""Store what SageMaker knows: documents and tags by ARN, in one SQLite file, on disk at once."""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SCHEMA = """
create table if not exists resource (arn text primary key, document text not null) strict;
create table if not exists tag (arn text, key text, value text not null, primary key (arn, key)) strict;
create table if not exists token (owner text, token text, request text not null, arn text not null,
                                  primary key (owner, token)) strict;
create table if not exists counter (name text primary key, value integer not null) strict;
"""


class Store:
    """A store that threads may share; hold `lock` to make several calls one step."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.executescript(SCHEMA)

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.lock:
            return self._database.execute(statement, values).fetchall()

    # --- resources: a document by ARN ---
    def put(self, arn: str, document: Document) -> None:
        """Store a document; a new one comes after all others, a known one keeps its place."""
        statement = "insert into resource values (?, ?) on conflict (arn) do update set document = excluded.document"
        self._rows(statement, arn, json.dumps(document))

    def get(self, arn: str) -> Document | None:
        """Return a document."""
        rows = self._rows("select document from resource where arn = ?", arn)
        return dict(json.loads(rows[0][0])) if rows else None

    def below(self, prefix: str) -> list[Document]:
        """Return the documents whose ARN starts with `prefix`, oldest first."""
        statement = "select document from resource where substr(arn, 1, ?) = ? order by rowid"
        return [json.loads(document) for (document,) in self._rows(statement, len(prefix), prefix)]

    def delete(self, arn: str) -> None:
        """Delete a document and its tags."""
        with self.lock:
            self._rows("delete from resource where arn = ?", arn)
            self._rows("delete from tag where arn = ?", arn)

    # --- tags ---
    def tag(self, arn: str, tags: dict[str, str]) -> None:
        """Add or replace tags."""
        with self.lock:
            for key, value in tags.items():
                self._rows("insert or replace into tag values (?, ?, ?)", arn, key, value)

    def untag(self, arn: str, keys: list[str]) -> None:
        """Remove tags."""
        with self.lock:
            for key in keys:
                self._rows("delete from tag where arn = ? and key = ?", arn, key)

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource, oldest first."""
        return dict(self._rows("select key, value from tag where arn = ? order by rowid", arn))

    def tagged(self) -> dict[str, dict[str, str]]:
        """Return the tags of every resource that has any, by ARN: what the tagging API lists."""
        tags_by_arn: dict[str, dict[str, str]] = {}
        for arn, key, value in self._rows("select arn, key, value from tag order by rowid"):
            tags_by_arn.setdefault(arn, {})[key] = value
        return tags_by_arn

    # --- client tokens and numbers ---
    def token(self, owner: str, token: str) -> tuple[str, str] | None:
        """Return (request, ARN of what it created) of a client token; owner: the resource that the token belongs to."""
        rows = self._rows("select request, arn from token where owner = ? and token = ?", owner, token)
        return (rows[0][0], rows[0][1]) if rows else None

    def remember(self, owner: str, token: str, request: str, arn: str) -> None:
        """Store which resource a client token has created."""
        self._rows("insert or replace into token values (?, ?, ?, ?)", owner, token, request, arn)

    def next_number(self, name: str) -> int:
        """Return 1, 2, 3, …: never the same number again, whatever is deleted."""
        statement = (
            "insert into counter values (?, 1) on conflict (name) do update set value = value + 1 returning value"
        )
        return int(self._rows(statement, name)[0][0])

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._database.close()
