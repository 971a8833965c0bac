import asyncio
import os

import aiohttp
import pytest
from aiohttp import web

from local.kube.probes import Checker, Threshold, port_number

CONTAINER = {"name": "api", "ports": [{"name": "http", "containerPort": 8000}]}


def verdicts(probe, results):
    threshold = Threshold.of(probe)
    return [threshold.verdict(result) for result in results]


def test_the_defaults_are_one_success_and_three_failures_in_a_row():
    assert verdicts({}, [False, False, True, False, False, False]) == [None, None, True, None, None, False]


def test_thresholds_of_the_probe_count():
    probe = {"successThreshold": 2, "failureThreshold": 1}
    assert verdicts(probe, [True, True, False, True, True]) == [None, True, False, None, True]


def test_a_named_port_is_the_containers():
    assert port_number("http", CONTAINER) == 8000
    assert port_number(9, CONTAINER) == 9
    with pytest.raises(LookupError, match="no port named metrics"):
        port_number("metrics", CONTAINER)


def check(action, command=(), timeout=5.0, container=CONTAINER):
    async def run():
        async with aiohttp.ClientSession() as http:
            checker = Checker(http, "127.0.0.1", container, "/", dict(os.environ))
            return await checker.run(action, command, timeout)

    return asyncio.run(run())


def test_exec_fails_with_its_exit_status():
    assert check({"exec": {}}, ["sh", "-c", "exit 0"]) is None
    assert check({"exec": {}}, ["sh", "-c", "exit 3"]) == "exit status 3"


def test_exec_that_takes_too_long_is_a_failure():
    assert check({"exec": {}}, ["sleep", "30"], timeout=0.2) == "timeout after 0.2 s"


def test_nobody_at_the_port_is_a_failure():
    error = check({"tcpSocket": {"port": 1}})
    assert "refused" in error or "Connect call failed" in error


@pytest.mark.parametrize(("status", "fine"), [(200, True), (302, True), (404, False), (503, False)])
def test_http_is_judged_by_its_status_and_redirects_are_not_followed(status, fine):
    async def run():
        async def answer(request):
            assert request.headers["User-Agent"].startswith("kube-probe/")
            return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"})

        app = web.Application()
        app.router.add_get("/ready", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        container = {"name": "api", "ports": [{"name": "http", "containerPort": port}]}
        try:
            async with aiohttp.ClientSession() as http:
                checker = Checker(http, "127.0.0.1", container, "/", {})
                return await checker.run({"httpGet": {"path": "/ready", "port": "http"}}, [], 5)
        finally:
            await runner.cleanup()

    assert (asyncio.run(run()) is None) is fine
