"""Probes and hooks: what they do, when a probe runs, and when it has passed or failed."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from local.kube.api import Object
from local.kube.spec import KUBERNETES_VERSION

PROBE_AGENT = f"kube-probe/{'.'.join(KUBERNETES_VERSION[1:].split('.')[:2])}"


@dataclass
class Threshold:
    """Counts equal results in a row, and compares them with a probe's successThreshold and failureThreshold."""

    successes: int = 1
    failures: int = 3
    good: int = 0
    bad: int = 0

    @classmethod
    def of(cls, probe: Object) -> "Threshold":
        """Return the thresholds of a probe."""
        return cls(probe.get("successThreshold", 1), probe.get("failureThreshold", 3))

    def verdict(self, passed: bool) -> bool | None:
        """Count a result; return True (passed) or False (failed) once a threshold is reached, else None: no change."""
        self.good = self.good + 1 if passed else 0
        self.bad = 0 if passed else self.bad + 1
        if self.good >= self.successes:
            return True
        return False if self.bad >= self.failures else None


def port_number(port: int | str, container: Object) -> int:
    """Return the port of a probe or hook, which may be the name of a container port. LookupError: no such port."""
    if isinstance(port, int):
        return port
    for declared in container.get("ports", []):
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise LookupError(f"container {container['name']} has no port named {port}")


class Probe:
    """A probe of a running container.

    kind: startup, readiness or liveness. act: does the probe's action within a timeout, and returns what went wrong.
    event: posts an Event (reason, message, warning).
    """

    def __init__(
        self,
        kind: str,
        spec: Object,
        act: Callable[[Object, float], Awaitable[str | None]],
        event: Callable[[str, str, bool], None],
    ) -> None:
        self.kind = kind
        self.spec = spec
        self._act = act
        self._event = event
        self._threshold = Threshold.of(spec)
        self._clock = asyncio.get_running_loop().time
        self._due = self._clock() + spec.get("initialDelaySeconds", 0)

    async def next(self) -> bool | None:
        """Wait until the probe is due, and do it; return True (passed) or False (failed), None: no change."""
        await asyncio.sleep(self._due - self._clock())
        self._due = self._clock() + self.spec.get("periodSeconds", 10)
        error = await self._act(self.spec, self.spec.get("timeoutSeconds", 1))
        if error:
            self._event("Unhealthy", f"{self.kind.capitalize()} probe failed: {error}", True)
        return self._threshold.verdict(error is None)


@dataclass(frozen=True)
class Checker:
    """Does the probes and hooks of a container: at the pod's address, or as a process like the container's."""

    http: aiohttp.ClientSession
    address: str
    container: Object
    cwd: str
    env: Mapping[str, str]

    async def run(self, action: Object, command: Sequence[str], timeout: float) -> str | None:
        """Do the action of a probe or hook (exec, httpGet, tcpSocket, grpc, sleep); return what went wrong.

        command: the action's exec command with its paths resolved; [] where it has none.
        """
        try:
            async with asyncio.timeout(timeout):
                if "sleep" in action:
                    await asyncio.sleep(action["sleep"]["seconds"])
                    return None
                if "exec" in action:
                    return await self._exec(command)
                if "httpGet" in action:
                    return await self._http(action["httpGet"])
                await self._connect((action.get("tcpSocket") or action["grpc"])["port"])
                return None
        except TimeoutError:
            return f"timeout after {timeout:g} s"
        except (OSError, LookupError, aiohttp.ClientError) as error:
            return str(error) or repr(error)

    async def _exec(self, command: Sequence[str]) -> str | None:
        null: Any = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.cwd, env=self.env, stdin=null, stdout=null, stderr=null, start_new_session=True
        )
        try:
            code = await process.wait()
            return f"exit status {code}" if code else None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def _http(self, get: Object) -> str | None:
        host = get.get("host") or self.address
        port = port_number(get["port"], self.container)
        url = f"{get.get('scheme', 'HTTP').lower()}://{host}:{port}/{get.get('path', '/').removeprefix('/')}"
        headers = {"User-Agent": PROBE_AGENT} | {item["name"]: item["value"] for item in get.get("httpHeaders", [])}
        async with self.http.get(url, headers=headers, allow_redirects=False) as reply:
            return None if 200 <= reply.status < 400 else f"HTTP probe failed with statuscode: {reply.status}"

    async def _connect(self, port: int | str) -> None:
        _, writer = await asyncio.open_connection(self.address, port_number(port, self.container))
        writer.close()
