"""A loopback server that answers the API's two calls to AWS, with settings for wrong answers and no answers."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARN = "arn:aws:sagemaker:ap-southeast-1:123456789012:model-package/retail-price-sensitivity-models/3"
BUCKET = "mlops-retail-prediction-dev-123456789012"
KEY = "artifacts/releases/r-1/model.tar.gz"


class StubAws:
    """Answers with `approval`, `digest` and `objects` (path to bytes). `stop` and `start` keep the port."""

    def __init__(self, digest: str, objects: dict[str, bytes]) -> None:
        self.approval, self.digest, self.objects = "Approved", digest, objects
        self.calls: list[str] = []
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "StubAws":
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                super().handle_one_request()
                # a stopped server also cuts the connections that clients keep
                self.close_connection = self.close_connection or stub._server is None

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                stub.calls.append(self.headers["X-Amz-Target"])
                self.reply(200, json.dumps(stub.package()).encode(), "application/x-amz-json-1.1")

            def do_GET(self) -> None:
                path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
                stub.calls.append(path)
                if path in stub.objects:
                    self.reply(200, stub.objects[path], "application/gzip")
                else:
                    self.reply(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", "application/xml")

            def reply(self, status: int, content: bytes, kind: str) -> None:
                if stub._server is None:
                    return
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def package(self) -> dict[str, Any]:
        return {
            "ModelPackageGroupName": "retail-price-sensitivity-models",
            "ModelPackageVersion": 3,
            "ModelPackageArn": ARN,
            "CreationTime": 1_790_000_000,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "ModelApprovalStatus": self.approval,
            "ApprovalDescription": "approved by a person",
            "CustomerMetadataProperties": {"bundle_digest": self.digest, "accuracy": "0.99", "macro_f1": "0.98"},
        }
