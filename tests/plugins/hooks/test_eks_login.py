"""A login to the cluster: the token EKS accepts, made here, renewed while a task goes on for hours."""

import base64
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from boto3 import Session
from botocore.stub import Stubber
from kubernetes import client
from urllib3.exceptions import HTTPError

from include.settings import CLUSTER_NAME
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks import eks_client
from retail_mlops.hooks.eks_client import RENEW_AFTER, Tokens, connect
from retail_mlops.hooks.eks_login import ClusterHook, sign_token

EKS_ACCEPTS = 15 * 60
"""Seconds for which EKS takes a token after it was signed."""
AUTHORITY = base64.b64encode(b"a certificate").decode()


def signed_url(token: str) -> str:
    head, _, text = token.partition(".")
    assert head == "k8s-aws-v1"
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


class ApiServer:
    """Answers everything with an empty list and keeps the tokens that came; a silent one answers nothing."""

    def __init__(self, silent: bool = False) -> None:
        self.tokens: list[str | None] = []
        over = self.over = threading.Event()
        tokens = self.tokens

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tokens.append(self.headers["Authorization"])
                if silent:
                    over.wait()
                    return
                body = json.dumps({"kind": "PodList", "apiVersion": "v1", "items": []}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "ApiServer":
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return Session("AKIATEST", "secret", "a-session", region_name="ap-southeast-1")


def test_token_is_for_this_cluster_at_the_regional_sts(session):
    url = urlsplit(signed_url(sign_token(session, "retail")))
    query = parse_qs(url.query)
    assert (url.scheme, url.netloc) == ("https", "sts.ap-southeast-1.amazonaws.com"), "EKS refuses the global STS"
    assert query["Action"] == ["GetCallerIdentity"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-k8s-aws-id"]
    assert query["X-Amz-Credential"][0].startswith("AKIATEST/")
    assert query["X-Amz-Security-Token"] == ["a-session"]


def test_token_is_signed_for_the_local_stack(session, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert signed_url(sign_token(session, "retail")).startswith("http://127.0.0.1:4566/?Action=GetCallerIdentity&")


def test_token_needs_no_other_process(session, monkeypatch):
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert sign_token(session, "retail")


def test_each_request_has_a_token_that_eks_still_accepts():
    clock, made = Clock(), []

    def make() -> str:
        made.append(clock.now)
        return str(len(made))

    with ApiServer() as server, connect(server.url, AUTHORITY, Tokens(make, clock)) as api:
        core = client.CoreV1Api(api)
        for _ in range(4):  # a bake of an hour, a look every five minutes
            for _ in range(3):
                core.list_namespaced_pod("mlops")
                sent = int(server.tokens[-1].removeprefix("Bearer "))
                assert clock.now - made[sent - 1] < EKS_ACCEPTS
                clock.now += 300
    assert len(server.tokens) == 12
    assert len(made) == 6, "a token is used again while it is good"


def test_token_is_renewed_with_time_to_spare():
    assert RENEW_AFTER <= EKS_ACCEPTS - 3 * 60


def test_request_without_an_answer_ends(monkeypatch):
    monkeypatch.setattr(eks_client, "REQUEST_TIMEOUT", 0.1)
    with ApiServer(silent=True) as server, connect(server.url, AUTHORITY, Tokens(lambda: "t")) as api:
        api.configuration.retries = False
        with pytest.raises(HTTPError, match="timed out"):
            client.CoreV1Api(api).list_namespaced_pod("mlops")


def test_missing_cluster_names_the_remedy():
    hook = ClusterHook()
    with Stubber(hook.conn) as eks:
        eks.add_client_error("describe_cluster", "ResourceNotFoundException", expected_params={"name": CLUSTER_NAME})
        with pytest.raises(RetailError, match="run provision first"), hook.login():
            pytest.fail("logged in to a cluster that is not there")


def test_refused_login_names_the_remedy(monkeypatch):
    hook = ClusterHook()
    described = {"cluster": {"endpoint": "http://127.0.0.1:1", "certificateAuthority": {"data": AUTHORITY}}}
    with Stubber(hook.conn) as eks:
        eks.add_response("describe_cluster", described)
        with pytest.raises(RetailError, match="the cluster refuses Airflow: run provision"), hook.login():
            raise client.ApiException(status=403)


def test_one_session_serves_every_client():
    hook = ClusterHook()
    assert hook.get_session() is hook.get_session("ap-southeast-1")
    assert hook.conn.meta.region_name == "ap-southeast-1"
